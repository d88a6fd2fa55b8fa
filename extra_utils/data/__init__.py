"""From files to one cached data set, and its split.

May import: basics, config, my_dataset, utils, processes.
"""
