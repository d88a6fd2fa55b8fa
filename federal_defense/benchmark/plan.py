"""The plan of a benchmark: which rule runs in which setting with which seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, WrongKey, show
from extra_utils.config.reader import Places, check_known, config_of, read_json
from extra_utils.config.rules import check_rules, resolve
from extra_utils.config.values import Count, CountOrZero, Fraction, check_value
from federal_defense.rules.table import DEFENSES, TABLES, check_bounds

KEYS = {"comment": str, "base": dict, "attack": dict, "fractions": list[Fraction],
        "partitions": list[str], "seeds": list[CountOrZero], "defenses": list[str],
        "output_dir": str}  # fmt: skip
OPTIONAL = ("comment", "defenses")
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

    def cells(self) -> Iterator[Cell]:
        """Seed by seed, so that a benchmark that is stopped early has whole tables."""
        for seed in self.seeds:
            for partition in self.partitions:
                for fraction in self.fractions:
                    for defense in self.defenses:
                        if (fraction, defense) not in self.refused:
                            yield Cell(partition, fraction, defense, seed)

    def num_attackers(self, fraction: float) -> int:
        return round(fraction * int(self.base["num_clients"]))

    def config_of(self, cell: Cell) -> dict[str, Any]:
        """The run's config."""
        own: dict[str, Any] = {"name": cell.defense}
        if cell.defense in ("krum", "multi_krum"):
            own["f"] = self.num_attackers(cell.fraction)
        if cell.defense == "trimmed_mean":
            own["beta"] = self.num_attackers(cell.fraction) / self.base["num_clients"]
        return {
            **self.base,
            "name": cell.name,
            "partition": cell.partition,
            "seed": cell.seed,
            "attack": {**self.attack, "fraction": cell.fraction},
            "defense": own,
        }


def read_plan(path: Path) -> Plan:
    """Raises ConfigError where the file is wrong, whichever of its runs would show it."""
    values = read_json(path)
    for key, value in values.items():
        check_known(str(path), key, KEYS)
        values[key] = check_value(str(path), key, value, KEYS[key])
    missing = [key for key in KEYS if key not in values and key not in OPTIONAL]
    if missing:
        raise ConfigError(f"{path}: {missing[0]}: is missing")
    values.pop("comment", None)
    for name in values.setdefault("defenses", list(DEFENSES)):
        check_known(f"{path}: defenses", name, DEFENSES)
    check_shape(path, values)
    plan = Plan(**{**values, "output_dir": Path(values["output_dir"])})
    for cell in list(plan.cells()):
        check_cell(path, plan, cell)
    return plan


def check_shape(path: Path, values: dict[str, Any]) -> None:
    """What must hold before there are cells."""
    base = values["base"]
    check_value(str(path), "base.num_clients", base.get("num_clients"), Count)
    for key in OF_CELLS:
        if key in base:
            raise ConfigError(f"{path}: base.{key}: must not be there: the benchmark sets it")
    for key in ("fractions", "partitions", "seeds", "defenses"):
        if len(set(values[key])) != len(values[key]) or not values[key]:
            raise ConfigError(f"{path}: {key}: got {show(values[key])}, must be one or more, "
                              "each once")  # fmt: skip
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
