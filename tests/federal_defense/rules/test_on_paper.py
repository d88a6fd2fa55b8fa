"""Rules on a NumPy matrix: what a run does with them, without a run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from federal_defense.class_mean import class_mean
from federal_defense.rules import aggregate
from federal_defense.rules.table import DEFENSES
from tests.federal_defense.rules.test_table import Dense, judge, make_updates, step_of

ROWS = np.array([[1.0, 0.0], [2.0, 0.0], [3.0, 1.0], [4.0, 0.0], [100.0, 9.0]])
OF_LAYERS = ("foolsgold", "tolpegin", "lfighter", "class_mean", "class_rows")


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"oracle", *OF_LAYERS}))
def test_it_is_the_runs_own_rule(name: str) -> None:
    updates = Dense(make_updates(9).diffs)
    found = aggregate(updates.diffs, name)
    assert np.allclose(found, step_of(DEFENSES[name](updates, {}), updates))
    assert found.shape == updates.diffs.shape[1:]


def test_the_readmes_lines() -> None:
    assert aggregate(ROWS, rule="krum", f=1).tolist() == [2.0, 0.0]
    assert aggregate(ROWS.tolist()).tolist() == [22.0, 2.0]
    assert aggregate(ROWS, rule="median", pre="nnm", pre_f=1)[0] < 4


@pytest.mark.parametrize("name", OF_LAYERS)
def test_rules_of_the_last_layer_need_to_know_its_classes(name: str) -> None:
    generator = np.random.default_rng(3)
    layer = generator.standard_normal((12, 6, 5))  # [n, C, h + 1]
    layer[:4, 1] -= 4
    rows = np.concatenate([layer[:, :, :-1].reshape(12, -1), layer[:, :, -1]], axis=1)
    dense = Dense(layer, shape=(6, 5))
    dense.class_means = layer.sum(axis=2) / 4
    order = step_of(class_mean(dense, {}) if name == "class_mean" else judge(name, dense), dense)
    found = aggregate(rows, name, num_classes=6)
    expected = order.reshape(6, 5)
    assert np.allclose(found, np.concatenate([expected[:, :-1].flatten(), expected[:, -1]]))
    with pytest.raises(ValueError, match=f"{name}: looks at the last layer, so num_classes"):
        aggregate(rows, name)


@pytest.mark.parametrize(
    ("updates", "rule", "keys", "message"),
    [
        (ROWS, "crum", {}, 'defense.name: got "crum", must be one of mean, median'),
        (ROWS, "krum", {"f": 2}, "krum needs n >= 2f\\+3, got n=5, f=2"),
        (ROWS, "krum", {"f": -1}, "f: got -1, must be a whole number from 0"),
        (ROWS, "krum", {"ff": 1}, 'unknown key "ff"; did you mean "f"'),
        (ROWS, "oracle", {}, r"got oracle, \[\], must be a rule that is not told who attacks"),
        (ROWS, "median", {"name": "oracle"}, r"got median, \['name'\], must be a rule"),
        (ROWS, "krum", {"f": 1.5}, "^aggregate: defense.f: got 1.5, must be a whole number"),
        (ROWS, "lfighter", {"num_classes": 0}, "num_classes: got 0, must be a whole number"),
        (ROWS, "lfighter", {"num_classes": 3.0}, "num_classes: got 3.0, must be a whole number"),
        (np.ones((5, 8)), "class_mean", {"num_classes": 4}, "needs at least 5 classes, got 4"),
        (ROWS, "median", {"pre": "bucketing", "pre_s": 5}, "bucketing needs n > pre_s, got n=5"),
        (ROWS[0], "mean", {}, r"updates: got shape \(2,\), must be finite numbers \[n, P\]"),
        (ROWS * np.nan, "mean", {}, r"must be finite numbers"),
        (np.zeros((0, 3)), "mean", {}, r"got shape \(0, 3\)"),
        (ROWS, "lfighter", {"num_classes": 2}, "num_classes: got 2, must divide the 2 values"),
        (
            np.ones((5, 7)),
            "lfighter",
            {"num_classes": 2},
            "got 2, must divide the 7 values of a row",
        ),
    ],
)
def test_what_is_wrong_is_a_value_error_of_one_line(
    updates: Any, rule: str, keys: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        aggregate(updates, rule, **keys)
    assert "\n" not in str(caught.value)


def test_numpys_own_numbers_are_numbers() -> None:
    found = aggregate(ROWS, "norm_clipping", tau=np.median(np.linalg.norm(ROWS, axis=1)))
    assert np.allclose(found, aggregate(ROWS, "norm_clipping"))
    assert aggregate(ROWS, "krum", f=np.int64(1)).tolist() == [2.0, 0.0]


def test_the_matrix_given_stays_as_it_is() -> None:
    before = ROWS.copy()
    aggregate(ROWS, "trimmed_mean", beta=0.2)
    assert np.array_equal(ROWS, before)
