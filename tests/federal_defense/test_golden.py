"""Rules beside byzfl's, whose steps lie in golden/; where byzfl differs, beside the paper's."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Array
from extra_utils.basics.random_streams import Purpose
from federal_defense.rules import aggregate, on_paper
from federal_defense.rules.before import SINGLES_OUT
from federal_defense.rules.table import DEFENSES

FOLDER = Path(__file__).parent / "golden"
TOLERANCE = 5e-10  # of the step's length: what ten digits can be off; measured at most 2e-10
LEAST_DIFFERENCE = 1e-4  # where byzfl is said to differ; measured at least 1.5e-4
SIZES = {(10, 1), (15, 3), (20, 4)}  # n, f
SHARED = {  # byzfl's name, ours
    "Average": "mean",
    "Median": "median",
    "TrMean": "trimmed_mean",
    "Krum": "krum",
    "MultiKrum": "multi_krum",
    "GeometricMedian": "geometric_median",
    "CenteredClipping": "centered_clipping",
    "Clipping": "norm_clipping",
    "NNM": "nnm",
    "Bucketing": "bucketing",
}
BYZFL_ALONE = {"ARC", "CAF", "MDA", "Meamed", "MoNNA", "SMEA"}
OURS_ALONE = {"class_rows", "foolsgold", "tolpegin", "lfighter", "bulyan", "fltrust", "rlr"}
OURS_ALONE |= {"class_mean", "oracle"}

VECTORS = {p.stem: json.loads(p.read_text("utf-8")) for p in sorted(FOLDER.glob("n*.json"))}
AGREE = [name for name, vector in VECTORS.items() if not vector["differs"]]
DIFFER = [name for name in VECTORS if name not in AGREE]


def updates_of(vector: dict[str, Any]) -> Array:
    made = vector["updates"]
    updates = np.random.default_rng(made["seed"]).standard_normal((made["n"], 1000))
    updates[made["n"] - made["f"] :] += made["shift"]
    return updates


def off(found: Array, vector: dict[str, Any]) -> float:
    """How far from byzfl's step, in its lengths."""
    step = np.array(vector["step"])
    return float(np.linalg.norm(found - step) / np.linalg.norm(step))


class Given:
    """A stream that deals out one order."""

    def __init__(self, order: list[int], _seed: int, purpose: Purpose, number: int) -> None:
        assert (purpose, number) == (Purpose.BUCKETS, 0)
        self._order = order

    def permutation(self, n: int) -> NDArray[np.int64]:
        assert n == len(self._order)
        return np.array(self._order)


@pytest.mark.parametrize("name", AGREE)
def test_the_step_is_byzfls(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vector = VECTORS[name]
    if "order" in vector:
        monkeypatch.setattr(on_paper, "stream", partial(Given, vector["order"]))
    found = aggregate(updates_of(vector), vector["rule"], **vector["parameters"])
    assert off(found, vector) < TOLERANCE


def nearest_mean(updates: Array, neighbours: int, m: int) -> Array:
    """The mean of the m updates with the least sum of squared distances to their neighbours."""
    scores = []
    for i, own in enumerate(updates):
        others = [other for j, other in enumerate(updates) if j != i]
        scores.append(
            sum(sorted(float(((own - other) ** 2).sum()) for other in others)[:neighbours])
        )
    best = sorted(range(len(updates)), key=scores.__getitem__)[:m]
    return np.mean([updates[i] for i in best], axis=0)


def weiszfeld(updates: Array, nu: float, steps: int) -> Array:
    """From 0 on."""
    z = np.zeros(updates.shape[1])
    for _ in range(steps):
        pulls = [1 / max(nu, float(np.linalg.norm(own - z))) for own in updates]
        z = sum(pull * own for pull, own in zip(pulls, updates, strict=True)) / sum(pulls)
    return z


def slowly(vector: dict[str, Any]) -> tuple[Array, Array]:
    """The paper's step, and what byzfl's definition makes of the same updates."""
    updates, rule, f = updates_of(vector), vector["rule"], vector["updates"]["f"]
    n = len(updates)
    if rule == "geometric_median":
        return weiszfeld(updates, 1e-6, 1000), weiszfeld(updates, 0.1, 3)
    m = {"krum": 1, "multi_krum": n - f}[rule]
    return nearest_mean(updates, n - f - 2, m), nearest_mean(updates, n - f - 1, m)


@pytest.mark.parametrize("name", DIFFER)
def test_where_byzfl_differs_ours_is_the_papers(name: str) -> None:
    vector = VECTORS[name]
    papers, byzfls = slowly(vector)
    found = aggregate(updates_of(vector), vector["rule"], **vector["parameters"])
    assert np.linalg.norm(found - papers) < 1e-11 * np.linalg.norm(papers)
    assert off(byzfls, vector) < TOLERANCE  # so what it says of the difference is all of it
    assert off(found, vector) > LEAST_DIFFERENCE


def test_the_geometric_median_is_where_the_pulls_cancel_out() -> None:
    updates = updates_of(VECTORS["n10_f1_geometric_median"])
    gaps = updates - weiszfeld(updates, 1e-6, 1000)
    pulls = gaps / np.linalg.norm(gaps, axis=1, keepdims=True)
    assert np.linalg.norm(pulls.sum(axis=0)) < 1e-12 * len(updates)


def test_every_rule_that_both_have_is_compared_at_each_size() -> None:
    classes = json.loads((FOLDER / "classes.json").read_text("utf-8"))["classes"]
    assert sorted(classes) == sorted(SHARED.keys() | BYZFL_ALONE)
    ours = DEFENSES.keys() | SINGLES_OUT.keys()
    assert sorted(ours) == sorted(set(SHARED.values()) | OURS_ALONE)
    for n, f in SIZES:
        found = [VECTORS[name] for name in AGREE if name.startswith(f"n{n}_f{f}_")]
        assert {name for vector in found for name, _ in vector["calls"]} == SHARED.keys()
        named = [{vector["rule"], vector["parameters"].get("pre")} for vector in found]
        assert set().union(*named) - {None} == set(SHARED.values())


def test_a_vector_compares_the_same_rules() -> None:
    for name, vector in VECTORS.items():
        ours = [vector["parameters"].get("pre"), vector["rule"]]
        theirs = [SHARED[call] for call, _ in vector["calls"]]
        theirs = theirs[:1] if theirs[0] == "norm_clipping" else theirs  # the mean is part of ours
        assert [rule for rule in ours if rule] == theirs, name
        assert len(vector["step"]) == 1000
        assert (vector["updates"]["n"], vector["updates"]["f"]) in SIZES
        assert vector["byzfl"] == "0.0.11"


def test_byzfl_is_seen_to_differ_in_three_rules() -> None:
    rules = [VECTORS[name]["rule"] for name in DIFFER]
    assert sorted(rules) == sorted(["krum", "multi_krum", "geometric_median"] * len(SIZES))


def test_the_vectors_are_small() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir() if path.is_file()) < 1_000_000
