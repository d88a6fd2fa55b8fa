"""Starts the ranks and watches over them. May import: basics, distributed_utils."""
