"""Aggregation rules. May import: basics, config, aggregation, attacks, class_mean."""
