"""The plan of a benchmark: which rule runs in which setting with which seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.config_check import Count, CountOrZero, Fraction, check_value
from extra_utils.config_reader import check_known, read_json
from extra_utils.errors import ConfigError
from federal_defense.rules import DEFENSES

KEYS = {"comment": str, "base": dict, "attack": dict, "fractions": list[Fraction],
        "partitions": list[str], "seeds": list[CountOrZero], "defenses": list[str],
        "output_dir": str}  # fmt: skip
OPTIONAL = ("comment", "defenses")


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

    def cells(self) -> Iterator[Cell]:
        """Seed by seed, so that a benchmark that is stopped early has whole tables."""
        for seed in self.seeds:
            for partition in self.partitions:
                for fraction in self.fractions:
                    for defense in self.defenses:
                        yield Cell(partition, fraction, defense, seed)

    def config_of(self, cell: Cell) -> dict[str, Any]:
        """The run's config."""
        num_attackers = round(cell.fraction * self.base["num_clients"])
        own: dict[str, Any] = {"name": cell.defense}
        if cell.defense in ("krum", "multi_krum"):
            own["f"] = num_attackers
        if cell.defense == "trimmed_mean":
            own["beta"] = num_attackers / self.base["num_clients"]
        return {
            **self.base,
            "name": cell.name,
            "partition": cell.partition,
            "seed": cell.seed,
            "attack": {**self.attack, "fraction": cell.fraction},
            "defense": own,
        }


def read_plan(path: Path) -> Plan:
    """Raises ConfigError where the file is wrong."""
    values = read_json(path)
    for key, value in values.items():
        check_known(str(path), key, KEYS)
        values[key] = check_value(str(path), key, value, KEYS[key])
    missing = [key for key in KEYS if key not in values and key not in OPTIONAL]
    if missing:
        raise ConfigError(f"{path}: {missing[0]}: is missing")
    check_value(str(path), "base.num_clients", values["base"].get("num_clients"), Count)
    values.pop("comment", None)
    for name in values.setdefault("defenses", list(DEFENSES)):
        check_known(f"{path}: defenses", name, DEFENSES)
    return Plan(**{**values, "output_dir": Path(values["output_dir"])})
