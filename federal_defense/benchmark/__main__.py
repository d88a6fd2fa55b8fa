"""Every defence in every setting, as tables and one figure: a sweep with more to look at.

    python -m federal_defense.benchmark --config configs/defence_benchmark.json

Called again, it goes on where it stopped. Rules that need the number of attackers are told the
true one, and a setting that a rule's theorem does not cover is named in the table and not run.
"""

import sys

from extra_utils.basics.errors import ConfigError, ending, leave, prepare_process
from extra_utils.config.reader import Arguments, parse_arguments
from extra_utils.config.sweep import read_sweep
from extra_utils.processes.launch import Launcher, find_launcher
from federal_defense.benchmark.results import make_plan, publish
from federal_defense.rules.table import TABLES
from main import compare_all


def benchmark(arguments: Arguments, launcher: Launcher) -> None:
    """All runs, then the tables."""
    sweep = read_sweep(arguments, TABLES)
    if sweep is None:
        raise ConfigError("command line: config: must be a sweep, with lists of values")
    plan = make_plan(sweep)
    compare_all(plan.sweep, arguments, launcher, lambda folder: publish(plan, folder))


if __name__ == "__main__":
    prepare_process()
    leave(ending(lambda: benchmark(parse_arguments(sys.argv[1:]), find_launcher())))
