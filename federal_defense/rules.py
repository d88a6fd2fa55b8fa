"""Aggregation rules: how the clients' updates become one. A rule's keyword-only parameters, with
their types and defaults, are its keys in the config.
"""

from __future__ import annotations

from collections.abc import Callable


def mean() -> None:
    """the clients' differences, weighted by their images (FedAvg)

    It needs no look at single updates, so it is summed as they come (``RoundSum``) and keeps
    none of them. Source: McMahan et al., AISTATS 2017.
    """


DEFENSES: dict[str, Callable[..., None]] = {"mean": mean}
