"""A model as a row of numbers, and what a rule sees of it.

May import: basics, distributed_utils, model.
"""
