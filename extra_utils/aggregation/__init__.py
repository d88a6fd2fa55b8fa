"""A model as numbers, and messages of it. May import: basics, config, distributed_utils, model."""
