"""How an attacker hides what it has learned: it trains an honest copy as well, and looks like it.

Each is a function of its own local model [P], which it may change, the global model, the update of
its honest copy, and its training images; it gives the class means to report where they are not the
model's own. Source: this project.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from extra_utils.aggregation.flat_model import WeightDiff
from extra_utils.aggregation.messages import Update
from extra_utils.model import last_linear
from federal_defense.attacks.labels import Hidden
from get_weight_matrix import class_means

Batches = Iterable[tuple[Tensor, Tensor]]  # images [B, C, H, W], labels [B]
Disguise = Callable[[nn.Module, nn.Module, Update, Batches], Tensor | None]


def as_class_means(local: nn.Module, model: nn.Module, honest: Update, own: Batches) -> None:  # noqa: ARG001
    """Moves the last layer to the honest class means where predictions hardly feel it.

    W[c, u] += h (m_honest[c] - m[c]) for the hidden unit u that fires least on its images."""
    layer, inputs = last_linear(local), list[Tensor]()
    hook = layer.register_forward_pre_hook(lambda _, given: inputs.append(given[0].abs().sum(0)))
    was_training = local.training
    with torch.no_grad():
        local.eval()
        for images, _ in own:
            local(images)
        local.train(was_training)
        hook.remove()
        unit = int(torch.stack(inputs).sum(dim=0).argmin())
        missing = honest.class_mean - class_means(local)
        layer.weight[:, unit] += (layer.in_features * missing).to(layer.weight.dtype)


def as_rows(local: nn.Module, model: nn.Module, honest: Update, own: Batches) -> None:  # noqa: ARG001
    """Takes on the honest copy's whole last layer; what the layers before it have learned stays."""
    last_linear(local).load_state_dict(honest.diff.local.last.state_dict())


def as_long(local: nn.Module, model: nn.Module, honest: Update, own: Batches) -> None:  # noqa: ARG001
    """Brings the difference to the honest one's length."""
    diff = WeightDiff(local, model)
    factor = honest.diff.length() / max(diff.length(), 1e-300)
    diff.edit(lambda piece: piece * factor)


def as_reported(local: nn.Module, model: nn.Module, honest: Update, own: Batches) -> Tensor:  # noqa: ARG001
    """Reports the honest class means, and sends what it has learned."""
    return honest.class_mean


HIDE: dict[Hidden, Disguise] = {"class_mean": as_class_means, "rows": as_rows, "norm": as_long}
HIDE["class_mean_report"] = as_reported
