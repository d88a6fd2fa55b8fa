"""Every defence in every setting, as one table and one figure.

    python -m federal_defense.benchmark.__main__ --config configs/defence_benchmark.json

Each cell is a run of main.py in a folder of its own; called again, it goes on where it stopped.
Rules that need the number of attackers are told the true one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from extra_utils.basics.errors import ENDINGS, ConfigError, RunFailed, report
from extra_utils.basics.files import write_whole
from extra_utils.config.reader import parse_arguments
from federal_defense.benchmark.plan import Cell, Plan, read_plan
from federal_defense.benchmark.results import collect, draw, is_done, table

MAIN = Path(__file__).parents[2] / "main.py"


def check_output(plan: Plan) -> None:
    """Raises ConfigError where a run in the output folder is not this plan's."""
    for cell in plan.cells():
        config = config_file(plan, cell)
        if config.is_file() and config.read_text(encoding="utf-8") != config_text(plan, cell):
            raise ConfigError(
                f"output_dir: got {plan.output_dir}, where {config.name} is of another plan; must "
                "be a new folder"
            )


def config_file(plan: Plan, cell: Cell) -> Path:
    return plan.output_dir / f"{cell.name}.json"


def config_text(plan: Plan, cell: Cell) -> str:
    return json.dumps(plan.config_of(cell), indent=2) + "\n"


def run_cell(plan: Plan, cell: Cell) -> None:
    """Brings a run to its end. Raises RunFailed where it ends early, ConfigError where main.py
    finds its input wrong."""
    folder, config = plan.output_dir / cell.name, config_file(plan, cell)
    if is_done(folder):
        return
    write_whole(config, config_text(plan, cell).encode())
    begun = (folder / "config.json").is_file()
    options = [f"--resume={folder}"] if begun else [f"--config={config}", f"--run_dir={folder}"]
    done = subprocess.run([sys.executable, str(MAIN), *options], capture_output=True, text=True)
    if done.returncode:
        _, _, reason = done.stderr.rpartition("error: ")
        reason = f"{cell.name}: {reason.strip() or f'ended with exit status {done.returncode}'}"
        raise ConfigError(reason) if done.returncode == 2 else RunFailed(reason)


def run_cells(plan: Plan) -> list[str]:
    """Runs what is not done; what became of the runs that ended early."""
    failures = []
    for cell in tqdm(list(plan.cells()), unit="run", disable=None):
        try:
            run_cell(plan, cell)
        except RunFailed as failure:
            failures.append(str(failure))
    return failures


def publish(plan: Plan) -> None:
    """Writes and prints the table and the figure of all runs that are done."""
    results = collect(plan)
    if results:
        text = table(plan, results)
        write_whole(plan.output_dir / "benchmark.md", (text + "\n").encode())
        print(f"{text}\n\nfigure: {draw(plan, results)}")


def main(argv: list[str]) -> int:
    """Exit status 2 where the config is wrong, 1 where a run fails."""
    try:
        arguments = parse_arguments(argv)
        if arguments.config is None or arguments.overrides:
            raise ConfigError("command line: takes --config=FILE and nothing else")
        plan = read_plan(Path(arguments.config))
        plan.output_dir.mkdir(parents=True, exist_ok=True)
        check_output(plan)
        try:
            failures = run_cells(plan)
        finally:
            publish(plan)
        if failures:
            raise RunFailed("\n".join(failures))
    except ENDINGS as error:
        return report(error)
    except KeyboardInterrupt:
        print("error: interrupted by Ctrl-C; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run is ended too
    sys.exit(main(sys.argv[1:]))
