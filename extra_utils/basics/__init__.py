"""Errors, files and random streams. May import: nothing."""
