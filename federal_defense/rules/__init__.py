"""Aggregation rules. May import: basics, config, aggregation, two_means, class_mean."""
