"""Attackers that see the honest differences of their round, and all send what they make of them."""

from typing import Protocol

import numpy as np

from extra_utils.aggregation.messages import Added, Array, Collusion, Forge, Updates


class Editable(Updates, Protocol):
    """A round's updates whose differences can still be changed."""

    def overwrite(self, clients: list[int], make: Added) -> None: ...


class HonestUpdates:
    """Those of a round's updates that nobody attacks (``Honest``)."""

    def __init__(self, updates: Updates, num_attackers: int) -> None:
        self._updates, self.is_honest = updates, ~updates.is_attacker
        self.num_clients, self.num_attackers = len(updates.samples), num_attackers

    def gram(self, added: Forge) -> Array:
        gram = self._updates.gram(lambda _, block: added(block[self.is_honest]))
        seen = np.append(self.is_honest, True)
        return gram[np.ix_(seen, seen)]


def collude(updates: Editable, collusion: Collusion) -> None:
    """Lets the attack's clients of the round send what it makes, running statistics aside.

    Where nobody is honest all stays as it is. All ranks call this.
    """
    clients = [client for client in updates.client_ids if client in collusion.clients]
    honest = HonestUpdates(updates, len(clients))
    if clients and honest.is_honest.any():
        make = collusion.attack(honest)
        updates.overwrite(clients, lambda _, block: make(block[honest.is_honest]))
