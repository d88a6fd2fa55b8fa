"""From files to one data set. May import: basics, config, my_dataset, utils, processes."""
