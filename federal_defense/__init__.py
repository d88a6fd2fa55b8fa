"""What an attacker does, what a server does against it, and what comes of both.

May import: basics, config, my_dataset, distributed_utils, processes, data, training, model,
aggregation, get_weight_matrix; benchmark.py also plots and main.
"""
