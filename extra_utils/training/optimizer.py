"""How a client's model takes its steps, and how its learning rate falls.

A name in the config is a class or function here, whose keyword-only parameters are its keys. They
load without torch, so that a wrong config costs no waiting. What keys of several are:

`beta1`: how much of the gradients' running mean stays at each step
`beta2`: how much of the running mean of their squares stays
`eps`: joins the root of it, by which the step is divided
`weight_decay`: this times each weight joins its gradient (adamw shrinks the weight itself)
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from extra_utils.config.keys import Config
from extra_utils.config.values import Count, Decay, Fraction, NotNegative, Positive

if TYPE_CHECKING:
    from torch import Tensor

Tensors = list["Tensor"]
Memory = dict[str, list[Any]]  # by what it is, a tensor for each parameter


@dataclass(frozen=True, kw_only=True)
class Adam:
    """each weight at a rate of its own, from running means of its gradient and of the square

    Source: Kingma and Ba, ICLR 2015."""

    beta1: Decay = 0.9
    beta2: Decay = 0.999
    eps: Positive = 1e-8
    weight_decay: NotNegative = 0.0

    def step(self, parameters: Tensors, gradients: Tensors, memory: Memory, lr: float) -> None:
        import torch
        from torch.optim.adam import adam

        if not memory:
            memory |= {k: [torch.zeros_like(p) for p in parameters] for k in ("means", "squares")}
            memory["steps"] = [torch.zeros(()) for _ in parameters]
        state: Any = memory["means"], memory["squares"], [], memory["steps"]
        how: Any = {"decoupled_weight_decay": isinstance(self, AdamW), "lr": lr, **asdict(self)}
        how |= {"fused": True, "amsgrad": False, "maximize": False}
        adam(parameters, gradients, *state, **how)


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """adam, but the weights shrink beside the step, and not by way of the gradient

    Source: Loshchilov and Hutter, ICLR 2019."""

    weight_decay: NotNegative = 0.01


@dataclass(frozen=True, kw_only=True)
class Sgd:
    """along the gradient; momentum begins anew in every round

    `momentum`: how much of the last step goes into the next
    `nesterov`: the gradient of where momentum leads to, and not of where the weights are
    Source: Sutskever et al., ICML 2013, in torch's form."""

    momentum: Decay = 0.9
    nesterov: bool = False
    weight_decay: NotNegative = 0.0

    def step(self, parameters: Tensors, gradients: Tensors, memory: Memory, lr: float) -> None:
        from torch.optim.sgd import sgd

        last = memory.setdefault("last steps", [None] * len(parameters))
        how = {"lr": lr, "fused": True, "dampening": 0.0, "maximize": False, **asdict(self)}
        sgd(parameters, gradients, last, **how)


class Optimizer:
    """Takes the steps of one local training: new in every round, with nothing remembered.

    Bit for bit torch's class of the name with ``fused=True``, without its start-up: constructors
    of ``torch.optim`` import the compiler, which takes over a second in each process."""

    def __init__(
        self, parameters: Iterable["Tensor"], lr: float, rule: Adam | Sgd, mu: float = 0.0
    ) -> None:
        """``mu``: FedProx's pull to where training began. Source: Li et al., MLSys 2020."""
        self.lr, self._rule, self._mu = lr, rule, mu
        self._parameters = [p for p in parameters if p.requires_grad]
        self._start = [p.detach().clone() for p in self._parameters] if mu else []
        self._memory: Memory = {}

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    def step(self) -> None:
        """One step along the gradients that ``backward`` has left; every parameter has one."""
        import torch

        gradients: list[Any] = [p.grad for p in self._parameters]
        with torch.no_grad():
            for gradient, now, start in zip(gradients, self._parameters, self._start, strict=False):
                gradient.add_(now - start, alpha=self._mu)  # of mu / 2 norm(now - start)^2
            self._rule.step(self._parameters, gradients, self._memory, self.lr)


def new_optimizer(parameters: Iterable["Tensor"], config: Config) -> Optimizer:
    rule = OPTIMIZERS[config.optimizer.name](**config.optimizer.parameters)
    return Optimizer(parameters, config.lr, rule, config.proximal_mu)


class Moment(NamedTuple):
    """Where in a run a client trains: rounds count from 1, local epochs from 0."""

    config: Config
    round_index: int
    epoch: int

    def cosine(self, done: int, steps: int) -> float:
        """From ``lr`` towards ``lr * lrf``, of which so many steps are done."""
        share = (1 + math.cos(math.pi * done / steps)) / 2
        return self.config.lr * (share * (1 - self.config.lrf) + self.config.lrf)


def cosine_local(now: Moment) -> float:
    """a cosine over the local epochs of each round, from lr towards lr x lrf (the article's)"""
    return now.cosine(now.epoch, now.config.local_epochs)


def cosine_rounds(now: Moment) -> float:
    """a cosine over all rounds, from lr towards lr x lrf; their number may not change then"""
    return now.cosine(now.round_index - 1, now.config.global_epochs)


def step_rounds(now: Moment, *, milestones: list[Count], gamma: Fraction = 0.1) -> float:
    """lr, and less after some of the rounds

    `milestones`: the rounds after each of which the rate is multiplied by `gamma`
    `gamma`: by how much"""
    return now.config.lr * gamma ** sum(now.round_index > milestone for milestone in milestones)


def constant(now: Moment) -> float:
    """lr in all rounds"""
    return now.config.lr


def learning_rate(now: Moment) -> float:
    schedule: Callable[..., float] = SCHEDULES[now.config.schedule.name]
    return schedule(now, **now.config.schedule.parameters)


OPTIMIZERS: dict[str, type[Adam | Sgd]] = {"adam": Adam, "adamw": AdamW, "sgd": Sgd}
SCHEDULES = {s.__name__: s for s in (cosine_local, cosine_rounds, step_rounds, constant)}
