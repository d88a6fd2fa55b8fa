"""Makes the vectors beside it, with byzfl.

python tests/federal_defense/golden/make.py    # in an environment with byzfl 0.0.11
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import byzfl  # type: ignore[import-not-found, import-untyped, unused-ignore]
import numpy as np
from byzfl.aggregators import (  # type: ignore[import-not-found, import-untyped, unused-ignore]
    aggregators,
    preaggregators,
)
from numpy.typing import NDArray

FOLDER = Path(__file__).parent
HOW = "default_rng(seed).standard_normal((n, 1000)), and shift added to the last f rows"
ONE_MORE = "byzfl scores by n - f - 1 neighbours, the paper by n - f - 2"
THREE_STEPS = "byzfl's defaults are 3 steps and nu = 0.1, which is not the minimum yet"
Array = NDArray[np.float64]


class Call(NamedTuple):
    """One of byzfl's classes, and its parameters."""

    name: str
    parameters: dict[str, Any]


class Size(NamedTuple):
    """How many updates, how many of them are shifted, and seeds."""

    n: int
    f: int
    seed: int
    krum_seed: int  # where one neighbour more takes another update
    multi_krum_seed: int  # where it keeps others, with the small shift


class Case(NamedTuple):
    """A rule as our config names it, and as byzfl does."""

    rule: str
    parameters: dict[str, Any]
    calls: list[Call]  # one after the other
    seed: int
    shift: float = 1.0
    differs: str = ""  # from the paper, and how


SIZES = [Size(10, 1, 1, 3, 31), Size(15, 3, 2, 3, 13), Size(20, 4, 4, 13, 11)]


def cases(size: Size) -> Iterator[Case]:
    n, f, seed = size[:3]
    own = {"f": f}
    mean, median = Call("Average", {}), Call("Median", {})
    krum, multi_krum = [Call("Krum", own)], [Call("MultiKrum", own)]
    yield Case("mean", {}, [mean], seed)
    yield Case("median", {}, [median], seed)
    yield Case("trimmed_mean", {"beta": f / n}, [Call("TrMean", own)], seed)
    yield Case("krum", own, krum, seed)
    yield Case("multi_krum", own, multi_krum, seed)
    fine = [Call("GeometricMedian", {"nu": 1e-6, "T": 100})]
    yield Case("geometric_median", {}, fine, seed)
    clipping = [Call("CenteredClipping", {"tau": 30.0, "L": 3})]
    yield Case("centered_clipping", {"tau": 30.0, "steps": 3}, clipping, seed)
    yield Case("norm_clipping", {"tau": 32.0}, [Call("Clipping", {"c": 32.0}), mean], seed)
    nnm, bucketing = Call("NNM", own), Call("Bucketing", {"s": 3})
    for rule, call in (("mean", mean), ("median", median)):
        yield Case(rule, {"pre": "nnm", "pre_f": f}, [nnm, call], seed)
        yield Case(rule, {"pre": "bucketing", "pre_s": 3}, [bucketing, call], seed)
    yield Case("krum", own, krum, size.krum_seed, differs=ONE_MORE)
    yield Case("multi_krum", own, multi_krum, size.multi_krum_seed, 0.1, ONE_MORE)
    yield Case("geometric_median", {}, [Call("GeometricMedian", {})], seed, differs=THREE_STEPS)


def called(calls: list[Call], updates: Array, seed: int) -> Array:
    """What byzfl makes of a copy: its Clipping writes into what it is given."""
    np.random.seed(seed)  # of Bucketing's order
    found = updates.copy()
    for name, parameters in calls:
        found = getattr(byzfl, name)(**parameters)(found)
    return found


def vector(size: Size, case: Case) -> dict[str, Any]:
    n, f = size.n, size.f
    updates = np.random.default_rng(case.seed).standard_normal((n, 1000))
    updates[n - f :] += case.shift
    found: dict[str, Any] = {
        "byzfl": version("byzfl"),
        "updates": {"seed": case.seed, "n": n, "f": f, "shift": case.shift, "how": HOW},
        "rule": case.rule,
        "parameters": case.parameters,
        "calls": case.calls,
        "differs": case.differs,
    }
    if case.calls[0].name == "Bucketing":  # of buckets of one, the numbers of the rows
        numbers = np.arange(n, dtype=np.float64)[:, None]
        order = called([Call("Bucketing", {"s": 1})], numbers, case.seed)
        found["order"] = order[:, 0].astype(int).tolist()
    step = called(case.calls, updates, case.seed)
    return found | {"step": [float(f"{value:.9e}") for value in step]}  # 10 digits


def main() -> None:
    for size in SIZES:
        for case in cases(size):
            front = [case.parameters["pre"]] if "pre" in case.parameters else []
            end = ["differs"] if case.differs else []
            name = "_".join([f"n{size.n}_f{size.f}", *front, case.rule, *end])
            text = json.dumps(vector(size, case))
            (FOLDER / f"{name}.json").write_text(f"{text}\n", encoding="utf-8")
    both = vars(aggregators) | vars(preaggregators)
    classes = [name for name, value in both.items() if isinstance(value, type)]
    text = json.dumps({"byzfl": version("byzfl"), "classes": sorted(classes)})
    (FOLDER / "classes.json").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
