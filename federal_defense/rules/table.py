"""All aggregation rules by name, and what each of them asks of a run.

A rule is a function (this round's updates, its own state) -> ``Aggregate``; its keyword-only
parameters, with their types and defaults, are its keys in the config. ``BOUNDS`` holds what a
rule's theorem asks of n, the clients of a round, beside the ``LEAST`` of them.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from extra_utils.aggregation.messages import Aggregate, Rule, State, Updates, by_samples
from extra_utils.aggregation.server import SERVERS
from extra_utils.basics.errors import WrongKey
from extra_utils.config.keys import Config, DefenseConfig
from extra_utils.config.reader import Tables
from extra_utils.training.optimizer import OPTIMIZERS, SCHEDULES
from federal_defense.attacks.table import ATTACKS, edited_by
from federal_defense.class_mean import class_mean
from federal_defense.rules import compared, differences, output_layer
from federal_defense.rules.before import check_pre, num_after, on_means

Bound = tuple[str, Callable[[int, dict[str, Any]], bool]]  # in words, and as a test of n and keys


def mean(updates: Updates, state: State) -> Aggregate:
    """the clients' differences, weighted by their images (FedAvg)

    A run with it keeps no update: it adds them up as they come (``RoundSum``).
    Source: McMahan et al., AISTATS 2017."""
    return Aggregate(by_samples(updates), state=state)


ALL: list[Rule] = [mean, differences.median, differences.trimmed_mean, differences.krum]
ALL += [differences.multi_krum, differences.geometric_median, differences.norm_clipping]
ALL += [output_layer.foolsgold, output_layer.tolpegin, output_layer.lfighter]
ALL += [compared.bulyan, compared.centered_clipping, compared.fltrust, compared.rlr]
ALL += [class_mean, output_layer.class_rows, output_layer.oracle]
DEFENSES = {rule.__name__: rule for rule in ALL}
TABLES: Tables = {  # of the config's nested keys
    "attack": ATTACKS,
    "defense": DEFENSES,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "server": SERVERS,
}
FEW_ATTACKERS: Bound = ("n >= 2f+3", lambda n, own: n >= 2 * own["f"] + 3)
BOUNDS: dict[str, list[Bound]] = {
    "trimmed_mean": [
        ("beta < 1/2", lambda _, own: own["beta"] < 0.5),
        ("n > 2 floor(beta n)", lambda n, own: n > 2 * differences.num_trimmed(n, own["beta"])),
    ],
    "krum": [FEW_ATTACKERS],
    "multi_krum": [FEW_ATTACKERS, ("m <= n-f", lambda n, own: (own["m"] or 0) <= n - own["f"])],
    "bulyan": [("n >= 4f+3", lambda n, own: n >= 4 * own["f"] + 3)],
    "rlr": [("theta <= n", lambda n, own: own["theta"] <= n)],
}
LEAST_CLASSES = {"class_mean": 5, "class_rows": 5}  # of fewer, source and target are a large part
LEAST = {"fltrust": 2, "foolsgold": 2, "tolpegin": 3, "lfighter": 3} | LEAST_CLASSES  # clients


def looks_at_updates(config: Config) -> str:
    """Who has to look at single updates: a rule, what is in front of it, or an attack; "" for none.

    The others decide from what clients publish."""
    defense, attacks = config.defense, [a.name for a in config.attacks if edited_by(a) == "honest"]
    attacks = attacks if config.num_attackers else []
    rule = "" if defense.name in ("mean", "class_mean", "oracle") else defense.name
    if rule == "norm_clipping":  # with a length that is given a client shortens its own
        rule = "" if defense.parameters["tau"] else "norm_clipping without tau"
    return defense.pre or next(iter(attacks), rule)


def check_bounds(config: Config) -> None:
    """A WrongKey with the bound where the rule's theorem does not cover the run's rounds."""
    defense, n = config.defense, config.clients_per_round
    if config.secure_aggregation and (name := looks_at_updates(config)):
        why = f"{name} looks at single updates, which secure aggregation hides"
        raise WrongKey("secure_aggregation", f"got true, but {why}")
    check_n(defense, n)
    if defense.name == "fltrust":
        trusts = "fltrust takes client 0 for the server's own, trusted one, which"
        if n < config.num_clients:
            raise WrongKey("defense", f"{trusts} sits out unless drawn: clients_per_round is {n}")
        attacks = [a for a in config.attacks if 0 in config.attackers_of(a, a.start_round)]
        if attacks or any(a.sample_clients for a in config.attacks):
            raise WrongKey("defense", f"{trusts} attacks here, or may be drawn to")


def check_n(defense: DefenseConfig, n: int) -> None:
    """A WrongKey where the rule's theorem, or what stands before it, does not cover n clients."""
    check_pre(defense, n)
    seen = {"n": num_after(defense, n), **defense.parameters}
    least = LEAST.get(defense.name, 1)
    bounds: list[Bound] = [(f"n >= {least}", lambda n, _: n >= least)]
    for bound, holds in bounds + BOUNDS.get(defense.name, []):
        if not holds(seen["n"], defense.parameters):
            got = ", ".join(f"{key}={value}" for key, value in seen.items())
            raise WrongKey("defense", f"{defense.name} needs {bound}, got {got}")


def check_num_classes(defense: DefenseConfig, num_classes: int) -> None:
    """A WrongKey where the rule cannot work with so few classes."""
    name, least = defense.name, LEAST_CLASSES.get(defense.name, 0)
    if num_classes < least:
        raise WrongKey("defense", f"{name} needs at least {least} classes, got {num_classes}")


def rule_of(defense: DefenseConfig) -> Rule:
    """The rule with its parameters, behind what stands in front of it."""
    rule = partial(DEFENSES[defense.name], **defense.parameters)
    return rule if defense.pre is None else partial(on_means, rule=rule, defense=defense)
