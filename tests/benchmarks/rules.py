"""Seconds of one aggregation by each rule: 20 updates of resnet18 on two ranks of one thread each.

    python -m tests.benchmarks.rules [--times 5] [--byzfl /path/to/python] [--only krum median]

Ours is all that a round does with the updates after training: they are checked and summed, or kept,
exchanged, asked about, and made a step. Beside it, by an interpreter that has byzfl, its same rule
on the stacked float32 matrix, in one process of two threads; the two take turns.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from extra_utils.aggregation.flat_model import FlatModel, WeightDiff
from extra_utils.aggregation.messages import Update
from extra_utils.config.keys import DefenseConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.model import new_model
from extra_utils.processes.supervisor import start_ranks
from federal_defense.rules.table import DEFENSES, looks_at_updates
from get_weight_matrix import RoundSum, RuleRound, class_means
from tests.benchmarks.measure import Section, spread
from tests.helpers import ROOT, make_config
from tests.test_get_weight_matrix import make_plan

CLIENTS, WORLD_SIZE, F = 20, 2, 4
STEPS = 3  # of byzfl's geometric median; its time is a multiple of them
LENGTH = 30.0  # that clipping leaves of differences of about 33


KEYS: dict[str, dict[str, Any]] = {  # of a rule's config, what is not left at its default
    **{name: {} for name in DEFENSES},
    "trimmed_mean": {"beta": F / CLIENTS},
    **{name: {"f": F} for name in ("krum", "multi_krum", "bulyan")},
    "norm_clipping": {"tau": LENGTH},
    "centered_clipping": {"tau": LENGTH},
}
Calls = list[tuple[str, dict[str, Any]]]  # byzfl's classes, one after the other
BYZFL: dict[str, Calls] = {
    "mean": [("Average", {})],
    "median": [("Median", {})],
    "trimmed_mean": [("TrMean", {"f": F})],
    "krum": [("Krum", {"f": F})],
    "multi_krum": [("MultiKrum", {"f": F})],
    "geometric_median": [("GeometricMedian", {"nu": 1e-6, "T": STEPS})],
    "norm_clipping": [("Clipping", {"c": LENGTH}), ("Average", {})],
    "centered_clipping": [("CenteredClipping", {"tau": LENGTH})],
}
Seconds = dict[str, dict[str, list[float | str]]]  # by rule and side; why byzfl has none


class Round:
    """What a rank has of a round after training, by which each rule is measured."""

    def __init__(self, ranks: Ranks) -> None:
        torch.manual_seed(0)
        config = make_config(type="cifar", model_name="resnet18")
        self._model = new_model(config, num_classes=10, channels=3, side=32)
        attackers = set(range(CLIENTS - F, CLIENTS))  # the oracle is told
        plan = make_plan(dict.fromkeys(range(CLIENTS), 100), WORLD_SIZE)
        self._ranks, self._plan = ranks, plan._replace(attackers=attackers)
        self._updates = [self._update(client) for client in plan.shares[ranks.rank]]
        self.num_values = FlatModel(self._model).num_scored

    def _update(self, client: int) -> Update:
        local = copy.deepcopy(self._model)
        torch.manual_seed(client)
        for piece in FlatModel(local).pieces():
            piece.add_(0.01 * torch.randn_like(piece))
        return Update(client, 100, WeightDiff(local, self._model), class_means(local), 0.0)

    def seconds(self, name: str, *, exchange: bool = False) -> float:
        """All ranks call this; a barrier before and after. ``exchange``: whether all updates are
        exchanged where a rule does not look at them."""
        rule = partial(DEFENSES[name], **KEYS[name])
        config = make_config(defense=DefenseConfig(name=name, parameters=KEYS[name]))
        kind = RuleRound if exchange or looks_at_updates(config) else RoundSum
        verdict = None if kind is RoundSum and name == "mean" else rule
        aggregation = kind(self._model, 0, CLIENTS, verdict)
        dist.barrier()
        start = time.perf_counter()
        aggregation.begin(self._plan)
        for update in self._updates:
            aggregation.add(update)
        aggregation.reduce(self._ranks)
        dist.barrier()
        return time.perf_counter() - start


@contextmanager
def other_side(python: str | None, num_values: int) -> Iterator[Callable[[str], float | str]]:
    """Asks byzfl's process, which waits while it is not asked, for the seconds of a rule."""
    if python is None:
        yield lambda _: ""
        return
    command = [python, str(ROOT / "tests/benchmarks/byzfl_rules.py"), str(CLIENTS), str(num_values)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers, requests = process.stdout, process.stdin

        def ask(name: str) -> float | str:
            requests.write(f"{json.dumps(BYZFL[name])}\n")
            requests.flush()
            line = answers.readline()
            assert line, "byzfl's process has ended"
            answer: float | str = json.loads(line)
            return answer

        yield ask
        requests.close()


def measure_on_rank(
    ranks: Ranks, times: int, python: str | None, only: list[str], path: Path
) -> None:
    """Rank 0 writes the seconds of both, taken in turns; the other waits while byzfl works."""
    own = Round(ranks)
    seconds: Seconds = {name: {"ours": [], "byzfl": []} for name in only}
    with other_side(python if ranks.is_main else None, own.num_values) as byzfl:
        own.seconds("mean")  # the first of each touches its memory for the first time
        byzfl("mean")
        for name, sides in seconds.items():
            runs = {"ours": own.seconds, "byzfl": byzfl}
            runs = runs if name in BYZFL else {"ours": own.seconds}
            for number in range(times):
                for side in list(runs) if number % 2 == 0 else reversed(list(runs)):
                    sides[side].append(runs[side](name))
            if ranks.is_main:
                print(f"  {name}: {sides}", file=sys.stderr, flush=True)
    if ranks.is_main:
        path.write_text(json.dumps(seconds))


def row(name: str, sides: dict[str, list[Any]], has_byzfl: bool) -> tuple[str, dict[str, float]]:
    """A line of the table, and ours / byzfl's where both have the rule."""
    ours, byzfl = sides["ours"], sides["byzfl"]
    cells, ratios = [name, spread(ours)], {}
    if has_byzfl and byzfl and isinstance(byzfl[0], str):
        cells += [byzfl[0], ""]
    elif has_byzfl and byzfl:
        ratios[name] = statistics.median(ours) / statistics.median(byzfl)
        cells += [spread(byzfl), f"{ratios[name]:.2f}"]
    elif has_byzfl:
        cells += ["", ""]
    return f"| {' | '.join(cells)} |", ratios


def section(times: int, python: str | None = None, only: Sequence[str] = tuple(KEYS)) -> Section:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "seconds.json"
        command = [sys.executable, "-m", "tests.benchmarks.rules", f"--times={times}"]
        command += [f"--write={path}"] + ([f"--byzfl={python}"] if python else [])
        command += ["--only", *only]
        subprocess.run(command, cwd=ROOT, check=True)  # torch not used yet
        seconds = json.loads(path.read_text())
    columns = ["rule", "ours, s"] + (["byzfl, s", "ours / byzfl"] if python else [])
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    ratios: dict[str, float] = {}
    for name, sides in seconds.items():
        line, ratio = row(name, sides, python is not None)
        lines, ratios = [*lines, line], ratios | ratio
    text = f"""\
One aggregation of {CLIENTS} updates of `resnet18` (11.2 million values) on {WORLD_SIZE} ranks of \
one thread each, all of it
after training; medians of {times} (least - largest)."""
    if python:
        text += f"""
byzfl: on the stacked float32 matrix, one process, two threads. Its geometric median takes {STEPS} \
steps, its default;
ours goes on until it stands still."""
    return Section("\n".join([text, "", *lines]), ratios)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--byzfl", help="an interpreter that has byzfl 0.0.11")
    parser.add_argument("--only", nargs="+", choices=KEYS, default=list(KEYS), metavar="RULE")
    parser.add_argument("--write", type=Path, help="what the fresh interpreter is started with")
    options = parser.parse_args()
    if options.write is None:
        print(section(options.times, options.byzfl, options.only).text)
        return
    arguments = (options.times, options.byzfl, options.only, options.write)
    start_ranks(measure_on_rank, arguments, world_size=WORLD_SIZE, threads=1, timeout_s=600)


if __name__ == "__main__":
    main()
