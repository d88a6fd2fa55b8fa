"""Ranks that fail, die, hang, or merely take long."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from extra_utils.basics import heartbeat
from extra_utils.basics.heartbeat import StillnessWatch, new_heartbeats
from extra_utils.processes.child import process_context
from tests.helpers import ROOT, processes_of

CASES = """
import os, signal, sys, time
import torch
from extra_utils.basics.errors import ClientFailed, RunFailed
from extra_utils.processes.supervisor import start_ranks

def act(ranks, name, marker):
    ranks.heartbeat.place(3, 7)
    if ranks.rank == 1:
        if name == "raise":
            raise RuntimeError("out of luck")
        if name == "client":
            raise ClientFailed("client 7 diverged")
        if name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if name == "exit":
            os._exit(5)
        if name == "hang":
            time.sleep(3600)
        if name == "compute":
            while True:
                pass
        if name == "slow":
            for _ in range(15):
                time.sleep(0.2)
                ranks.heartbeat.beat()
    ranks.all_reduce(torch.ones(1, dtype=torch.int64))

marker, *names = sys.argv[1:]
for name in names:
    try:
        start_ranks(act, (name, marker), world_size=3, threads=1, timeout_s=1.5)
        print(name, "finished")
    except RunFailed as error:
        print(name, str(error).splitlines()[0])
"""
PLACE = "rank 1 (client 7, round 3)"
STILL = (
    "no sign of life for timeout_s = 1.5 seconds; where a single step takes longer, a larger "
    "timeout_s helps"
)
SAID = {
    "raise": f"{PLACE}: RuntimeError: out of luck",
    "client": f"{PLACE}: client 7 diverged",
    "kill": f"{PLACE} was killed by SIGKILL",
    "exit": f"{PLACE} ended with exit status 5",
    "hang": f"{PLACE}: {STILL}",
    "compute": f"{PLACE}: {STILL}",
    "slow": "finished",
}  # fmt: skip


def test_the_run_ends_and_the_message_names_the_rank(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CASES, str(tmp_path), *SAID]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=90)
    assert done.stdout.splitlines() == [f"{name} {text}" for name, text in SAID.items()]
    assert processes_of(tmp_path) == []


AGAIN_AND_AGAIN = """
import os, signal
from extra_utils.basics.errors import RunFailed
from extra_utils.processes.supervisor import start_ranks

def fail(ranks, how):
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("out of luck")

for how in 5 * ["raise", "kill"]:
    try:
        start_ranks(fail, (how,), world_size=1, threads=1, timeout_s=30)
        print("finished")
    except RunFailed as error:
        print(str(error).splitlines()[0])
"""


def test_a_rank_that_fails_at_once_never_counts_as_finished() -> None:
    command = [sys.executable, "-c", AGAIN_AND_AGAIN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    place = "rank 0 (before its first round)"
    raised, killed = f"{place}: RuntimeError: out of luck", f"{place} was killed by SIGKILL"
    assert done.stdout.splitlines() == 5 * [raised, killed]


class Clock:
    """Stands in for the time module; the test moves it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


def test_a_rank_that_waits_is_alive_until_all_stand_still(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    heartbeats = new_heartbeats(process_context(), 2)
    waiting = heartbeats[0].waiting()
    waiting.__enter__()
    watch = StillnessWatch(heartbeats, timeout_s=3)
    for _ in range(20):  # rank 1 works, rank 0 waits for it
        clock.now += 1
        heartbeats[1].beat()
        assert watch.look({0, 1}) == []
    for _ in range(3):
        clock.now += 1
        assert watch.look({0, 1}) == []
    clock.now += 1
    assert watch.look({0, 1}) == [1]
    assert watch.look({0}) == [0]  # alone, and waiting for nobody


def test_a_stopped_parent_does_not_take_the_pause_for_a_ranks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    watch = StillnessWatch(new_heartbeats(process_context(), 1), timeout_s=3)
    for now in (1, 2, 3600):  # the first look sees a new beat, and the third comes an hour later
        clock.now = now
        assert watch.look({0}) == []
    for now in (3601, 3602, 3603):
        clock.now = now
        found = watch.look({0})
    assert found == [0]  # which goes on to stand still
