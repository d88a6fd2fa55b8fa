"""Every defence in every setting, as tables: a sweep with more to look at.

    python -m federal_defense.benchmark --config configs/defence_benchmark.json

Called again, it goes on where it stopped. Rules that need the number of attackers are told the
true one, and a setting that a rule's theorem does not cover is named in the table and not run.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from extra_utils.basics.errors import ConfigError, WrongKey, ending, prepare_process
from extra_utils.basics.files import write_whole
from extra_utils.config.keys import Config
from extra_utils.config.reader import Arguments, parse_arguments, read_choice
from extra_utils.config.rules import resolve
from extra_utils.config.sweep import Combination, Sweep, part_of, read_sweep
from extra_utils.plots.comparison import NOTES, Group, cells, markdown, shared_setting
from extra_utils.plots.run_data import read_run
from extra_utils.processes.launch import Launcher, find_launcher
from federal_defense.rules.table import TABLES, check_bounds
from main import compare_all

TOLD = "krum, multi_krum and trimmed_mean are told the number of attackers, oracle who they are."
Groups = dict[tuple[str, str], Group]  # by table and rule


class Plan(NamedTuple):
    """The benchmark's sweep, without what is refused."""

    sweep: Sweep
    tables: dict[str, dict[str, list[str]]]  # by table and rule, so by row, the runs' names
    refused: dict[tuple[str, str], str]  # by table and rule, the bound that forbids to run it


def benchmark(arguments: Arguments, launcher: Launcher) -> None:
    if not (sweep := read_sweep(arguments)):
        raise ConfigError("command line: config: must be a sweep, with lists of values")
    plan = make_plan(sweep)
    compare_all(plan.sweep, arguments, launcher, lambda folder: publish(plan, folder))


def make_plan(sweep: Sweep) -> Plan:
    """Rules are told how many attack. Raises ConfigError where a run's config is wrong."""
    where = sweep.where | {"defense.f": "the benchmark", "defense.beta": "the benchmark"}
    tables: dict[str, dict[str, list[str]]] = {}
    kept, refused = [], {}
    for name, choice, texts in sweep.combinations:
        config = resolve(read_choice(sweep.path, choice, where, TABLES)[0])
        told, found = dict[str, Any](), config.num_attackers
        if config.defense.name == "trimmed_mean":
            told = {"defense.beta": found / config.num_clients}
        elif config.defense.name in ("krum", "multi_krum"):
            told = {"defense.f": found}
        shown = {key: text for key, text in texts.items() if not key.startswith("defense")}
        rule = " ".join(text for key, text in texts.items() if key.startswith("defense"))
        title, rule = title_of(config, shown), rule or config.defense.name
        tables.setdefault(title, {}).setdefault(rule, []).append(name)
        try:
            check_bounds(resolve(read_choice(sweep.path, choice | told, where, TABLES)[0]))
            kept.append(Combination(name, choice | told, texts))
        except WrongKey as wrong:
            refused[title, rule] = wrong.text
    if not kept:
        reason = next(iter(refused.values()))
        raise ConfigError(f"{sweep.path}: every rule refuses every setting: {reason}")
    return Plan(sweep._replace(where=where, combinations=kept), tables, refused)


def title_of(config: Config, shown: dict[str, str]) -> str:
    """A table's title, of the swept keys."""
    return ", ".join(part_of(key, text) for key, text in shown.items()) or config.name


def publish(plan: Plan, folder: Path) -> str:
    """Writes ``benchmark.md`` of all runs that are done; its tables."""
    groups: Groups = {}
    for title, rules in plan.tables.items():
        for rule, names in rules.items():
            ended = [folder / name for name in names if (folder / name / "model.pth").is_file()]
            if ended:
                groups[title, rule] = Group(rule, [read_run(run) for run in ended], {})
    if not groups:
        return "no run has come to its end"
    runs = [run for group in groups.values() for run in group.runs]
    dataset, setting = runs[0].run["dataset"], shared_setting(runs)
    text = "\n\n".join([f"{dataset}: {setting}. {NOTES} {TOLD}", *tables(plan, groups)])
    write_whole(folder / "benchmark.md", text)
    return text


def tables(plan: Plan, groups: Groups) -> Iterator[str]:
    """Markdown, one for each setting."""
    for title, rules in plan.tables.items():
        head, *rows = cells([group for (own, _), group in groups.items() if own == title], None)
        found = {row[0]: row for row in rows}
        for rule in rules.keys() - found.keys():
            reason = plan.refused.get((title, rule), "not run to its end")
            found[rule] = [rule, reason, *[""] * (len(head) - 2)]
        yield markdown([[title, *head[1:]], *(found[rule] for rule in rules)])


if __name__ == "__main__":
    prepare_process()
    sys.exit(ending(lambda: benchmark(parse_arguments(sys.argv[1:]), find_launcher())))
