"""A demo: how the mean over the clients moves when one client's local training is poisoned.

python -m federal_defense.client_mean
"""

import sys
from pathlib import Path

if not __package__:  # started by its path: the project is where its packages are looked for
    sys.path.insert(0, str(Path(__file__).parents[1]))

from federal_defense.demo import show_client_mean, start_demo

if __name__ == "__main__":
    start_demo(show_client_mean)
