"""Rules. May import: basics, config, aggregation, training, attacks, two_means, class_mean."""

from federal_defense.rules.on_paper import aggregate as aggregate
