"""A model as a row of numbers, and what clients, rules and ranks tell each other of it.

May import: basics, distributed_utils, model.
"""
