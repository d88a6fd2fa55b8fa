"""Rules that look at the last layer, against their papers' formulae; whom they leave out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Array
from federal_defense.rules.output_layer import (
    cosines,
    foolsgold_scores,
    less_dissimilar,
    principal_components,
    smaller,
)
from federal_defense.rules.table import rule_of
from federal_defense.two_means import two_means
from tests.federal_defense.rules.test_table import Dense, judge, make_config, make_updates
from tests.federal_defense.test_two_means import all_splits, scatter


def best_split(points: Array) -> NDArray[np.bool_]:
    """2-means by trying every split."""
    return min(all_splits(len(points)), key=lambda split: scatter(points, split))


def slow_lfighter(u: Dense) -> list[int]:
    """Whom it leaves out, client by client and class by class."""
    layer = u.output_layer()
    sizes = [
        sum(float(np.linalg.norm(one[c, :-1])) + abs(float(one[c, -1])) for one in layer)
        for c in range(layer.shape[1])
    ]
    pair = sorted(range(len(sizes)), key=lambda c: -sizes[c])[:2]
    points = np.stack([np.concatenate([one[c, :-1] for c in sorted(pair)]) for one in layer])
    split = best_split(points)
    groups = [np.flatnonzero(split).tolist(), np.flatnonzero(~split).tolist()]

    def cosine(i: int, j: int) -> float:
        norms = float(np.linalg.norm(points[i]) * np.linalg.norm(points[j]))
        return 0.0 if i == j else float(points[i] @ points[j]) / norms

    scores = []
    for group in groups:
        similar = float(np.mean([min(cosine(i, j) for j in group) for i in group]))
        scores.append(len(group) / len(layer) * (1 - similar))
    dropped: list[int] = groups[int(np.argmin(scores))]
    return dropped


def slow_tolpegin(u: Dense) -> list[int]:
    """The same; principal components by the covariance matrix's eigenvectors.

    Noise has no one best split that Lloyd's steps must find, so the split is the rule's own.
    """
    layer = u.output_layer()[:, :, :-1]
    best = (-1.0, [0])
    for c in range(layer.shape[1]):
        rows = (layer[:, c] - layer[:, c].mean(axis=0)) / layer[:, c].std(axis=0)
        values, vectors = np.linalg.eigh(rows.T @ rows)
        order = np.argsort(-values)
        shares = np.cumsum(values[order]) / values.sum()
        points = rows @ vectors[:, order[: max(1, int((shares <= 0.99).sum()))]]
        split = two_means(points)
        gap = float(np.linalg.norm(points[split].mean(axis=0) - points[~split].mean(axis=0)))
        if gap > best[0]:
            least = split if split.sum() < (~split).sum() else ~split
            best = (gap, np.flatnonzero(least).tolist())
    return best[1]


@pytest.mark.parametrize(
    ("name", "slow"), [("lfighter", slow_lfighter), ("tolpegin", slow_tolpegin)]
)
def test_rules_that_cluster_are_their_papers_formulae(
    name: str, slow: Callable[[Dense], list[int]]
) -> None:
    found = set()
    for seed in range(8):
        updates = make_updates(9, seed, num_attackers=seed % 4, noise=0.4)
        aggregate = judge(name, updates)
        assert aggregate.flagged is not None
        assert np.flatnonzero(aggregate.flagged).tolist() == slow(updates), seed
        found.add(tuple(aggregate.flagged))
    assert len(found) > 2  # it is not always the same answer


def test_foolsgolds_history_is_by_client_not_by_place() -> None:
    updates = make_updates(4)
    updates.client_ids, updates.num_clients = [1, 3, 4, 6], 8
    history = judge("foolsgold", updates).state["history"]
    assert history.shape[0] == 8
    assert np.allclose(history[[1, 3, 4, 6]], updates.output_layer().reshape(4, -1))
    assert not history[[0, 2, 5, 7]].any()


@pytest.mark.parametrize("name", ["tolpegin", "lfighter"])
def test_rules_that_cluster_find_a_clear_attack(name: str) -> None:
    for seed in range(5):
        updates = make_updates(10, seed, noise=0.05)
        aggregate = judge(name, updates)
        assert aggregate.flagged is not None
        assert aggregate.flagged.tolist() == updates.is_attacker.tolist()
        kept = np.where(updates.is_attacker, 0, updates.samples)
        assert np.allclose(aggregate.weights, kept / kept.sum())


def test_foolsgold_leaves_out_who_points_the_same_way() -> None:
    updates = Dense(np.zeros((4, 8)))
    layer = np.eye(4, 8).reshape(4, 2, 4)
    layer[1] = 2 * layer[0]
    updates.output_layer = lambda: layer  # type: ignore[method-assign]
    aggregate = judge("foolsgold", updates)
    assert aggregate.flagged is not None
    assert aggregate.flagged.tolist() == [True, True, False, False]
    assert np.allclose(aggregate.weights, [0, 0, 0.5, 0.5])


def test_of_two_equal_groups_tolpegin_takes_the_wider_for_the_attackers() -> None:
    points = np.array([[0.0], [0.1], [5.0], [9.0]])
    groups = np.array([True, True, False, False])
    assert smaller(groups, points).tolist() == smaller(~groups, points).tolist()
    assert smaller(groups, points).tolist() == [False, False, True, True]
    assert smaller(np.array([True, False, False, False]), points).tolist() == [True, 0, 0, 0]


def test_lfighter_weighs_a_groups_dissimilarity_by_its_share() -> None:
    """One client alone counts 1/5; four, in two pairs at 60 degrees, 4/5 of a half."""
    wide = [np.cos(np.pi / 3), np.sin(np.pi / 3)]
    points = np.array([[-1.0, 0.0], [1.0, 0.0], [1.0, 0.0], wide, wide])
    alone = np.array([True, False, False, False, False])
    assert less_dissimilar(points, alone).tolist() == alone.tolist()
    assert less_dissimilar(points, ~alone).tolist() == alone.tolist()


def test_foolsgold_remembers_earlier_rounds() -> None:
    updates = make_updates(4)
    first = rule_of(make_config("foolsgold", 4).defense)(updates, {})
    second = rule_of(make_config("foolsgold", 4).defense)(updates, first.state)
    layer = updates.output_layer().reshape(4, -1)
    assert np.allclose(first.state["history"], layer)
    assert np.allclose(second.state["history"], 2 * layer)


def test_foolsgold_leaves_out_all_who_are_the_same() -> None:
    assert foolsgold_scores(np.ones((3, 3))).tolist() == [0, 0, 0]


def test_foolsgold_pardons_who_is_less_alike_than_the_one_it_is_like() -> None:
    """Worked by hand: the greatest cosines are 0.8, 0.8 and 0.4, so client 2's 0.4 to client 0 is
    halved; 1 - 0.2 becomes the largest, 0.99, and 1 - 0.8 a quarter of it."""
    similar = np.array([[1.0, 0.8, 0.4], [0.8, 1.0, 0.0], [0.4, 0.0, 1.0]])
    found = foolsgold_scores(similar)
    assert found == pytest.approx([0, 0, 1])  # log(1/3) + 1/2 is below 0
    similar[0, 1] = similar[1, 0] = 0.6
    low = 0.4 / (1 - 0.4 * 0.4 / 0.6)  # 6 / 11
    expected = np.log(low / (1 - low)) + 0.5
    assert foolsgold_scores(similar) == pytest.approx([expected, expected, 1])


def test_columns_that_do_not_differ_are_no_components_and_others_count_the_same() -> None:
    rows = np.array([[0.0, 7.0, 300.0], [0.0, 7.0, 100.0], [1e-3, 7.0, 100.0], [1e-3, 7.0, 300.0]])
    points = principal_components(rows)
    assert points.shape == (4, 1)  # two of equal variance: both would be more than 99 % of it
    assert float((points**2).sum()) == pytest.approx(4)  # of n = 4, a standardised column's


def test_foolsgolds_scores_stay_between_0_and_1_whatever_the_cosines() -> None:
    """A greatest cosine below 0 is a score of 1 and no more, one above 1 by rounding is 0."""
    nobody_alike = np.array([[1.0, -0.5, -0.5], [-0.5, 1.0, 0.0], [-0.5, 0.0, 1.0]])
    assert foolsgold_scores(nobody_alike).tolist() == [1, 1, 1]
    alike = np.array([[1.0, 1 + 1e-15, 0.0], [1 + 1e-15, 1.0, 0.0], [0.0, 0.0, 1.0]])
    assert foolsgold_scores(alike).tolist() == [0, 0, 1]


def test_foolsgold_of_equal_clients_has_no_weights_and_no_division_by_0() -> None:
    updates = Dense(np.zeros((3, 8)))
    layer = np.tile(np.eye(1, 8), (3, 1)).reshape(3, 2, 4)
    updates.output_layer = lambda: layer  # type: ignore[method-assign]
    assert judge("foolsgold", updates).weights.tolist() == [0, 0, 0]


def test_cosines_of_short_rows_and_of_none() -> None:
    found = cosines(np.array([[0.1, 0.0], [0.2, 0.0], [0.0, 0.0]]))
    assert np.allclose(found, [[1, 1, 0], [1, 1, 0], [0, 0, 0]])


def test_a_groups_dissimilarity_is_1_where_it_is_tight_and_2_where_it_is_opposed() -> None:
    """As in the source, a client's cosine to itself counts as 0: 3 x 2 against 5 x 1."""
    points = np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], *[[0.0, 1.0]] * 5])
    opposed = points[:, 1] == 0
    assert less_dissimilar(points, opposed).tolist() == (~opposed).tolist()
    assert less_dissimilar(points, ~opposed).tolist() == (~opposed).tolist()
    assert not less_dissimilar(points, np.ones(8, dtype=bool)).any()


