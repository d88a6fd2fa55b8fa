"""What the server makes of the mean difference that the rule hands out.

A name in the config is a class here, whose keyword-only parameters are its keys:

`lr`: how far the server goes along its step
`beta1`: how much of the differences' running mean stays in each round
`beta2`: how much of the running mean of their squares stays
`tau`: joins the root of it, by which the step is divided; the smaller, the more adaptive

Source of all but sgd: Reddi et al., ICLR 2021, without bias correction as there.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from extra_utils.aggregation.messages import LARGEST_DIFF, Array, RoundResult, State
from extra_utils.basics.errors import RunFailed
from extra_utils.config.keys import ChoiceConfig
from extra_utils.config.values import Decay, Positive

if TYPE_CHECKING:
    from torch import nn

PREFIX = "server "  # begins the names of its memory in a checkpoint


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """the mean difference is added; with momentum, a part of the last step as well (FedAvgM)

    `momentum`: how much of the last step goes into the next
    Source: Hsu et al. 2019, arXiv 1909.06335."""

    lr: Positive = 1.0
    momentum: Decay = 0.0

    def step(self, change: Array, memory: State) -> Array:
        """From a mean difference [scored values] float64 to the step."""
        if self.momentum:
            change = memory["velocity"] = self.momentum * memory.get("velocity", 0.0) + change
        return self.lr * change


@dataclass(frozen=True, kw_only=True)
class Adagrad:
    """the running mean, divided by the root of all squares so far"""

    lr: Positive = 0.01
    beta1: Decay = 0.9
    tau: Positive = 1e-3

    def step(self, change: Array, memory: State) -> Array:
        memory["mean"] = self.beta1 * memory.get("mean", 0.0) + (1 - self.beta1) * change
        old = memory.get("square", np.full_like(change, self.tau**2))
        memory["square"] = self.square(old, change**2)
        return self.lr * memory["mean"] / (np.sqrt(memory["square"]) + self.tau)

    def square(self, old: Array, new: Array) -> Array:
        return old + new


@dataclass(frozen=True, kw_only=True)
class Adam(Adagrad):
    """the running mean, divided by the root of the squares' running mean"""

    beta2: Decay = 0.99

    def square(self, old: Array, new: Array) -> Array:
        return self.beta2 * old + (1 - self.beta2) * new


class Yogi(Adam):
    """as adam, but what it divides by changes by no more than the new square"""

    def square(self, old: Array, new: Array) -> Array:
        return old - (1 - self.beta2) * new * np.sign(old - new)


class Server:
    """Turns a round's mean difference into the step that the global model takes.

    Its memory lies in the checkpoint, beside the rule's."""

    def __init__(self, choice: ChoiceConfig, state: State) -> None:
        """``state``: of a run that goes on; what is the server's is taken out of it."""
        self._optimizer = SERVERS[choice.name](**choice.parameters)
        mine = [name for name in state if name.startswith(PREFIX)]
        self._memory: State = {name.removeprefix(PREFIX): state.pop(name) for name in mine}

    def apply(self, model: "nn.Module", result: RoundResult) -> RoundResult:
        """Moves the global model. All ranks do the same.

        Returns the result with the step in place of the mean. Running statistics move by their
        mean, and where the rule left everybody out all stays as it is. Raises RunFailed where the
        step leaves the range of the sum."""
        from extra_utils.aggregation.flat_model import FIXED_POINT, FlatModel

        values = FlatModel(model)
        is_kept = any(report.weight != 0 for report in result.reports)
        if is_kept and self._optimizer != Sgd():  # with which the sum is the step
            scored = result.total[: values.num_scored].numpy()
            step = self._optimizer.step(scored / FIXED_POINT, self._memory)
            if not np.abs(step).max() < LARGEST_DIFF:  # NaN is not less than anything
                limit = f"has a step of {np.abs(step).max()}, must be below {LARGEST_DIFF:.0f}"
                raise RunFailed(f"the server {limit}; a smaller server.lr may help")
            scored[:] = np.rint(step * FIXED_POINT)
        values.move(result.total)
        values.set_counters(result.counters)
        return replace(result, rule=result.rule | {PREFIX + k: v for k, v in self._memory.items()})


SERVERS: dict[str, type[Sgd | Adagrad]]
SERVERS = {"sgd": Sgd, "adam": Adam, "yogi": Yogi, "adagrad": Adagrad}
