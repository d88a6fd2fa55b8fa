"""Attacks. May import: basics, config, aggregation, model, my_dataset, two_means,
get_weight_matrix."""
