"""Our own rule: who flips labels, from the weight matrix alone (one number per client and class).

In a round without attack the clients' class means differ by about as much in one class as in
another. A group of clients without correct images of the source class pulls that class's means
apart, and no other class's as far. So the class of the largest spread is compared with the usual
spread; where it stands out, its means are split in two, and the lower group is suspected: who has
no right image of a class pulls it down, so leaving the lower ones out can only raise it.
``docs/class_mean_log.md`` says what else was tried.

    python -m federal_defense.class_mean    # a demo: what three clients' class means look like
"""

import math

import numpy as np
from numpy.typing import NDArray

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates, without
from federal_defense.two_means import two_means

LEAST_RATIO = 1.75, 3.3  # max(1.75, 1 + 3.3 / sqrt n) of the widest spread to the median class's
MEMORY = 0.9  # of each round's suspicion that is left a round later
LEAST_SUSPICION = 0.05


def class_mean(updates: Updates, state: State) -> Aggregate:
    """the clients whose class means stand apart in one class are left out

    Always fewer than half of the round's. Suspicion is remembered: once the attackers are out, the
    model recovers and they stand out less. It fades, and fresh evidence outweighs it. Source: this
    project; the weight matrix is the article's."""
    return without_suspects(updates, state, evidence(updates.class_means))


def without_suspects(updates: Updates, state: State, against: Array) -> Aggregate:
    """Those left out whom the evidence [n] of this round and of those before speaks against."""
    suspicion = state.get("suspicion", np.zeros(updates.num_clients)) * MEMORY
    suspicion[updates.client_ids] += against
    flagged = most_suspected(suspicion[updates.client_ids])
    return without(updates, flagged, {"suspicion": suspicion})


def most_suspected(suspicion: Array) -> NDArray[np.bool_]:
    """Which clients [n] are under suspicion; of more than (n - 1) // 2 the most suspected."""
    n = len(suspicion)
    next_one = np.sort(suspicion)[n - 1 - (n - 1) // 2]  # the first who must stay, and his equals
    return suspicion > max(LEAST_SUSPICION, next_one)


def evidence(class_means: Array, least_ratio: tuple[float, float] = LEAST_RATIO) -> Array:
    """For each client [n] how much this round speaks against it, or (below 0) for it.

    class_means [n, C]. All 0 in a round that looks like one without attack. Where half or more of
    the clients are low it counts only if that class is the lowest of all, as one is that the model
    has unlearned; else the others may be attackers that raise it, a flip's target for one."""
    levels, n = np.median(class_means, axis=0), len(class_means)  # levels [C]
    apart = class_means - levels  # so equal ones are exactly 0, and differ by no rounding
    widest, strength = widest_class(apart.std(axis=0), n, *least_ratio)
    if strength <= 0:
        return np.zeros(n)
    values = apart[:, widest]
    group = two_means(values[:, None])
    group = min(~group, group, key=lambda own: values[own].mean())  # the lower one
    if 2 * group.sum() >= n and levels[widest] > levels.min():
        return np.zeros(n)
    return speaks_against(values, group, strength)


def widest_class(spreads: Array, n: int, least: float, of_few: float) -> tuple[int, float]:
    """Of the spreads [C] over n clients the widest, and how far it stands out; 0 or less: no."""
    usual, widest = float(np.median(spreads)), int(spreads.argmax())
    bound = max(least, 1 + of_few / math.sqrt(n))  # of few clients spreads are known badly
    strength = float(spreads[widest]) / max(usual, 1e-300) / bound - 1
    return widest, strength if usual else 0.0


def speaks_against(values: Array, group: NDArray[np.bool_], strength: float) -> Array:
    """All of it [n] at the group's middle and below, none between the groups' middles."""
    inside, outside = values[group].mean(), values[~group].mean()
    middle = (inside + outside) / 2
    return strength * np.clip((values - middle) / (inside - middle), -1.0, 1.0)


if __name__ == "__main__":
    from federal_defense.client_mean import show_class_means, start_demo

    start_demo(show_class_means)
