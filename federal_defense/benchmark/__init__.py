"""Every defence in every setting.

May import: basics, config, processes, run, plots, attacks, rules, main.
"""
