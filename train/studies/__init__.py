"""Experiments over several trainings, each one command."""
