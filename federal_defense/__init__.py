"""Attacks, defences, and what comes of both. May import: basics, config, my_dataset, data,
distributed_utils, processes, training, model, aggregation, get_weight_matrix; benchmark.py also
plots and main."""
