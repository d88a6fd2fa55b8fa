"""A run's keys: what they mean, how they are read and checked. May import: basics."""
