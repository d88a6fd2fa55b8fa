"""Attacks on what is sent: on an attacker's own difference, or with a look at the honest ones.

A function's first argument says which: `diff` is a piece of its own difference, and comes back
edited; `honest` are the round's honest differences, of which it makes what its attackers send, each
the same: a function of a block of them [m, B] to [B]. The keyword-only parameters are its keys.
"""

from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np

from extra_utils.aggregation.messages import Array, Forge, HonestUpdates
from extra_utils.config.values import Positive
from federal_defense.attacks.labels import Setting
from federal_defense.two_means import squared_distances

if TYPE_CHECKING:
    from torch import Tensor


def sign_flip(diff: "Tensor", setting: Setting, *, factor: Positive = 1.0) -> "Tensor":  # noqa: ARG001
    """the weight difference is sent with its sign turned

    `factor`: how often as long it is sent
    Source: Li et al., AAAI 2019."""
    return diff * -factor


def gaussian(diff: "Tensor", setting: Setting, *, sigma: Positive = 0.01) -> "Tensor":
    """normal noise is added to the weight difference

    `sigma`: the noise's standard deviation for each weight
    Source: Blanchard et al., NeurIPS 2017."""
    import torch

    return diff + torch.from_numpy(sigma * setting.generator.standard_normal(len(diff)))


def scaling(diff: "Tensor", setting: Setting, *, factor: Positive | None = 10.0) -> "Tensor":
    """the weight difference is sent many times as long (behind a backdoor: model replacement)

    `factor`: how often as long (null: the round's images by the attackers', to replace the model)
    Source: Bagdasaryan et al., AISTATS 2020."""
    return diff * (1 / setting.share if factor is None else factor)


def alie(honest: HonestUpdates, *, z: Positive | None = None) -> Forge:
    """a little is enough: the honest mean less z standard deviations, in each coordinate

    `z`: how many (null: so many that enough honest clients for a majority lie farther out)
    Source: Baruch et al., NeurIPS 2019."""
    n, f = honest.num_clients, honest.num_attackers
    supporters = max(1, n // 2 + 1 - f)
    # of two clients none lies nearer, and there is no deviation
    most = NormalDist().inv_cdf(max(n - f - supporters, 0.5) / (n - f)) if z is None else z
    return _less_deviations(most)


def ipm(honest: HonestUpdates, *, eps: Positive = 0.5) -> Forge:  # noqa: ARG001
    """inner product manipulation: the honest mean with its sign turned

    `eps`: how often as long it is sent
    Source: Xie et al., UAI 2020."""
    return lambda block: -eps * block.mean(axis=0)


def min_max(honest: HonestUpdates) -> Forge:
    """off the honest mean until it is as far from one of them as the farthest two are

    Against their deviation in each coordinate. Source: Shejwalkar and Houmansadr, NDSS 2021."""
    to_mean, along, squared, between = _distances(honest)
    return _less_deviations(_largest(to_mean, along, squared, between.max()).min())


def min_sum(honest: HonestUpdates) -> Forge:
    """off the honest mean until its squared distances add up to those of the farthest of them

    Against their deviation in each coordinate. Source: Shejwalkar and Houmansadr, NDSS 2021."""
    to_mean, along, squared, between = _distances(honest)
    sums = to_mean.sum(), along.sum(), len(to_mean) * squared, between.sum(axis=1).max()
    return _less_deviations(float(_largest(*sums)))


def _distances(honest: HonestUpdates) -> tuple[Array, Array, float, Array]:
    """norm(mu - d_i)^2 and <mu - d_i, -sigma> [m], norm(sigma)^2, norm(d_i - d_j)^2 [m, m]."""
    gram = honest.gram(lambda block: -block.std(axis=0))
    inner, along = gram[:-1, :-1], gram[:-1, -1]
    towards = inner.mean(axis=0)  # <mu, d_i>
    to_mean = np.diag(inner) - 2 * towards + towards.mean()
    return to_mean, along.mean() - along, float(gram[-1, -1]), squared_distances(inner)


def _largest(to_mean: Any, along: Any, squared: float, limit: float) -> Array:
    """The largest gamma with to_mean + 2 gamma along + gamma^2 squared <= limit."""
    root = np.sqrt(np.maximum(along**2 + squared * (limit - to_mean), 0.0))
    return np.asarray((root - along) / max(squared, 1e-300))


def _less_deviations(z: float) -> Forge:
    """mu - z sigma."""
    return lambda block: block.mean(axis=0) - z * block.std(axis=0)
