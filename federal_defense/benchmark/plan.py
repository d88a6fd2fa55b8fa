"""The plan of a benchmark: which rule runs in which setting with which seed."""

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, WrongKey, show
from extra_utils.config.reader import Places, check_known, config_of, read_json
from extra_utils.config.rules import check_rules, resolve
from extra_utils.config.values import Count, CountOrZero, Fraction, check_value
from federal_defense.rules.table import DEFENSES, TABLES, check_bounds

LISTS = {"fractions": list[Fraction], "partitions": list[str], "seeds": list[CountOrZero]}
LISTS["defenses"] = list[str]
HINTS: dict[str, Any] = {"base": dict, "attack": dict, **LISTS, "output_dir": str, "comment": str}
DEFAULTS: dict[str, Any] = {"comment": "", "defenses": list(DEFENSES)}
OF_CELLS = ("name", "partition", "seed", "attack", "defense", "clients_per_round")  # not in base


class Cell(NamedTuple):
    """One run."""

    partition: str
    fraction: float
    defense: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.partition}_{self.fraction:g}_{self.defense}_{self.seed}"


@dataclass(frozen=True)
class Plan:
    """The benchmark's config."""

    base: dict[str, Any]
    attack: dict[str, Any]
    fractions: list[float]
    partitions: list[str]
    seeds: list[int]
    defenses: list[str]
    output_dir: Path
    refused: dict[tuple[float, str], str] = field(default_factory=dict)
    """By fraction and rule: the bound of a theorem that does not cover it. No cell has it."""

    def settings(self) -> list[tuple[str, float]]:
        return list(itertools.product(self.partitions, self.fractions))

    def cells(self) -> list[Cell]:
        """Seed by seed, so that a benchmark that is stopped early has whole tables."""
        return [
            Cell(partition, fraction, defense, seed)
            for seed in self.seeds
            for partition, fraction in self.settings()
            for defense in self.defenses
            if (fraction, defense) not in self.refused
        ]

    def num_attackers(self, fraction: float) -> int:
        return round(fraction * int(self.base["num_clients"]))

    def config_of(self, cell: Cell) -> dict[str, Any]:
        """The run's config."""
        defense: dict[str, Any] = {"name": cell.defense}
        if cell.defense in ("krum", "multi_krum"):
            defense["f"] = self.num_attackers(cell.fraction)
        if cell.defense == "trimmed_mean":
            defense["beta"] = self.num_attackers(cell.fraction) / self.base["num_clients"]
        attack = {**self.attack, "fraction": cell.fraction}
        own = {"name": cell.name, "partition": cell.partition, "seed": cell.seed}
        return {**self.base, **own, "attack": attack, "defense": defense}


def read_plan(path: Path) -> Plan:
    """Raises ConfigError where the file is wrong, whichever of its runs would show it."""
    values = DEFAULTS | read_json(path)
    for key, value in values.items():
        check_known(str(path), key, HINTS)
        values[key] = check_value(str(path), key, value, HINTS[key])
    for key in HINTS:
        if key not in values:
            raise ConfigError(f"{path}: {key}: is missing")
    del values["comment"]
    for name in values["defenses"]:
        check_known(f"{path}: defenses", name, DEFENSES)
    check_shape(path, values)
    plan = Plan(**{**values, "output_dir": Path(values["output_dir"])})
    for cell in plan.cells():
        check_cell(path, plan, cell)
    return plan


def check_shape(path: Path, values: dict[str, Any]) -> None:
    """What must hold before there are cells."""
    base = values["base"]
    check_value(str(path), "base.num_clients", base.get("num_clients"), Count)
    for key in OF_CELLS:
        if key in base:
            raise ConfigError(f"{path}: base.{key}: must not be there: the benchmark sets it")
    for key in LISTS:
        if len(set(values[key])) != len(values[key]) or not values[key]:
            got = show(values[key])
            raise ConfigError(f"{path}: {key}: got {got}, must be one or more, each once")
    for fraction in values["fractions"]:
        if fraction and not round(fraction * base["num_clients"]):
            few = f"{fraction:g} of {base['num_clients']} clients is nobody"
            raise ConfigError(f"{path}: fractions: got {fraction:g}, must be larger: {few}")


def check_cell(path: Path, plan: Plan, cell: Cell) -> None:
    """Raises ConfigError where main.py would; notes a rule that refuses the number of attackers."""
    values = plan.config_of(cell)
    places = Places(dict.fromkeys(values, str(path)))
    with places.named():
        config = resolve(config_of(values, places, path, TABLES))
        check_rules(config)
    try:
        check_bounds(config)
    except WrongKey as wrong:
        plan.refused[cell.fraction, cell.defense] = wrong.text
