"""Every defence in every setting.

May import: basics, config, processes, run, plots, rules, main.
"""
