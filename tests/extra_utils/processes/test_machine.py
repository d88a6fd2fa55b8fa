"""How many cores a process may use."""

from __future__ import annotations

import os

import pytest

from extra_utils.processes.child import available_cores


def test_the_affinity_mask_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5, 7})
    assert available_cores() == 4
