"""What stands in front of a rule: means of the differences, in terms of the clients again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates
from extra_utils.basics.errors import ConfigError, WrongKey
from extra_utils.config.keys import DefenseConfig
from extra_utils.config.reader import Arguments, read_config
from extra_utils.config.rules import idle_keys
from federal_defense.rules.before import SINGLES_OUT, Mixed, bucketing, nnm, num_after
from federal_defense.rules.on_paper import aggregate
from federal_defense.rules.table import DEFENSES, TABLES, check_bounds, rule_of
from tests.federal_defense.rules.test_table import Dense, make_config, make_updates, step_of
from tests.helpers import write_config


def nearest(diffs: Array, f: int) -> Array:
    """The paper's, on the vectors themselves."""
    means = []
    for own in diffs:
        gaps = ((diffs - own) ** 2).sum(axis=1)
        means.append(diffs[np.argsort(gaps, kind="stable")[: len(diffs) - f]].mean(axis=0))
    return np.array(means)


def test_nnm_by_hand() -> None:
    updates = Dense([0, 1, 3, 10])
    matrix = nnm(updates, DefenseConfig(name="mean", pre="nnm", pre_f=2))
    assert matrix.tolist() == [
        [0.5, 0.5, 0, 0],
        [0.5, 0.5, 0, 0],
        [0, 0.5, 0.5, 0],
        [0, 0, 0.5, 0.5],
    ]


def test_buckets_are_an_order_of_the_round_cut_every_s() -> None:
    updates = Dense(np.arange(7.0), np.arange(1.0, 8))
    defense = DefenseConfig(name="mean", pre="bucketing", pre_s=3)
    matrix = bucketing(updates, defense)
    assert matrix.shape == (num_after(defense, 7), 7) == (3, 7)
    assert (matrix > 0).sum(axis=1).tolist() == [3, 3, 1]
    assert (matrix > 0).sum(axis=0).tolist() == [1] * 7
    assert matrix.sum(axis=1) == pytest.approx(1)
    assert np.array_equal(matrix, bucketing(updates, defense))
    drawn = {
        tuple(aggregate(np.eye(7), "mean", pre="bucketing", pre_s=3, seed=s)) for s in range(9)
    }
    assert len(drawn) > 1
    one = bucketing(updates, DefenseConfig(name="mean", pre="bucketing", pre_s=1))
    assert np.array_equal(one @ one.T, np.eye(7))


RULES = sorted(set(DEFENSES) - {"oracle", "fltrust"})


@pytest.mark.parametrize("name", RULES)
def test_a_rule_behind_nnm_is_the_rule_on_the_means(name: str) -> None:
    updates = make_updates(9)
    mixed = nearest(updates.diffs, 2)
    seen = Dense(mixed, nnm(updates, pre(name, "nnm", 2)) @ updates.samples, (4, 7))
    expected = step_of(rule_of(pre(name))(seen, {}), seen)
    found = rule_of(pre(name, "nnm", 2))(updates, {})
    assert np.allclose(step_of(found, updates), expected, rtol=1e-9, atol=1e-12)
    flags = rule_of(pre(name))(seen, {}).flagged
    assert (found.flagged is None) == (flags is None)
    if found.flagged is not None:
        assert np.array_equal(found.flagged, found.weights == 0)


def pre(name: str, kind: Any = None, number: int = 1) -> DefenseConfig:
    parameters = make_config(name, 9).defense.parameters
    return DefenseConfig(name=name, parameters=parameters, pre=kind, pre_f=number, pre_s=number)


@pytest.mark.parametrize("name", sorted(set(RULES) - set(SINGLES_OUT["bucketing"])))
def test_a_rule_behind_buckets_is_the_rule_on_their_means(name: str) -> None:
    updates = make_updates(14)
    defense = pre(name, "bucketing", 2)
    matrix = bucketing(updates, defense)
    seen = Dense(matrix @ updates.diffs, matrix @ updates.samples, (4, 7))
    found = rule_of(defense)(updates, {})
    expected = step_of(rule_of(pre(name))(seen, {}), seen)
    assert np.allclose(step_of(found, updates), expected, rtol=1e-9, atol=1e-12)
    assert len(found.weights) == 14


def test_a_rule_is_given_the_means_of_all_that_it_can_ask_for() -> None:
    updates = make_updates(6)
    matrix = nnm(updates, pre("mean", "nnm", 2))
    mixed, rows = Mixed(updates, matrix), matrix @ updates.diffs
    assert np.allclose(mixed.gram(), rows @ rows.T)
    extra: Callable[[int, Array], Array] = lambda _, block: block[0] - 3  # noqa: E731
    both = np.vstack([rows, updates.diffs[0] - 3])
    assert np.allclose(mixed.gram(extra), both @ both.T)
    assert np.allclose(mixed.class_means, matrix @ updates.class_means)
    assert np.allclose(mixed.output_layer(), np.tensordot(matrix, updates.output_layer(), 1))
    assert mixed.client_ids == updates.client_ids


def test_where_the_rule_leaves_nobody_nobody_has_a_weight() -> None:
    def nobody(updates: Updates, state: State) -> Aggregate:
        return Aggregate(
            np.zeros(len(updates.samples)), flagged=np.ones(3, dtype=bool), state=state
        )

    DEFENSES["nobody"] = nobody
    try:
        found = rule_of(DefenseConfig(name="nobody", pre="bucketing"))(make_updates(6), {})
    finally:
        del DEFENSES["nobody"]
    assert found.flagged is not None
    assert found.flagged.all()
    assert not found.weights.any()
    assert np.isfinite(found.factors).all()


@pytest.mark.parametrize(
    ("name", "kind", "n", "number", "message"),
    [
        ("krum", "bucketing", 8, 2, "krum needs n >= 2f\\+3, got n=4, f=1"),
        ("median", "nnm", 4, 4, "pre_f: nnm needs n > pre_f, got n=4, pre_f=4"),
        ("class_mean", "bucketing", 20, 2, 'pre: got "bucketing"; class_mean singles out clients'),
        ("oracle", "nnm", 20, 2, 'pre: got "nnm"; oracle singles out clients, which nnm has mixed'),
    ],
)
def test_what_does_not_go_together_is_refused(
    name: str, kind: Any, n: int, number: int, message: str
) -> None:
    config = make_config(name, n)
    vars(config)["defense"] = pre(name, kind, number)
    with pytest.raises(WrongKey, match=message):
        check_bounds(config)


def test_it_is_set_beside_the_rules_own_keys_and_warned_of_where_it_is_idle(tmp_path: Any) -> None:
    path = write_config(tmp_path, defense={"name": "krum", "f": 2, "pre": "nnm", "pre_f": 3})
    config, _ = read_config(Arguments(config=str(path)), TABLES)
    assert (config.defense.pre, config.defense.pre_f, config.defense.parameters) == (
        "nnm",
        3,
        {"f": 2},
    )
    with pytest.raises(ConfigError, match=r'defense\.pre: got "mix", must be one of "nnm"'):
        read_config(Arguments(config=str(path), overrides={"defense.pre": "mix"}), TABLES)
    idle = make_config("mean", 5)
    vars(idle)["defense"] = DefenseConfig(name="mean", pre="bucketing", pre_f=3)
    _, places = read_config(Arguments(config=str(path)), TABLES)
    (line,) = idle_keys(idle, places)
    assert line.endswith('defense.pre_f: has no effect here: pre is "bucketing"')
