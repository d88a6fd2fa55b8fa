"""Aggregation rules: how the clients' updates become one. ``DEFENSES`` maps a name to a function;
its keyword-only parameters, with their types and defaults, are the rule's keys in the config.

A rule is a function (this round's updates, its own state) -> ``Verdict``. ``BOUNDS`` holds what
a rule's theorem asks of n, the clients of a round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from extra_utils.config import Config
from extra_utils.config_reader import Given
from extra_utils.errors import ConfigError
from extra_utils.verdict import State, Updates, Verdict, by_samples
from federal_defense.coordinates import median, num_trimmed, trimmed_mean
from federal_defense.detector import class_mean
from federal_defense.distances import geometric_median, krum, multi_krum, norm_clipping
from federal_defense.output_layer import foolsgold, lfighter, oracle, tolpegin

Rule = Callable[..., Verdict]


def mean(updates: Updates, state: State) -> Verdict:
    """the clients' differences, weighted by their images (FedAvg)

    A run with it keeps no update: it adds them up as they come (``RoundSum``).
    Source: McMahan et al., AISTATS 2017.
    """
    return Verdict(by_samples(updates), state=state)


DEFENSES: dict[str, Rule] = {
    "mean": mean,
    "median": median,
    "trimmed_mean": trimmed_mean,
    "krum": krum,
    "multi_krum": multi_krum,
    "geometric_median": geometric_median,
    "norm_clipping": norm_clipping,
    "foolsgold": foolsgold,
    "tolpegin": tolpegin,
    "lfighter": lfighter,
    "class_mean": class_mean,
    "oracle": oracle,
}
BOUNDS: dict[str, list[tuple[str, Callable[[int, dict[str, Any]], bool]]]] = {
    "trimmed_mean": [
        ("beta < 1/2", lambda _, own: own["beta"] < 0.5),
        ("n > 2 floor(beta n)", lambda n, own: n > 2 * num_trimmed(n, own["beta"])),
    ],
    "krum": [("n >= 2f+3", lambda n, own: n >= 2 * own["f"] + 3)],
    "multi_krum": [
        ("n >= 2f+3", lambda n, own: n >= 2 * own["f"] + 3),
        ("m <= n-f", lambda n, own: own["m"] is None or own["m"] <= n - own["f"]),
    ],
    "foolsgold": [("n >= 2", lambda n, _: n >= 2)],
    "tolpegin": [("n >= 3", lambda n, _: n >= 3)],
    "lfighter": [("n >= 3", lambda n, _: n >= 3)],
    "class_mean": [("n >= 3", lambda n, _: n >= 3)],
}


def check_bounds(config: Config, given: Given) -> None:
    """A ConfigError with the bound where the rule's theorem does not cover the run's rounds."""
    name, parameters = config.defense.name, config.defense.parameters
    n = config.clients_per_round
    assert n is not None
    for bound, holds in BOUNDS.get(name, []):
        if not holds(n, parameters):
            got = ", ".join(f"{key}={value}" for key, value in {"n": n, **parameters}.items())
            where = given.where.get("defense", "default")
            raise ConfigError(f"{where}: defense: {name} needs {bound}, got {got}")


def rule_of(config: Config) -> Callable[[Updates, State], Verdict]:
    """The config's rule with its parameters."""
    parameters: dict[str, Any] = config.defense.parameters
    rule = DEFENSES[config.defense.name]
    return lambda updates, state: rule(updates, state, **parameters)
