"""Soft targets: cross-fitted teachers and their cached answers."""
