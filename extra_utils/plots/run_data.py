"""A run's folder read back, with what is damaged left out."""

import sys
from collections.abc import Collection
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from extra_utils.basics.errors import ConfigError, describe_os_error, say, show
from extra_utils.config.values import CountOrZero, check_value, read_json
from extra_utils.plots.style import advance
from extra_utils.run.metrics import FILE_NAME, SCHEMA, Row, read_metrics

Array = NDArray[np.float64]
MOST_PROBLEMS = 10  # lines of a damaged run that are named; the others are counted
LONGEST_TEXT = 60  # letters of a name in a picture
MOST_NUMBERS = 10  # attackers that are named one by one
SEPARATOR = " · "  # between the parts of a setting


class RunData(NamedTuple):
    """The config, and metrics.jsonl's rows by kind, in the order of their rounds."""

    folder: Path
    config: dict[str, Any]
    run: Row
    points: list[Row]
    clients: list[Row]
    rounds: list[Row]
    summary: Row | None

    @property
    def title(self) -> str:
        """The run in a few words; a synthetic data set's name says that it is one."""
        return f"{self.config['name']}: {self.run['dataset']}"

    @property
    def setting(self) -> str:
        """The run in small print."""
        attacks, number = list[str](), len(self.run["class_counts"])
        for own in self.config["attack"]:
            how = f" ({' → '.join(pair)})" if (pair := self.classes_of(own)) else ""
            by = clients(own["clients"]) if "clients" in own else "drawn clients"
            attacks.append(f"attack {readable(str(own.get('name')))}{how} by {by}")
        attack = ", ".join(attacks) or "no attack"
        rounds, seed = (readable(show(self.config.get(k))) for k in ("global_epochs", "seed"))
        parts = [self.run["dataset"], plural(number, "client"), attack, f"defence {self.rule}"]
        return SEPARATOR.join([*parts, plural(rounds, "round"), f"seed {seed}"])

    @property
    def attacked(self) -> tuple[str, str] | None:
        """The names of the source and target class of the first attack that has one of each."""
        return next(filter(None, map(self.classes_of, self.config["attack"])), None)

    def classes_of(self, attack: dict[str, Any]) -> tuple[str, str] | None:
        names, pair = self.run["class_names"], (attack.get("source"), attack.get("target"))
        if not all(isinstance(number, int) and 0 <= number < len(names) for number in pair):
            return None  # it is of all classes, or of none
        return names[pair[0]], names[pair[1]]

    @property
    def rule(self) -> str:
        defense = self.config.get("defense")
        return readable(str(defense.get("name"))) if isinstance(defense, dict) else "its rule"

    @property
    def attackers(self) -> set[int]:
        return {row["client"] for row in self.clients if row["attacker"]}


def read_run(folder: Path) -> RunData:
    """What is whole of a run's folder; says what is not. ConfigError where nothing can be drawn."""
    try:
        rows, problems = read_metrics(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: is not a run's folder: {describe_os_error(error)}") from None
    by_kind = {kind: [row for row in rows if row["kind"] == kind] for kind in SCHEMA}
    if not by_kind["run"]:  # nobody knows, for one, whether the images were real
        reason = problems[0] if problems else f"{folder / FILE_NAME}: is empty"
        raise ConfigError(f"{folder}: its run cannot be drawn: {reason}")
    run = by_kind["run"][0]
    config = _read_config(folder, problems)
    names = "".join([config["name"], run["dataset"], *run["class_names"]])
    if missing := sorted({c for c in names if c.isprintable() and advance(c) is None}):
        shown = " ".join(missing[:MOST_PROBLEMS])
        say_once(f"note: no installed font has {shown}: pictures show the code instead")
    config["name"], run["dataset"] = readable(config["name"]), readable(run["dataset"])
    run["class_names"] = [readable(name) for name in run["class_names"]]
    if more := problems[MOST_PROBLEMS:]:
        problems[MOST_PROBLEMS:] = [f"{len(more)} more"]
    for problem in problems:
        say_once(f"note: left out: {problem}")
    points = sorted(by_kind["point"], key=itemgetter("round", "step"))
    clients = sorted(by_kind["client"], key=itemgetter("round", "client"))
    rounds = sorted(by_kind["round"], key=itemgetter("round"))
    summary = by_kind["summary"][-1] if by_kind["summary"] else None
    return RunData(folder, config, run, points, clients, rounds, summary)


def _read_config(folder: Path, problems: list[str]) -> dict[str, Any]:
    """The run's config; where it is damaged, what a picture needs of it."""
    path = folder / "config.json"
    try:
        config = read_json(path)
        attack = config.get("attack") or []
        config["attack"] = attack if isinstance(attack, list) else [attack]
        check_value(str(path), "name", config.get("name"), str)
        for own in config["attack"]:
            clients = check_value(str(path), "attack", own, dict).get("clients", [])
            check_value(str(path), "attack.clients", clients, list[CountOrZero])
    except ConfigError as problem:
        problems.append(str(problem))
        return {"name": folder.resolve().name, "attack": []}
    return config


def plural(number: object, thing: str) -> str:
    return f"{number} {thing}{'' if str(number) == '1' else 's'}"


def clients(numbers: Collection[int]) -> str:
    if len(numbers) > MOST_NUMBERS:
        return f"{len(numbers)} clients"
    return f"client {', '.join(map(str, sorted(numbers)))}" if numbers else "nobody"


@cache
def say_once(note: str) -> None:
    """On standard error; a run that is drawn again and again repeats none."""
    say(note, sys.stderr)


def readable(text: str) -> str:
    """A name from a file as a picture can show it: letters that no font has as their codes."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    codes = {c: c.encode("unicode_escape").decode() for c in set(text) if advance(c) is None}
    text = "".join(codes.get(c, c) for c in text)
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 3] + "..."


def column(rows: list[Row], key: str) -> Array:
    """One figure of each row [n], NaN where it is null."""
    return np.array([row[key] for row in rows], dtype=np.float64)
