"""What training and testing a model take.

May import: basics, config, distributed_utils, processes.
"""
