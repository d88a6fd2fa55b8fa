"""A demo: how the mean over the clients moves when one client's local training is poisoned.

python -m federal_defense.client_mean
"""

from federal_defense.demo import show_client_mean, start_demo

if __name__ == "__main__":
    start_demo(show_client_mean)
