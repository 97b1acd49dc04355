"""Teacher, student and the trunks they stand on."""
