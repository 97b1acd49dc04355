"""A study's networks as the files they become: accuracy of every file, its size and time, and which one to take."""
