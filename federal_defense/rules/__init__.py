"""How the clients' updates become one.

May import: basics, config, aggregation, two_means, class_mean.
"""
