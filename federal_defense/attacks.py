"""Attacks: each is one function that stands in ``ALL``; its name is the config's.

The name of a function's first argument is what it edits: a client's `labels` before its training,
or the `diff` that it sends after it. The training loop is everybody's; test labels are never
touched. The keyword-only parameters, with their types and defaults, are the attack's keys.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.keys import Config
from extra_utils.config.values import ClassNumber, Count, Fraction, Positive
from extra_utils.my_dataset import Images, Labels

if TYPE_CHECKING:
    from torch import Tensor

SHOWN_CLIENTS = 10  # in a warning

Stamp = Callable[[Images], Images]  # images [N, H, W, C] to a stamped copy
Attack = Callable[..., Any]
Source = ClassNumber | Literal["all"]


class Setting(NamedTuple):
    """What an attacker knows beside what it edits."""

    num_classes: int
    generator: np.random.Generator  # of its own: labels are drawn once, noise in each round


@dataclass(frozen=True)
class Poisoned:
    """Labels [N] to train on, and which images are stamped before that."""

    labels: Labels
    is_stamped: NDArray[np.bool_] | None = None  # [N]
    stamp: Stamp | None = None
    edited_labels: int = 0  # how many of them are not the true ones

    def stamped(self, images: Images, places: NDArray[np.int64]) -> Images:
        """These of the N images [B, H, W, C], of which some get their stamp where they are."""
        if self.is_stamped is not None and self.stamp is not None:
            chosen = self.is_stamped[places]
            images[chosen] = self.stamp(images[chosen])
        return images


def label_flip(
    labels: Labels, setting: Setting, *, source: Source = 1, target: ClassNumber = 4
) -> Poisoned:
    """images of one class are trained on as another

    `source`: the class whose images get a wrong label; "all": every class y becomes C - 1 - y
    `target`: the label that they get; without effect where the source is "all"

    Labels [N]; those given are left as they are. Source: the article; for "all" Fang et al.,
    USENIX Security 2020.
    """
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

    `target`: the class that the patch stands for
    `share`: how many of the attacker's images get the patch and that label
    `size`: the patch's side in pixels

    Source: Gu et al. 2017, arXiv 1708.06733; Bagdasaryan et al., AISTATS 2020.
    """
    is_stamped = setting.generator.random(len(labels)) < share
    stamp = partial(with_patch, size=size)
    return Poisoned(np.where(is_stamped, target, labels), is_stamped, stamp)


def with_patch(images: Images, size: int) -> Images:
    """A copy of images [N, H, W, C], white in the lower right corner."""
    patched = images.copy()
    patched[:, -size:, -size:] = 255
    return patched


def sign_flip(diff: "Tensor", setting: Setting, *, factor: Positive = 1.0) -> "Tensor":  # noqa: ARG001
    """the weight difference is sent with its sign turned

    `factor`: how often as long it is sent

    Source: Li et al., AAAI 2019.
    """
    return diff * -factor


def gaussian(diff: "Tensor", setting: Setting, *, sigma: Positive = 0.01) -> "Tensor":
    """normal noise is added to the weight difference

    `sigma`: the noise's standard deviation for each weight

    Source: Blanchard et al., NeurIPS 2017.
    """
    import torch

    return diff + torch.from_numpy(sigma * setting.generator.standard_normal(len(diff)))


def scaling(diff: "Tensor", setting: Setting, *, factor: Positive = 10.0) -> "Tensor":  # noqa: ARG001
    """the weight difference is sent many times as long (model replacement)

    `factor`: how often as long; clients / attackers replaces the global model

    Source: Bagdasaryan et al., AISTATS 2020.
    """
    return diff * factor


ALL: list[Attack] = [label_flip, random_label, backdoor, sign_flip, gaussian, scaling]
ATTACKS = {attack.__name__: attack for attack in ALL}


def with_drawn_attackers(config: Config) -> Config:
    """The config with `fraction` replaced by the clients that the seed draws for it."""
    attack = config.attack
    if attack is None or attack.fraction is None:
        return config
    size = round(attack.fraction * config.num_clients)
    drawn = stream(config.seed, Purpose.ATTACKERS).choice(config.num_clients, size, replace=False)
    return replace(config, attack=replace(attack, fraction=None, clients=sorted(drawn.tolist())))


def poison(
    labels: Labels, config: Config, num_classes: int, client_id: int, round_index: int
) -> Poisoned:
    """What this client trains on in this round; the labels [N] given unless it attacks them."""
    attack = attack_on("labels", config, num_classes, client_id, round_index)
    if attack is None:
        return Poisoned(labels)
    poisoned = attack(labels)
    return replace(poisoned, edited_labels=int((poisoned.labels != labels).sum()))


def idle_attack(
    config: Config, labels: Sequence[Labels], num_classes: int, side: int
) -> Iterator[str]:
    """A line for what the attack cannot do with each client's labels, or on images of this side."""
    attack = config.attack
    if attack is None or _edits(ATTACKS[attack.name]) != "labels":
        return
    found = (poison(labels[c], config, num_classes, c, attack.start_round) for c in attack.clients)
    idle = [c for c, own in zip(attack.clients, found, strict=True) if not own.edited_labels]
    if idle:
        share = f"{len(idle)} of {len(attack.clients)} attackers"
        names = ", ".join(map(str, idle[:SHOWN_CLIENTS])) + (", ..." * (len(idle) > SHOWN_CLIENTS))
        yield f"attack: {attack.name} finds no label to change at {share} (client {names})"
    if (size := attack.parameters.get("size", 0)) >= side:
        yield f"attack.size: got {size}, which covers an image of {side} x {side} pixels whole"


def attack_on(
    what: str, config: Config, num_classes: int, client_id: int, round_index: int
) -> Attack | None:
    """The config's attack, a function of what it edits; None if this client does not in this round.

    ``what``: `labels`, or the `diff`, which it edits a block at a time.
    """
    if config.attack is None or client_id not in config.attackers(round_index):
        return None
    attack = ATTACKS[config.attack.name]
    if what != _edits(attack):
        return None
    place = (client_id, 0 if what == "labels" else round_index)
    setting = Setting(num_classes, stream(config.seed, Purpose.POISON, *place))
    return partial(attack, setting=setting, **config.attack.parameters)


def size_key(config: Config) -> str:
    """The key of how large the attack makes a difference; "" where it edits none."""
    if config.attack is None or _edits(ATTACKS[config.attack.name]) != "diff":
        return ""
    (name,) = config.attack.parameters
    return f"attack.{name}"


def _edits(attack: Attack) -> str:
    """What an attack edits: the name of its first argument."""
    return next(iter(inspect.signature(attack).parameters))


def backdoor_of(config: Config) -> tuple[Stamp, int] | None:
    """The stamp and the class that it is to mean, for the test; None without such an attack."""
    if config.attack is None or config.attack.name != "backdoor":
        return None
    parameters = config.attack.parameters
    return partial(with_patch, size=parameters["size"]), parameters["target"]
