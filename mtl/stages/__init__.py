"""The stages of a run, each a loop that can be read from top to bottom."""
