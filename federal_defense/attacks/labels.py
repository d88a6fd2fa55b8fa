"""Attacks on a client's labels, before its training: what it trains on.

Each is a function of the labels [N] and of the attacker's setting; its keyword-only parameters are
the attack's keys. The training loop is everybody's; test labels are never touched. Of backdoors:

`target`: the class that the patch stands for
`share`: how many of the attacker's images get the patch, or its part of it, and that label
`size`: the whole patch's side in pixels
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extra_utils.config.values import ClassNumber, Count, Fraction
from extra_utils.my_dataset import Images, Labels

Stamp = Callable[[Images], Images]  # images [N, H, W, C] to a stamped copy
Source = ClassNumber | Literal["all"]
Hidden = Literal["class_mean", "rows", "norm", "class_mean_report"]


class Setting(NamedTuple):
    """What an attacker knows beside what it edits."""

    num_classes: int
    generator: np.random.Generator  # of its own: labels are drawn once, noise in each round
    share: float = 1.0  # of the round's images that all attackers of this attack have
    place: tuple[int, int] = (0, 1)  # its number among how many attackers, from 0


@dataclass(frozen=True)
class Poisoned:
    """Labels [N] to train on, and which images are stamped before that."""

    labels: Labels
    stamps: list[tuple[NDArray[np.bool_], Stamp]] = field(default_factory=list)  # which [N], how
    edited_labels: int = 0  # how many are not the true ones; attacks leave that to table.py

    def stamped(self, images: Images, places: NDArray[np.int64]) -> Images:
        """These of the N images [B, H, W, C], of which some get their stamp where they are."""
        for is_stamped, stamp in self.stamps:
            chosen = is_stamped[places]
            images[chosen] = stamp(images[chosen])
        return images


def label_flip(
    labels: Labels,
    setting: Setting,
    *,
    source: Source = 1,
    target: ClassNumber = 4,
    hide: Hidden | None = None,  # noqa: ARG001 (after the training: hiding.py)
) -> Poisoned:
    """images of one class are trained on as another

    `source`: the class whose images get a wrong label; "all": every class y becomes C - 1 - y
    `target`: the label that they get; without effect where the source is "all"
    `hide`: it trains an honest copy too, and takes on (or reports) its class means, rows or length

    Labels [N]; those given are left as they are. Source: the article; for "all" Fang et al.,
    USENIX Security 2020."""
    if source == "all":
        return Poisoned(setting.num_classes - 1 - labels)
    return Poisoned(np.where(labels == source, target, labels))


def random_label(labels: Labels, setting: Setting) -> Poisoned:
    """every image is trained on as a class drawn at random"""
    return Poisoned(setting.generator.integers(setting.num_classes, size=len(labels)))


def backdoor(
    labels: Labels,
    setting: Setting,
    *,
    target: ClassNumber = 0,
    share: Fraction = 0.5,
    size: Count = 3,
) -> Poisoned:
    """a white patch in a corner of the image is taught to mean one class

    Source: Gu et al. 2017, arXiv 1708.06733; Bagdasaryan et al., AISTATS 2020."""
    is_stamped = setting.generator.random(len(labels)) < share
    stamp = partial(with_patch, size=size)
    return Poisoned(np.where(is_stamped, target, labels), [(is_stamped, stamp)])


def dba(
    labels: Labels,
    setting: Setting,
    *,
    target: ClassNumber = 0,
    share: Fraction = 0.5,
    size: Count = 4,
) -> Poisoned:
    """a backdoor whose patch is split among the attackers, and tested with the whole of it

    Source: Xie et al., ICLR 2020."""
    found = backdoor(labels, setting, target=target, share=share, size=size)
    ((is_stamped, _),) = found.stamps
    part = partial(with_patch, size=size, place=setting.place)
    return Poisoned(found.labels, [(is_stamped, part)])


def with_patch(images: Images, size: int, place: tuple[int, int] = (0, 1)) -> Images:
    """A copy of images [N, H, W, C], white in the lower right corner, or in a part of it."""
    size = min(size, *images.shape[1:3])
    number, parts = place[0], min(place[1], size**2)
    pixels = np.array_split(np.arange(size**2), parts)[number % parts]
    patched = images.copy()
    patched[:, pixels // size - size, pixels % size - size] = 255
    return patched
