"""Mutants of the pure modules: small changes, one at a time, of which the tests should notice each.

    pip install cosmic-ray==8.7.0
    python -m tests.mutants --share=1.0      # of all of them; names of modules may follow

cosmic-ray says what can be changed; the tests that mirror a module run in a fork of this process,
which has imported what is slow to import, on a copy of the project.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from tests.helpers import ROOT
from tests.wiring import left_out

CONFIG, DATA = "tests/extra_utils/config", "tests/extra_utils/data"
LOADER = "tests/test_my_data_loader.py tests/test_draws.py"
DEFENSE = "tests/federal_defense"
RULES = f"{DEFENSE}/rules/test_table.py"
LAYER = f"{DEFENSE}/rules/test_output_layer.py"
PLANS = f"{DEFENSE}/test_benchmark.py {DEFENSE}/test_benchmark_plan.py"
PLANS += f" {DEFENSE}/test_benchmark_command.py::test_a_runs_figures_are_those_of_its_last_rounds"
ROWS = "tests/extra_utils/run/test_metrics.py"
ROWS += f" --deselect={ROWS}::test_what_a_run_writes_is_the_schemas"
DOCS = "tests/test_readme.py"  # where the keys' ranges and defaults are compared with the pages
MIRRORS = {  # of a module, the tests
    "extra_utils/config/keys.py": f"{CONFIG} {DEFENSE}/test_attacks.py",
    "extra_utils/config/values.py": CONFIG,
    "extra_utils/config/reader.py": CONFIG,
    "extra_utils/config/sweep.py": CONFIG,
    "extra_utils/config/help.py": CONFIG,
    "extra_utils/basics/spread.py": "tests/extra_utils/basics/test_spread.py",
    "extra_utils/config/rules.py": CONFIG,
    "extra_utils/data/partition.py": f"{DATA}/test_partition.py {LOADER}",
    "extra_utils/run/metrics.py": ROWS,
    "extra_utils/training/evaluation.py": "tests/extra_utils/training/test_evaluation.py",
    "extra_utils/training/optimizer.py": "tests/extra_utils/training/test_optimizer.py",
    "extra_utils/aggregation/server.py": "tests/extra_utils/aggregation/test_server.py",
    "federal_defense/attacks/table.py": f"{DEFENSE}/test_attacks.py tests/test_draws.py",
    "federal_defense/attacks/labels.py": f"{DEFENSE}/test_attacks.py tests/test_draws.py",
    "federal_defense/attacks/updates.py": f"{DEFENSE}/test_collusion.py {DEFENSE}/test_attacks.py",
    "federal_defense/attacks/hiding.py": f"{DEFENSE}/test_hiding.py",
    "federal_defense/rules/compared.py": f"{DEFENSE}/rules",
    "federal_defense/rules/before.py": f"{DEFENSE}/rules",
    "federal_defense/rules/on_paper.py": f"{DEFENSE}/rules",
    "federal_defense/two_means.py": f"{DEFENSE}/test_two_means.py {LAYER} {RULES}",
    "federal_defense/class_mean.py": f"{DEFENSE}/test_class_mean.py",
    "federal_defense/rules/table.py": RULES,
    "federal_defense/rules/differences.py": RULES,
    "federal_defense/rules/output_layer.py": f"{LAYER} {RULES}",
    "federal_defense/benchmark.py": PLANS,
}
BINARY = ("Add_Sub", "Sub_Add", "Mul_Div", "Div_Mul", "FloorDiv_Mul", "Mod_Mul", "Pow_Mul")
BITS = ("BitAnd_BitOr", "BitOr_BitAnd", "BitXor_BitAnd")
COMPARED = ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE", "GtE_Gt", "Is_IsNot", "IsNot_Is")
OPERATORS = [
    *(f"core/ReplaceBinaryOperator_{name}" for name in BINARY + BITS),
    *(f"core/ReplaceComparisonOperator_{name}" for name in COMPARED),
    *(f"core/ReplaceUnaryOperator_Delete_{name}" for name in ("USub", "Invert", "Not")),
    *("core/AddNot", "core/ReplaceTrueWithFalse", "core/ReplaceFalseWithTrue"),
    *("core/ReplaceAndWithOr", "core/ReplaceOrWithAnd", "core/NumberReplacer"),
    *("core/ReplaceBreakWithContinue", "core/ReplaceContinueWithBreak"),
    *("core/ZeroIterationForLoop", "core/RemoveDecorator"),
]
SLOW_TO_IMPORT = ("pytest", "hypothesis", "torch", "matplotlib.figure", "tqdm", "PIL.Image")
OPTIONS = ["-x", "-o", "addopts=", "-m", "not slow and not real_data", "-p", "no:cacheprovider"]
NUM_COPIES, TIMEOUT_S, POLL_S = 2, 120.0, 0.05


class Mutant(NamedTuple):
    """A module's text with one change, and what changed."""

    path: str
    text: str
    change: str


