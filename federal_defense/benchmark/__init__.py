"""Every defence in every setting. May import: basics, config, run, plots, attacks, rules."""
