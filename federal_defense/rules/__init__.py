"""Aggregation rules. May import: basics, config, aggregation, attacks, two_means, class_mean."""
