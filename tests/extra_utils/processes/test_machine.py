"""How many cores a process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from extra_utils.processes import child
from extra_utils.processes.child import advise_on_cores, available_cores, cpu_quota
from tests.helpers import make_config

QUOTA = {"quota": "300000", "period": "100000"}


def make_groups(folder: Path, membership: str, files: dict[str, str]) -> Path:
    """A tree of control groups, and a process's membership in it."""
    for name, text in files.items():
        path = folder / "sys" / "fs" / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "proc" / "self").mkdir(parents=True)
    (folder / "proc" / "self" / "cgroup").write_text(membership + "\n")
    return folder


@pytest.mark.parametrize(
    ("membership", "files", "cores"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b", {"a/b/cpu.max": "max 100000", "a/cpu.max": "200000 100000"}, 2.0),
        ("0::/a/b", {"a/b/cpu.max": "50000 100000", "a/cpu.max": "200000 100000"}, 0.5),
        (
            "2:cpu,cpuacct:/c\n3:memory:/c",
            {
                "cpu,cpuacct/c/cpu.cfs_quota_us": "300000",
                "cpu,cpuacct/c/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, math.inf),
        ("1:cpu:/", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("0::/", {}, math.inf),
    ],
)
def test_the_smallest_quota_counts(
    membership: str, files: dict[str, str], cores: float, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert cpu_quota(make_groups(tmp_path, membership, files)) == min(64, cores)


def test_affinity_and_quota_both_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5, 7})
    for quota, cores in ((64.0, 4), (1.5, 2), (0.2, 1)):
        monkeypatch.setattr(child, "cpu_quota", lambda quota=quota: quota)
        assert available_cores() == cores


@pytest.mark.parametrize(
    ("keys", "cores", "advice"),
    [
        ({"world_size": 3}, 3, ""),
        ({"world_size": 3}, 2, "= 3 on 2 cores: they take turns"),  # of two, one would do double
        ({"world_size": 3, "num_clients": 10}, 2, "world_size 2 would be faster, with the same"),
        ({"world_size": 3, "num_clients": 10}, 16, "world_size 10 would be faster, with the same"),
        ({"world_size": 3, "num_clients": 4}, 16, "some are idle; world_size 4 would"),
        ({"world_size": 3}, 8, "= 3 on 8 cores: some are idle; more clients"),
        ({"world_size": 2, "threads_per_process": 2}, 2, "threads_per_process 1 would be faster"),
    ],
)
def test_cores_that_are_idle_or_shared_are_said(
    keys: dict[str, int], cores: int, advice: str
) -> None:
    found = advise_on_cores(make_config(**keys), cores)
    assert advice in found
    assert bool(found) == bool(advice)
