"""What training and testing take. May import: basics, config, distributed_utils, processes."""
