"""The plan of a benchmark: a sweep in which each rule is told what it needs to know."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, WrongKey
from extra_utils.config.keys import Config
from extra_utils.config.reader import read_choice
from extra_utils.config.rules import resolve
from extra_utils.config.sweep import Combination, Sweep, part_of
from federal_defense.attacks import with_drawn_attackers
from federal_defense.rules.table import TABLES, check_bounds


class Cell(NamedTuple):
    """One run, and where its figures stand: in which table, and in which row."""

    name: str  # of its folder
    table: str
    rule: str
    refused: str = ""  # the bound of a theorem that does not cover it, so that it is not run


@dataclass(frozen=True)
class Plan:
    """The benchmark's sweep, without what is refused."""

    sweep: Sweep
    cells: list[Cell]
    clean: dict[str, str]  # by an attacked table that of the same setting without attack

    @property
    def tables(self) -> list[str]:
        return list(dict.fromkeys(cell.table for cell in self.cells))

    @property
    def rules(self) -> list[str]:
        return list(dict.fromkeys(cell.rule for cell in self.cells))


def make_plan(sweep: Sweep) -> Plan:
    """krum, multi_krum and trimmed_mean are told the true number of attackers.

    Raises ConfigError where a run's config is wrong.
    """
    where = sweep.where | {"defense.f": "the benchmark", "defense.beta": "the benchmark"}
    cells, kept, clean = [], [], {}
    for name, choice, texts in sweep.combinations:
        config = resolve(read_choice(sweep.path, choice, where, TABLES)[0])
        told = told_to(config)
        shown = {key: text for key, text in texts.items() if not key.startswith("defense")}
        rule = " ".join(text for key, text in texts.items() if key.startswith("defense"))
        title = title_of(config, shown)
        clean[title] = title_of(config, shown | {"attack.fraction": "0"})
        cell = Cell(name, title, rule or config.defense.name, "")
        try:
            check_bounds(resolve(read_choice(sweep.path, choice | told, where, TABLES)[0]))
        except WrongKey as wrong:
            cell = cell._replace(refused=wrong.text)
        else:
            kept.append(Combination(name, choice | told, texts))
        cells.append(cell)
    if not kept:
        raise ConfigError(f"{sweep.path}: every rule refuses every setting: {cells[0].refused}")
    attacked = {title: other for title, other in clean.items() if title != other}
    return Plan(replace(sweep, where=where, combinations=kept), cells, attacked)


def told_to(config: Config) -> dict[str, Any]:
    """The key that tells the rule how many attack, such as `defense.f`."""
    attack = with_drawn_attackers(config).attack
    found = len(attack.clients) if attack else 0
    if config.defense.name == "trimmed_mean":
        return {"defense.beta": found / config.num_clients}
    return {"defense.f": found} if config.defense.name in ("krum", "multi_krum") else {}


def title_of(config: Config, shown: dict[str, str]) -> str:
    """A table's title, of the swept keys."""
    parts = []
    for key, text in shown.items():
        if key == "attack.fraction":
            found = round(float(text) * config.num_clients)
            parts.append(f"{found} of {config.num_clients} attack" if found else "no attack")
        else:
            parts.append(text if key == "partition" else part_of(key, text))
    return ", ".join(parts) or config.name