def mutants_of(path: str) -> Iterator[Mutant]:
    """All of a module's, without those that change nothing."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    text = (ROOT / path).read_text(encoding="utf-8")
    for name in OPERATORS:
        operator = get_operator(name)()
        places = [p for node in ast_nodes(get_ast(text)) for p in operator.mutation_positions(node)]
        for occurrence in range(len(places)):
            changed = mutate_code(text, operator, occurrence)
            if changed is not None and changed != text:
                pairs = zip(text.splitlines(), changed.splitlines(), strict=False)
                number, line = next((n, b) for n, (a, b) in enumerate(pairs, 1) if a != b)
                yield Mutant(path, changed, f"{path}:{number}: {line.strip()}")


def status_of(copy: Path, tests: str) -> int:
    """pytest's exit status in a fork that works in the copy; -1 where it takes too long."""
    if not (pid := os.fork()):
        os.chdir(copy)
        sys.path[0] = str(copy)
        for name in [
            name for name in sys.modules if name.split(".")[0] in ("tests", "extra_utils")
        ]:
            del sys.modules[name]
        sys.dont_write_bytecode = True
        os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # those that are imported already
        for number in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
        import pytest

        os._exit(int(pytest.main([*OPTIONS, *tests.split(), DOCS])))
    end = time.monotonic() + TIMEOUT_S
    while time.monotonic() < end:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(POLL_S)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    return -1


def try_all(copy: Path, mutants: list[Mutant], found: Any) -> None:
    """Puts into a queue whether each is noticed, in their order."""
    for mutant in mutants:
        path = copy / mutant.path
        text = path.read_text(encoding="utf-8")
        path.write_text(mutant.text, encoding="utf-8")
        found.put(status_of(copy, MIRRORS[mutant.path]) != 0)
        path.write_text(text, encoding="utf-8")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", default=[], choices=[*MIRRORS, []])
    parser.add_argument("--share", type=float, default=1.0)
    arguments = parser.parse_args(argv)
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    mutants = []
    for path in arguments.modules or MIRRORS:
        own = list(mutants_of(path))
        size = max(1, round(arguments.share * len(own)))
        mutants += random.Random(path).sample(own, size)
    with tempfile.TemporaryDirectory() as folder:
        queues: list[Any] = []
        processes = []
        for number in range(NUM_COPIES):
            shutil.copytree(ROOT, copy := Path(folder) / str(number), ignore=left_out)
            for tests in {MIRRORS[mutant.path] for mutant in mutants} if not number else ():
                assert status_of(copy, tests) == 0, f"{tests} must pass without a mutant"
            queues.append(multiprocessing.SimpleQueue())
            own = mutants[number::NUM_COPIES]
            arguments_of_one = (copy, own, queues[-1])
            processes.append(multiprocessing.Process(target=try_all, args=arguments_of_one))
            processes[-1].start()
        totals = {mutant.path: [0, 0] for mutant in mutants}
        for number, mutant in enumerate(mutants):
            is_noticed = queues[number % NUM_COPIES].get()
            totals[mutant.path][is_noticed] += 1
            if not is_noticed:
                print(f"left: {mutant.change}", flush=True)
        for process in processes:
            process.join()  # it puts the last text back, into a folder that is removed next
    for path, (left, noticed) in totals.items():
        print(f"{path}: {noticed} of {left + noticed} are noticed")
    left, noticed = map(sum, zip(*totals.values(), strict=True))
    print(f"all: {noticed} of {left + noticed}, {100 * noticed / (left + noticed):.1f} %")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
