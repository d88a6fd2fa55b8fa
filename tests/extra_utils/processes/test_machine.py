"""How many cores a process may use."""

from __future__ import annotations

import os

import pytest

from extra_utils.processes.child import advise_on_cores, available_cores
from tests.helpers import make_config


def test_the_affinity_mask_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5, 7})
    assert available_cores() == 4


@pytest.mark.parametrize(
    ("keys", "cores", "advice"),
    [
        ({"world_size": 3}, 3, ""),
        ({"world_size": 3}, 2, "= 3 on 2 cores: they take turns"),  # of two, one would do double
        ({"world_size": 3, "num_clients": 10}, 2, "world_size 2 would be faster, with the same"),
        ({"world_size": 3, "num_clients": 10}, 16, "world_size 10 would be faster, with the same"),
        ({"world_size": 3, "num_clients": 4}, 16, "some are idle; world_size 4 would"),
        ({"world_size": 3}, 8, "= 3 on 8 cores: some are idle"),
        ({"world_size": 2, "threads_per_process": 2}, 2, "threads_per_process 1 would be faster"),
    ],
)
def test_cores_that_are_idle_or_shared_are_said(
    keys: dict[str, int], cores: int, advice: str
) -> None:
    found = advise_on_cores(make_config(**keys), cores)
    assert advice in found
    assert bool(found) == bool(advice)
