"""Every defence in every setting, as one table and one figure.

    python -m federal_defense.benchmark --config configs/defence_benchmark.json

Each cell is a run of main.py in a folder of its own; called again, it goes on where it stopped.
Rules that need the number of attackers are told the true one.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from extra_utils.config_reader import parse_arguments
from extra_utils.errors import ENDINGS, ConfigError, RunFailed, report
from extra_utils.files import write_whole
from federal_defense.benchmark_plan import Cell, Plan, read_plan
from federal_defense.benchmark_results import collect, draw, is_done, table

MAIN = Path(__file__).parent.parent / "main.py"


def run_cell(plan: Plan, cell: Cell) -> Path:
    """The finished run's folder. Raises RunFailed where it cannot be finished."""
    folder, config = plan.output_dir / cell.name, plan.output_dir / f"{cell.name}.json"
    text = json.dumps(plan.config_of(cell), indent=2) + "\n"
    if config.is_file() and config.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"output_dir: got {plan.output_dir}, where {config.name} is of another plan; must be a "
            "new folder"
        )
    if not is_done(folder):
        write_whole(config, text.encode())
        begun = (folder / "config.json").is_file()
        options = [f"--resume={folder}"] if begun else [f"--config={config}", f"--run_dir={folder}"]
        done = subprocess.run([sys.executable, str(MAIN), *options], capture_output=True, text=True)
        if done.returncode:
            _, _, reason = done.stderr.rpartition("error: ")
            reason = reason.strip() or f"ended with exit status {done.returncode}"
            raise RunFailed(f"{cell.name}: {reason}")
    return folder


def main(argv: list[str]) -> int:
    """Exit status 2 where the config is wrong, 1 where a run fails."""
    try:
        arguments = parse_arguments(argv)
        if arguments.config is None or arguments.overrides:
            raise ConfigError("command line: takes --config=FILE and nothing else")
        plan = read_plan(Path(arguments.config))
        plan.output_dir.mkdir(parents=True, exist_ok=True)
        cells = list(plan.cells())
        for cell in tqdm(cells, unit="run", disable=None):
            run_cell(plan, cell)
        results = collect(plan)
        text = table(plan, results)
        write_whole(plan.output_dir / "benchmark.md", (text + "\n").encode())
        print(f"{text}\n\nfigure: {draw(plan, results)}")
    except ENDINGS as error:
        return report(error)
    except KeyboardInterrupt:
        print("error: interrupted by Ctrl-C; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
