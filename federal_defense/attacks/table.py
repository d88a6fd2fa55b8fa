"""All attacks by name, and what those of a run do to a client in a round.

The name of a function's first argument is what it edits: a client's `labels` before its training,
the `diff` that it sends after it, or, of all its attackers at once, what they send in view of the
`honest` differences. Label edits are applied in the config's order, then the others in it.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from extra_utils.aggregation.messages import Collusion
from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.keys import AttackConfig, Config
from extra_utils.my_dataset import Labels
from federal_defense.attacks import labels, updates
from federal_defense.attacks.labels import Hidden, Poisoned, Setting, Stamp, with_patch

Attack = Callable[..., Any]
ALL: list[Attack] = [labels.label_flip, labels.random_label, labels.backdoor, labels.dba]
ALL += [updates.sign_flip, updates.gaussian, updates.scaling]
ALL += [updates.alie, updates.ipm, updates.min_max, updates.min_sum]
ATTACKS = {attack.__name__: attack for attack in ALL}


def with_drawn_attackers(config: Config) -> Config:
    """The config with `fraction` replaced by the clients that the seed draws for it."""
    attacks = list[AttackConfig]()
    for own in config.attacks:
        drawn = replace(own, fraction=None, clients=config.attackers_of(own, own.start_round))
        attacks.append(own if own.sample_clients else drawn)
    return replace(config, attack=attacks or None)


def poison(
    labels: Labels, config: Config, num_classes: int, client_id: int, round_index: int
) -> Poisoned:
    """What this client trains on in this round; the labels [N] given unless it attacks them."""
    poisoned = Poisoned(labels)
    for edit in edits_of("labels", config, num_classes, client_id, round_index):
        found = edit(poisoned.labels)
        poisoned = Poisoned(found.labels, [*poisoned.stamps, *found.stamps])
    return replace(poisoned, edited_labels=int((poisoned.labels != labels).sum()))


def edits_of(
    what: str,
    config: Config,
    num_classes: int,
    client_id: int,
    round_index: int,
    samples: Mapping[int, int] | None = None,
) -> list[Attack]:
    """What this client does to its `labels` or, piece by piece, to its `diff` in this round.

    ``samples``: of the round's clients, by which a share of its images is known."""
    edits = list[Attack]()
    for number, attack in enumerate(config.attacks):
        attackers = config.attackers_of(attack, round_index)
        if client_id not in attackers or what != edited_by(attack):
            continue
        drawn_in = 0 if what == "labels" else round_index
        generator = stream(config.seed, Purpose.POISON, client_id, drawn_in)
        if number:  # every attack draws for itself
            generator = generator.spawn(number)[-1]
        images = samples or {client_id: 1}
        share = sum(images.get(own, 0) for own in attackers) / sum(images.values())
        place = (attackers.index(client_id), len(attackers))
        setting = Setting(num_classes, generator, share, place)
        edits.append(partial(ATTACKS[attack.name], setting=setting, **attack.parameters))
    return edits


def hiding_of(config: Config, client_id: int, round_index: int) -> list[Hidden]:
    """How this client hides in this round what it has learned."""
    active = (a for a in config.attacks if client_id in config.attackers_of(a, round_index))
    return [hide for attack in active if (hide := attack.parameters.get("hide"))]


def collusions(config: Config, round_index: int) -> list[Collusion]:
    """The round's attacks in view of the honest differences."""
    return [
        Collusion(clients, partial(ATTACKS[attack.name], **attack.parameters))
        for attack in config.attacks
        if edited_by(attack) == "honest" and (clients := config.attackers_of(attack, round_index))
    ]


def edited_by(attack: AttackConfig) -> str:
    """What the attack edits: the name of its first argument."""
    return next(iter(inspect.signature(ATTACKS[attack.name]).parameters))


def idle_attack(
    config: Config, labels: Sequence[Labels], num_classes: int, side: int
) -> Iterator[str]:
    """A line for what an attack cannot do with each client's labels, or on images of this side."""
    for attack in config.attacks:
        if edited_by(attack) != "labels":
            continue
        alone, first = replace(config, attack=[attack]), attack.start_round
        clients = config.attackers_of(attack, first)
        found = (poison(labels[c], alone, num_classes, c, first) for c in clients)
        idle = [str(c) for c, own in zip(clients, found, strict=True) if not own.edited_labels]
        if idle:
            share = f"{len(idle)} of {len(clients)} attackers (of which client {idle[0]})"
            yield f"attack: {attack.name} finds no label to change at {share}"
        if (size := attack.parameters.get("size", 0)) >= side:
            yield f"attack.size: got {size}, which covers an image of {side} x {side} pixels whole"


def backdoor_of(config: Config) -> tuple[Stamp, int] | None:
    """The stamp and the class that it is to mean, for the test; None without such an attack."""
    for attack in config.attacks:
        if attack.name in ("backdoor", "dba"):
            return partial(with_patch, size=attack.parameters["size"]), attack.parameters["target"]
    return None
