"""Does the file on the device decide as the trained network did? Picture by picture; where not, a refusal."""
