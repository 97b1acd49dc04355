"""The race: one network in every engine that could run it, and a frame's whole way against what a user would write."""
