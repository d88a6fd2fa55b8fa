"""More rules that papers compare theirs with: one of several steps, a memory, a trusted client."""

import numpy as np

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates, by_samples
from extra_utils.config.values import Count, CountOrZero, Positive
from federal_defense.two_means import squared_distances


def bulyan(updates: Updates, state: State, *, f: CountOrZero = 1) -> Aggregate:
    """of n - 2f clients that krum takes one after the other, near the median of each coordinate

    `f`: how many attackers are assumed

    Per coordinate the mean of the n - 4f values that are nearest to their median.
    Source: El Mhamdi et al., ICML 2018."""
    squared = squared_distances(updates.gram())
    np.fill_diagonal(squared, np.inf)
    n, left = len(squared), list(range(len(squared)))
    while len(left) > 2 * f:
        near = np.sort(squared[np.ix_(left, left)], axis=1)[:, : max(1, len(left) - f - 2)]
        left.pop(int(near.sum(axis=1).argmin()))
    taken = np.setdiff1d(np.arange(n), left)

    def near_the_median(block: Array) -> Array:
        values = block[taken]
        gaps = np.abs(values - np.median(values, axis=0))
        nearest = np.argsort(gaps, axis=0, kind="stable")[: n - 4 * f]
        return np.take_along_axis(values, nearest, axis=0).mean(axis=0)

    weights = np.where(np.isin(np.arange(n), taken), updates.samples, 0.0)
    return Aggregate(weights / weights.sum(), per_coordinate=near_the_median, state=state)


def centered_clipping(
    updates: Updates, state: State, *, tau: Positive = 10.0, steps: Count = 1
) -> Aggregate:
    """from the last round's step on, towards each difference by no more than a length

    `tau`: that length
    `steps`: how often

    v <- v + mean of (d_i - v) min(1, tau / norm(d_i - v)). Source: Karimireddy et al., ICML 2021.
    """
    last = state.get("step", np.zeros(0))

    def last_step(number: int, block: Array) -> Array:
        own = last[number * block.shape[1] :][: block.shape[1]]
        return np.pad(own, (0, block.shape[1] - len(own)))

    gram = updates.gram(last_step)  # [n + 1, n + 1]
    n, v = len(gram) - 1, np.eye(len(gram))[-1]  # the coefficients of all d_i and of the last step
    for _ in range(steps):
        gaps = np.eye(n, n + 1) - v  # of d_i - v
        lengths = np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", gaps, gram, gaps), 0.0))
        v = v + (np.minimum(1, tau / np.maximum(lengths, 1e-300))[:, None] * gaps).mean(axis=0)
    shares = by_samples(updates)

    def added(number: int, block: Array) -> Array:
        return v[-1] * last_step(number, block)

    return Aggregate(shares, v[:-1] / shares, added=added, keeps_step=True, state=state)


def fltrust(updates: Updates, state: State) -> Aggregate:
    """each other client by its cosine with client 0, whose images are the server's, and as long

    Weights max(0, cos(d_i, d_0)); a round in which nobody's is above 0 leaves the model as it is.
    Source: Cao et al., NDSS 2021."""
    gram = updates.gram()
    lengths = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    trust = np.maximum(0.0, gram[0] / (lengths * lengths[0]))
    trust[0] = 0.0
    weights = trust / max(trust.sum(), 1e-300)
    return Aggregate(weights, factors=lengths[0] / lengths, state=state)


def rlr(updates: Updates, state: State, *, theta: Count = 4) -> Aggregate:
    """the mean, turned round in coordinates in which too few agree on the sign

    `theta`: how many more must have one sign than the other
    Source: Ozdayi et al., AAAI 2021."""
    shares = by_samples(updates)

    def robust_rate(block: Array) -> Array:
        agree = np.abs(np.sign(block).sum(axis=0)) >= theta
        return np.where(agree, 1.0, -1.0) * (shares @ block)

    return Aggregate(shares, per_coordinate=robust_rate, state=state)
