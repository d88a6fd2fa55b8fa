"""Pictures of run folders. May import: basics, config, run."""

import os

# a notebook's backend, or one that is no more, would end the import of matplotlib
os.environ["MPLBACKEND"] = "agg"
