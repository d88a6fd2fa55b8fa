"""A run's folder, and what is written and shown. May import: basics, config, my_dataset, utils,
distributed_utils, processes, training, model, aggregation."""
