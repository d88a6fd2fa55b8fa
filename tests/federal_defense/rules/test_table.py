"""Each rule against values worked by hand, against its paper's formula, and by its symmetries."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from extra_utils.aggregation.messages import Added, Aggregate, Array, Draw, Updates
from extra_utils.basics.errors import ConfigError
from extra_utils.basics.random_streams import stream
from extra_utils.config.keys import Config, DefenseConfig
from extra_utils.config.reader import Places
from federal_defense.rules.differences import num_trimmed
from federal_defense.rules.table import (
    DEFENSES,
    check_bounds,
    check_num_classes,
    rule_of,
)
from tests import helpers

C_JSON = Places({"defense": "c.json"})


class Dense:
    """Updates whose differences [n, P] are at hand; the last C x (h + 1) are the output layer."""

    def __init__(self, diffs: Any, samples: Any = None, shape: tuple[int, int] = (0, 0)) -> None:
        self.diffs: Array = np.array(diffs, dtype=np.float64).reshape(len(diffs), -1)
        self.num_clients = len(self.diffs)
        self.client_ids = list(range(self.num_clients))
        self.samples: Array = np.ones(len(self.diffs)) if samples is None else np.array(samples)
        self.is_attacker = np.zeros(len(self.diffs), dtype=bool)
        self.draw: Draw = partial(stream, 0)
        self._shape = shape
        self.class_means = self.output_layer().mean(axis=2) if shape[0] else self.diffs

    def gram(self, added: Added | None = None) -> Array:
        rows = self.diffs if added is None else np.vstack([self.diffs, added(0, self.diffs)])
        return rows @ rows.T

    def output_layer(self) -> Array:
        num_classes, width = self._shape
        last = self.diffs[:, self.diffs.shape[1] - num_classes * width :]
        return last.reshape(-1, num_classes, width)

    def permuted(self, order: list[int]) -> Dense:
        other = Dense(self.diffs[order], self.samples[order], self._shape)
        other.is_attacker = self.is_attacker[order]
        return other


def judge(name: str, updates: Updates, **parameters: Any) -> Aggregate:
    config = make_config(name, len(updates.samples), **parameters)
    return rule_of(config.defense)(updates, {})


def make_config(name: str, n: int, **parameters: Any) -> Config:
    defaults: dict[str, dict[str, Any]] = {
        "trimmed_mean": {"beta": 0.2},
        "krum": {"f": 1},
        "multi_krum": {"f": 1, "m": None},
        "geometric_median": {"steps": 1000},
        "norm_clipping": {"tau": None},
    }
    given = {**defaults.get(name, {}), **parameters}
    return helpers.make_config(num_clients=n, defense=DefenseConfig(name=name, parameters=given))


def step_of(aggregate: Aggregate, updates: Dense) -> Array:
    """What the global model moves by [P]."""
    if aggregate.per_coordinate is not None:
        step = aggregate.per_coordinate(updates.diffs)
    else:
        step = (aggregate.weights * aggregate.factors) @ updates.diffs
    return step if aggregate.added is None else step + aggregate.added(0, updates.diffs)


FIVE = Dense([1, 2, 3, 4, 100])


@pytest.mark.parametrize(
    ("name", "parameters", "expected"),
    [
        ("mean", {}, 22),
        ("median", {}, 3),
        ("trimmed_mean", {"beta": 0.2}, 3),
        ("krum", {"f": 1}, 2),
        ("multi_krum", {"f": 1}, 2.5),
        ("multi_krum", {"f": 1, "m": 2}, 2.5),
        ("norm_clipping", {"tau": 10.0}, 4),
        ("norm_clipping", {}, (1 + 2 + 3 + 3 + 3) / 5),
    ],
)
def test_values_worked_by_hand(name: str, parameters: dict[str, Any], expected: float) -> None:
    assert step_of(judge(name, FIVE, **parameters), FIVE).tolist() == pytest.approx([expected])


def test_more_values_worked_by_hand() -> None:
    four = Dense([1, 2, 3, 4])
    assert step_of(judge("median", four), four).tolist() == [2.5]
    kept = [judge("multi_krum", FIVE, f=1, m=m).weights for m in (2, 4)]  # scores 5, 2, 2, 5, 18625
    assert np.array(kept).tolist() == [[0, 0.5, 0.5, 0, 0], [0.25] * 4 + [0]]
    clipped = Dense([[3, 4]])
    assert step_of(judge("norm_clipping", clipped, tau=1.0), clipped) == pytest.approx([0.6, 0.8])
    weighted = Dense([1, 4], [3.0, 1.0])
    assert step_of(judge("mean", weighted), weighted).tolist() == [1.75]


def test_lengths_are_clipped_however_short_they_are_and_nothing_stays_nothing() -> None:
    short = Dense([0, 0.1, 0.2, 0.3, 10])  # the median's length is 0.2
    expected = (0 + 0.1 + 0.2 + 0.2 + 0.2) / 5
    assert step_of(judge("norm_clipping", short), short).tolist() == pytest.approx([expected])
    nothing = Dense([0, 0, 0])
    assert step_of(judge("norm_clipping", nothing), nothing).tolist() == [0]


def test_of_equally_near_clients_krum_keeps_the_lowest() -> None:
    updates = Dense([0, 10, 1, 11, 2, 12])  # two triples: 2 and 3 are the middle ones
    aggregate = judge("krum", updates, f=2)
    assert aggregate.flagged is not None
    assert aggregate.flagged.tolist() == [True, True, False, True, True, True]


def make_updates(n: int, seed: int = 0, num_attackers: int = 3, noise: float = 0.3) -> Dense:
    """Random differences of 5 values, 4 classes and 6 features; the last clients flip a class."""
    generator = np.random.default_rng(seed)
    shape = (4, 7)
    diffs = generator.normal(size=(n, 5 + math.prod(shape))) * noise
    layer = diffs[:, 5:].reshape(n, *shape)
    layer += generator.normal(size=shape)  # what all have in common
    layer[n - num_attackers :, 1] *= -1
    layer[n - num_attackers :, 2] *= 2
    updates = Dense(diffs, generator.integers(1, 50, size=n).astype(np.float64), shape)
    updates.is_attacker[n - num_attackers :] = True
    return updates


@pytest.mark.parametrize(("far", "nearest"), [(5.0, 0), (5.5, 4)])
def test_krum_adds_up_squared_distances_neither_more_nor_less(far: float, nearest: int) -> None:
    """Client 0 is 0, 0 and `far` from its three nearest, client 4 three times 3: squared far^2 and
    27. The distances themselves, and the squares' squares, put one of the two cases the other way.
    """
    apart = [[0, 0], [0, 0], [0, 0], [far, 0], [100, 0], [103, 0], [97, 0], [100, 3]]
    weights = judge("krum", Dense(apart), f=3).weights
    assert weights.tolist() == [float(client == nearest) for client in range(8)]


# the papers' formulae once more, client by client and coordinate by coordinate


def slow_mean(diffs: Array, samples: Array) -> Array:
    found: Array = np.average(diffs, axis=0, weights=samples)
    return found


def slow_median(u: Dense) -> Array:
    columns = [sorted(column) for column in u.diffs.T.tolist()]
    n = len(u.diffs)
    return np.array([(c[(n - 1) // 2] + c[n // 2]) / 2 for c in columns])


def slow_trimmed_mean(u: Dense) -> Array:
    k = len(u.diffs) // 5
    return np.array([np.mean(sorted(c)[k : len(c) - k]) for c in u.diffs.T.tolist()])


def slow_krum_scores(u: Dense, f: int) -> list[float]:
    scores = []
    for i, a in enumerate(u.diffs):
        others = sorted(float(((a - b) ** 2).sum()) for j, b in enumerate(u.diffs) if j != i)
        scores.append(sum(others[: len(u.diffs) - f - 2]))
    return scores


def slow_multi_krum(u: Dense) -> Array:
    scores = slow_krum_scores(u, 1)
    kept = sorted(range(len(scores)), key=scores.__getitem__)[: len(scores) - 1]
    return slow_mean(u.diffs[kept], u.samples[kept])


def slow_geometric_median(u: Dense) -> Array:
    shares = u.samples / u.samples.sum()
    z = shares @ u.diffs
    for _ in range(3000):
        lengths = [float(np.linalg.norm(z - d)) for d in u.diffs]
        pulls = np.array([p / max(1e-6, x) for p, x in zip(shares, lengths, strict=True)])
        z = pulls @ u.diffs / pulls.sum()
    return z


def slow_norm_clipping(u: Dense) -> Array:
    tau = float(np.median([np.linalg.norm(d) for d in u.diffs]))
    parts = [d * min(1.0, tau / float(np.linalg.norm(d))) for d in u.diffs]
    return slow_mean(np.stack(parts), u.samples)


def slow_foolsgold(u: Dense) -> Array:
    rows = u.output_layer().reshape(len(u.diffs), -1)
    n = len(rows)
    c = [[0.0] * n for _ in range(n)]
    for i, j in itertools.permutations(range(n), 2):
        norms = np.linalg.norm(rows[i]) * np.linalg.norm(rows[j])
        c[i][j] = float(rows[i] @ rows[j] / norms)
    v = [max(c[i][j] for j in range(n) if j != i) for i in range(n)]
    for i, j in itertools.permutations(range(n), 2):
        if v[i] < v[j]:
            c[i][j] *= v[i] / v[j]
    a = [min(max(1 - max(c[i][j] for j in range(n) if j != i), 0), 1) for i in range(n)]
    a = [value / max(a) for value in a]
    a = [0.99 if value == 1 else value for value in a]
    a = [min(max(math.log(x / (1 - x)) + 0.5, 0), 1) if x > 0 else 0.0 for x in a]
    return np.array(a) @ u.diffs / sum(a)


ORACLES: dict[str, Callable[[Dense], Array]] = {
    "median": slow_median,
    "trimmed_mean": slow_trimmed_mean,
    "krum": lambda u: u.diffs[int(np.argmin(slow_krum_scores(u, 1)))],
    "multi_krum": slow_multi_krum,
    "geometric_median": slow_geometric_median,
    "norm_clipping": slow_norm_clipping,
    "foolsgold": slow_foolsgold,
    "oracle": lambda u: slow_mean(u.diffs[~u.is_attacker], u.samples[~u.is_attacker]),
}


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("n", [5, 10])
def test_each_rule_is_its_papers_formula(name: str, n: int) -> None:
    for seed in range(5):
        updates = make_updates(n, seed, num_attackers=2)
        found = step_of(judge(name, updates), updates)
        assert np.allclose(found, ORACLES[name](updates), rtol=1e-6, atol=1e-9)


# fltrust trusts the first client; a pair of nearest neighbours has equal scores, of which bulyan
# takes the first
@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"bulyan", "fltrust"}))
def test_the_clients_order_does_not_matter(name: str) -> None:
    updates = make_updates(9)
    order = [4, 0, 8, 2, 6, 1, 7, 3, 5]
    aggregate, other = judge(name, updates), judge(name, updates.permuted(order))
    assert np.allclose(step_of(aggregate, updates), step_of(other, updates.permuted(order)))
    if aggregate.flagged is not None and other.flagged is not None:
        assert aggregate.flagged[order].tolist() == other.flagged.tolist()


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"foolsgold"}))  # which punishes sameness
def test_equal_updates_come_back_unchanged(name: str) -> None:
    diff = make_updates(1, num_attackers=0).diffs[0]
    updates = Dense([diff] * 7, [1.0, 5, 2, 9, 3, 4, 6], (4, 7))
    assert np.allclose(step_of(judge(name, updates), updates), diff)


@pytest.mark.parametrize(
    ("name", "n", "parameters", "message"),
    [
        ("krum", 4, {"f": 1}, "krum needs n >= 2f\\+3, got n=4, f=1"),
        ("multi_krum", 6, {"f": 2}, "multi_krum needs n >= 2f\\+3, got n=6, f=2, m=None"),
        ("multi_krum", 5, {"f": 1, "m": 5}, "multi_krum needs m <= n-f, got n=5, f=1, m=5"),
        ("trimmed_mean", 4, {"beta": 0.5}, "trimmed_mean needs beta < 1/2, got n=4, beta=0.5"),
        # rounding makes 2 of 4 of what is a little less than a half
        ("trimmed_mean", 4, {"beta": 0.5 - 1e-10}, r"trimmed_mean needs n > 2 floor\(beta n\)"),
        ("bulyan", 10, {"f": 2}, "bulyan needs n >= 4f\\+3, got n=10, f=2"),
        ("fltrust", 1, {}, "fltrust needs n >= 2, got n=1"),
        ("rlr", 3, {"theta": 4}, "rlr needs theta <= n, got n=3, theta=4"),
        ("tolpegin", 2, {}, "tolpegin needs n >= 3, got n=2"),
        ("foolsgold", 1, {}, "foolsgold needs n >= 2, got n=1"),
        ("lfighter", 2, {}, "lfighter needs n >= 3, got n=2"),
        ("class_mean", 4, {}, "class_mean needs n >= 5, got n=4"),
    ],
)
def test_what_a_theorem_does_not_cover_is_refused_with_the_bound(
    name: str, n: int, parameters: dict[str, Any], message: str
) -> None:
    config = make_config(name, n, **parameters)
    with pytest.raises(ConfigError, match=f"c.json: defense: {message}"), C_JSON.named():
        check_bounds(config)
    check_bounds(make_config("krum", 5, f=1))


@pytest.mark.parametrize(
    ("name", "n", "parameters"),
    [
        ("krum", 5, {"f": 1}),
        ("krum", 3, {"f": 0}),
        ("multi_krum", 7, {"f": 2}),
        ("multi_krum", 5, {"f": 1, "m": 4}),
        ("trimmed_mean", 5, {"beta": 0.4}),
        ("trimmed_mean", 1, {"beta": 0.49}),
        ("bulyan", 11, {"f": 2}),
        ("fltrust", 2, {}),
        ("rlr", 4, {"theta": 4}),
        ("foolsgold", 2, {}),
        ("tolpegin", 3, {}),
        ("lfighter", 3, {}),
        ("class_mean", 5, {}),
        ("median", 1, {}),
    ],
)
def test_what_a_theorem_just_covers_is_taken(name: str, n: int, parameters: dict[str, Any]) -> None:
    check_bounds(make_config(name, n, **parameters))


def test_a_share_of_the_clients_is_counted_as_it_is_written() -> None:
    """In floating point 0.29 x 100 is a little less than 29."""
    assert [num_trimmed(100, beta / 100) for beta in range(50)] == list(range(50))
    assert [num_trimmed(n, 0.25) for n in (3, 4, 7, 8)] == [0, 1, 1, 2]


def test_too_few_classes_are_refused() -> None:
    config = make_config("class_mean", 10)
    with pytest.raises(ConfigError, match="class_mean needs at least 5 classes, got 4"):
        check_num_classes(config.defense, 4)
    check_num_classes(config.defense, 5)
    check_num_classes(make_config("lfighter", 10).defense, 2)
