"""What a model is worth on the test images: its confusion matrix and loss, and their rates."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.distributed_utils import Ranks, from_bits, to_bits

Beat = Callable[[], None]  # a sign of life after each batch
Batches = Any  # a loader with num_classes, num_batches, and batch(number): images and labels


@dataclass(frozen=True)
class Evaluation:
    """Figures that are zero for batches that were not looked at, so parts add up exactly."""

    confusion: Tensor  # [C, C] as int64: counts of true by predicted class
    loss_sums: Tensor  # [batches]
    backdoor_success_rate: float | None = None  # percent

    @property
    def accuracy(self) -> float:
        """Percent of the images that are classified right."""
        return 100.0 * int(self.confusion.diagonal().sum()) / int(self.confusion.sum())

    @property
    def loss(self) -> float:
        """Mean cross-entropy of an image; batches are added in their order."""
        return float(sum(self.loss_sums.tolist())) / int(self.confusion.sum())

    def rate(self, true_class: int, predicted: int) -> float | None:
        """Percent of the images of one class that are classified as another; null without any."""
        total = int(self.confusion[true_class].sum())
        return 100.0 * int(self.confusion[true_class, predicted]) / total if total else None

    @property
    def recall(self) -> list[float | None]:
        """Percent of each class's images that are classified as it."""
        return [self.rate(c, c) for c in range(len(self.confusion))]


@torch.inference_mode()
def evaluate(model: nn.Module, loader: Batches, numbers: Iterable[int], beat: Beat) -> Evaluation:
    """The model, in evaluation mode, on the batches of these numbers."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    confusion = torch.zeros(loader.num_classes, loader.num_classes, dtype=torch.int64)
    loss_sums = torch.zeros(loader.num_batches, dtype=torch.float64)
    for number in numbers:
        images, labels = loader.batch(number)
        logits = model(images)  # [B, C]
        loss_sums[number] = nn.functional.cross_entropy(logits, labels, reduction="sum").double()
        pairs = labels * loader.num_classes + logits.argmax(dim=1)
        confusion += pairs.bincount(minlength=confusion.numel()).view_as(confusion)
        beat()
    for module, training in modes.items():
        module.training = training
    return Evaluation(confusion, loss_sums)


def evaluate_together(ranks: Ranks, model: nn.Module, loader: Batches, beat: Beat) -> Evaluation:
    """The model on all batches, dealt out to the ranks. All ranks call this."""
    own = evaluate(model, loader, range(ranks.rank, loader.num_batches, ranks.world_size), beat)
    packed = torch.cat([own.confusion.flatten(), to_bits(own.loss_sums)])
    ranks.all_reduce(packed)
    counts, bits = packed[: own.confusion.numel()], packed[own.confusion.numel() :]
    return Evaluation(counts.view_as(own.confusion), from_bits(bits))
