"""From files to one cached data set. May import: basics, config, my_dataset, utils, processes."""
