"""Rules that look at the differences of the last layer, where a flipped label leaves its trace."""

import numpy as np
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates, without
from federal_defense import class_mean as means
from federal_defense.two_means import two_means

KEPT_VARIANCE = 0.99  # of the principal components, at most
ROUNDING = 1e-12  # relative; columns that differ by less are equal
OF_WEIGHTS, OF_ROWS = (3.5, 10.0), (1.5, 2.4)  # `class_rows`' own, as LEAST_RATIO is `class_mean`'s


def foolsgold(updates: Updates, state: State) -> Aggregate:
    """less weight for clients whose histories point the same way

    It needs at least two attackers, and honest clients whose data differ. The history of each
    client's output-layer differences is kept. Source: Fung et al., RAID 2020."""
    layer = updates.output_layer().reshape(len(updates.samples), -1)  # [n, C (h + 1)]
    empty = np.zeros((updates.num_clients, layer.shape[1]))
    history = state.get("history", empty).copy()
    history[updates.client_ids] += layer
    scores = foolsgold_scores(cosines(history[updates.client_ids]))
    weights = scores / max(scores.sum(), 1e-300)
    return Aggregate(weights, flagged=scores == 0, state={"history": history})


def foolsgold_scores(similar: Array) -> Array:
    """a_i in 0..1 from the cosines [n, n] of the histories."""
    similar = similar.copy()
    np.fill_diagonal(similar, -np.inf)
    most = similar.max(axis=1)  # v_i
    with np.errstate(divide="ignore", invalid="ignore"):
        pardon = np.where((most[:, None] < most[None, :]) & (most != 0), most[:, None] / most, 1.0)
        pardoned = np.where(np.isfinite(similar), similar * pardon, -np.inf)
    scores = np.clip(1 - pardoned.max(axis=1), 0, 1)
    scores = scores / scores.max() if scores.max() > 0 else scores
    scores = np.where(scores == 1, 0.99, scores)
    with np.errstate(divide="ignore"):
        return np.clip(np.log(scores / (1 - scores)) + 0.5, 0, 1)


def tolpegin(updates: Updates, state: State) -> Aggregate:
    """of the class on which the clients differ most, the smaller of two groups is left out

    Each class's row of the output-layer differences is standardised, brought to its principal
    components and split by 2-means. Source: Tolpegin et al., ESORICS 2020."""
    layer = updates.output_layer()[:, :, :-1]  # [n, C, h]
    best, flagged = -1.0, np.zeros(len(layer), dtype=bool)
    for number in range(layer.shape[1]):
        points = principal_components(layer[:, number])
        groups = two_means(points)
        if groups.all():
            continue
        gap = float(np.linalg.norm(points[groups].mean(axis=0) - points[~groups].mean(axis=0)))
        if gap > best:
            best, flagged = gap, smaller(groups, points)
    return without(updates, flagged, state)


def principal_components(rows: Array) -> Array:
    """The columns standardised, and their components [n, k] with at most 99 % of the variance."""
    centred = rows - rows.mean(axis=0)
    deviations = centred.std(axis=0)
    differs = deviations > ROUNDING * np.abs(rows).max()
    centred = centred[:, differs] / deviations[differs]
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    share = np.cumsum(values**2) / max(float((values**2).sum()), 1e-300)
    size = max(1, int((share <= KEPT_VARIANCE).sum()))
    return left[:, :size] * values[:size]


def smaller(groups: NDArray[np.bool_], points: Array) -> NDArray[np.bool_]:
    """The group of fewer points, of equal ones the wider."""
    return min((~groups, groups), key=lambda g: (g.sum(), -points[g].std(axis=0).sum()))


def lfighter(updates: Updates, state: State) -> Aggregate:
    """of the two classes that changed most, the tighter of two groups is left out

    Source: Jebreel et al., Neural Networks 170, 2024."""
    layer = updates.output_layer()  # [n, C, h + 1]
    weights, bias = layer[:, :, :-1], layer[:, :, -1]
    if layer.shape[1] > 2:
        sizes = (np.linalg.norm(weights, axis=2) + np.abs(bias)).sum(axis=0)  # [C]
        weights = weights[:, np.sort(np.argsort(-sizes, kind="stable")[:2])]
    points = weights.reshape(len(layer), -1)
    return without(updates, less_dissimilar(points, two_means(points)), state)


def less_dissimilar(points: Array, groups: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The group with the smaller share-weighted dissimilarity; nobody where all are one group."""
    if groups.all():
        return np.zeros(len(points), dtype=bool)

    def dissimilarity(group: NDArray[np.bool_]) -> float:
        similar = cosines(points[group])
        np.fill_diagonal(similar, 0.0)
        return float(group.mean() * (1 - similar.min(axis=1).mean()))

    return groups if dissimilarity(groups) < dissimilarity(~groups) else ~groups


def cosines(rows: Array) -> Array:
    """Cosine similarities [n, n]; 0 with a row of zeros."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    return unit @ unit.T


def class_rows(updates: Updates, state: State) -> Aggregate:
    """class_mean between two tests of the last layer: of single weights, and of whole rows

    A hidden flip moves weights that nobody else moves. Source: this project."""
    layer = updates.output_layer()
    sent = layer[:, :, :-1].mean(axis=2) + layer[:, :, -1] / (layer.shape[2] - 1)
    lengths = np.linalg.norm(layer, axis=(1, 2), keepdims=True)
    layer = layer * np.median(lengths) / np.maximum(lengths, 1e-300)
    layer -= np.median(layer, axis=0)
    far = np.abs(layer).max(axis=2)  # [n, C], of a single weight
    sent += np.median(updates.class_means - sent, axis=0)  # whatever was reported
    seen = means.evidence(-far, OF_WEIGHTS), means.evidence(sent), rows_evidence(layer)
    return means.without_suspects(updates, state, next(filter(np.any, seen), seen[0]))


def rows_evidence(layer: Array) -> Array:
    """As `class_mean`'s evidence, of whole rows: layer [n, C, h + 1], differences of one length.

    Suspected is the tighter group: attackers want the same of one class, and honest data differ."""
    rows = np.moveaxis(layer - layer.mean(axis=0), 1, 0)  # [C, n, h + 1]
    left, sizes, _ = np.linalg.svd(rows, full_matrices=False)  # the first ones: principal
    widest, strength = means.widest_class(sizes[:, 0], len(layer), *OF_ROWS)
    if strength <= 0:
        return np.zeros(len(layer))
    values, own = left[widest, :, 0], rows[widest]
    group = two_means(values[:, None])
    group = min(~group, group, key=lambda one: own[one].var(axis=0).sum())
    return means.speaks_against(values, group, strength)


def oracle(updates: Updates, state: State) -> Aggregate:
    """the mean of the honest clients, for comparison: it is told who attacks

    No rule that leaves clients out can know more."""
    return without(updates, updates.is_attacker, state)