def test_lfighter_counts_the_bias_and_looks_at_two_classes_of_three() -> None:
    """Class 0 changes less than class 2's bias, though its weights would split the clients."""
    layer = np.zeros((5, 3, 3))  # [n, C, h + 1]
    layer[:, 0, 0] = [2, -2, -2, -2, -2]
    layer[:, 1, 1] = 3
    layer[:, 2] = [[0, 0.5, 10]] * 3 + [[0, -0.5, 10]] * 2
    updates = Dense(layer, shape=(3, 3))
    assert judge("lfighter", updates).flagged == pytest.approx([0, 0, 0, 1, 1])


def test_tolpegin_goes_on_behind_a_class_in_which_nobody_differs() -> None:
    layer = np.zeros((5, 2, 3))
    layer[:, 1, 0] = [0, 0.1, 0.2, 5, 5.1]
    assert judge("tolpegin", Dense(layer, shape=(2, 3))).flagged == pytest.approx([0, 0, 0, 1, 1])


def test_principal_components_at_the_edges() -> None:
    assert principal_components(np.zeros((3, 2))).shape == (3, 0)
    one = principal_components(np.array([[0.0], [1.0]]))
    assert one.shape == (2, 1)
    assert np.allclose(np.abs(one), 1)  # all of the variance, and yet a component
    rounding = np.array([[1e10], [np.nextafter(1e10, np.inf)]])
    assert principal_components(rounding).shape == (2, 0)


