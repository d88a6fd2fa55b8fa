"""Adam, as torch's fused kernel computes it."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

STEP = partial(
    adam, amsgrad=False, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8, maximize=False
)


class Adam:
    """``torch.optim.Adam(parameters, lr, fused=True)``, bit for bit, without its start-up.

    The constructor of torch's own class imports the compiler, which takes over a second in
    each process; torch's functional form of the same step does not.
    Source: Kingma and Ba, ICLR 2015.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.lr = lr
        self._parameters = [p for p in parameters if p.requires_grad]
        self._means = [torch.zeros_like(p) for p in self._parameters]
        self._squares = [torch.zeros_like(p) for p in self._parameters]
        self._steps = [torch.zeros(()) for _ in self._parameters]

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients that ``backward`` has left; every parameter has one."""
        gradients: list[Any] = [p.grad for p in self._parameters]
        means, squares = self._means, self._squares
        STEP(self._parameters, gradients, means, squares, [], self._steps, fused=True, lr=self.lr)
