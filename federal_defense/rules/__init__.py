"""Rules. May import: basics, config, aggregation, training, attacks, two_means, class_mean."""