def flips(n: int, num_attackers: int, how: str, seed: int = 0) -> Dense:
    """Rows [10, 21] of noise 1 and biases 0; the last clients have low ones in class 1.

    Hidden, one weight of that row brings its mean to the honest ones', scattered, a different one
    by client, spread, ten of them; reported, it is said to."""
    layer = np.random.default_rng(seed).normal(size=(n, 10, 21))
    layer[:, :, -1] = 0.0
    bad = slice(n - num_attackers, n)
    honest = layer.sum(axis=2) / 20
    layer[bad, 1, :10] -= 3
    clients = np.arange(n)[bad]
    if how in ("hidden", "scattered"):
        layer[clients, 1, 10 + (clients % 5 if how == "scattered" else 0)] += 3 * 10
    if how == "spread":
        layer[bad, 1, 10:20] += 3
    updates = Dense(layer, shape=(10, 21))
    updates.class_means = honest + 5 if how == "reported" else layer.sum(axis=2) / 20 + 5
    return updates


@pytest.mark.parametrize("how", ["blind", "hidden", "scattered", "spread", "reported"])
@pytest.mark.parametrize(("n", "num_attackers"), [(10, 4), (20, 2), (20, 8)])
def test_class_rows_finds_flips_that_are_hidden_from_class_mean(
    n: int, num_attackers: int, how: str
) -> None:
    for seed in range(5):
        updates = flips(n, num_attackers, how, seed)
        found = judge("class_rows", updates).flagged
        assert found is not None
        assert found.nonzero()[0].tolist() == list(range(n - num_attackers, n))
        seen = judge("class_mean", updates).flagged
        assert seen is not None
        assert seen.any() == (how == "blind")


@pytest.mark.parametrize("n", [5, 10, 20, 50])
def test_class_rows_leaves_rounds_without_attack_alone(n: int) -> None:
    flags = [judge("class_rows", flips(n, 0, "blind", seed)).flagged for seed in range(100)]
    assert np.mean([flag for flag in flags if flag is not None]) < 0.01


def test_whom_class_rows_suspects_does_not_hang_on_lengths_or_order() -> None:
    updates = flips(20, 8, "hidden")
    order = np.random.default_rng(1).permutation(20)
    lengths = np.linspace(0.5, 2.0, 20)[:, None]
    other = Dense(updates.diffs * lengths, shape=(10, 21)).permuted(order.tolist())
    other.class_means = updates.class_means[order]
    flagged, again = judge("class_rows", updates).flagged, judge("class_rows", other).flagged
    assert flagged is not None
    assert again is not None
    assert again.tolist() == flagged[order].tolist()
