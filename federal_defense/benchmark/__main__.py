"""Every defence in every setting, as one table and one figure.

    python -m federal_defense.benchmark --config configs/defence_benchmark.json

Each cell is a run of main.py in a folder of its own; called again, it goes on where it stopped.
Rules that need the number of attackers are told the true one.
"""

import json
import subprocess
import sys
from pathlib import Path

from tqdm import tqdm

from extra_utils.basics.errors import ENDINGS, ConfigError, RunFailed, prepare_process, report
from extra_utils.basics.files import write_whole
from extra_utils.config.reader import parse_arguments
from federal_defense.benchmark.plan import Cell, Plan, read_plan
from federal_defense.benchmark.results import is_done, publish

MAIN = Path(__file__).parents[2] / "main.py"


def config_file(plan: Plan, cell: Cell) -> tuple[Path, str]:
    """Where a run's config lies, and what stands in it.

    Raises ConfigError where the output folder has one of another plan.
    """
    path = plan.output_dir / f"{cell.name}.json"
    text = json.dumps(plan.config_of(cell), indent=2) + "\n"
    if path.is_file() and path.read_text(encoding="utf-8") != text:
        other = f"where {path.name} is of another plan"
        raise ConfigError(f"output_dir: got {plan.output_dir}, {other}; must be a new folder")
    return path, text


def run_cell(plan: Plan, cell: Cell) -> str:
    """Brings a run to its end; says why it ended early, if it did.

    Raises ConfigError where main.py finds its input wrong.
    """
    folder = plan.output_dir / cell.name
    if is_done(folder):
        return ""
    path, text = config_file(plan, cell)
    write_whole(path, text.encode())
    begun = (folder / "config.json").is_file()
    options = [f"--resume={folder}"] if begun else [f"--config={path}", f"--run_dir={folder}"]
    done = subprocess.run([sys.executable, str(MAIN), *options], capture_output=True, text=True)
    _, _, reason = done.stderr.rpartition("error: ")
    reason = f"{cell.name}: {reason.strip() or f'ended with exit status {done.returncode}'}"
    if done.returncode == 2:
        raise ConfigError(reason)
    return reason if done.returncode else ""


def main(argv: list[str]) -> int:
    """Exit status 2 where the config is wrong, 1 where a run fails."""
    try:
        arguments = parse_arguments(argv)
        if arguments.config is None or arguments.overrides:
            raise ConfigError("command line: takes --config=FILE and nothing else")
        plan = read_plan(Path(arguments.config))
        plan.output_dir.mkdir(parents=True, exist_ok=True)
        cells = plan.cells()
        for cell in cells:
            config_file(plan, cell)  # refused before any run begins
        try:
            said = [run_cell(plan, cell) for cell in tqdm(cells, unit="run", disable=None)]
        finally:
            publish(plan)
        if failures := [text for text in said if text]:
            raise RunFailed("\n".join(failures))
    except ENDINGS as error:
        return report(error)
    except KeyboardInterrupt:
        print("error: interrupted by Ctrl-C; the same command goes on", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    prepare_process()
    sys.exit(main(sys.argv[1:]))
