"""From float to int8, and how much noise that adds. Everything here runs in the converter's child process."""
