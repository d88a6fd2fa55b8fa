"""Starts the ranks and watches over them. May import: basics, config, distributed_utils."""
