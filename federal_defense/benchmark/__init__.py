"""Defences compared. May import: basics, config, processes, run, plots, attacks, rules, main."""
