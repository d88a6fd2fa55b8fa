"""A model as numbers, and what is told of it. May import: basics, distributed_utils, model."""
