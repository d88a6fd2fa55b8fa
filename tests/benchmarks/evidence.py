"""The runs behind docs/evidence.md: those of a plan that have no row yet, and a row for each.

    python -m tests.benchmarks.evidence docs/evidence/flips.json ...
    python -m tests.benchmarks.evidence "docs/evidence/flips.json#drawn pairs"   # one part

A plan is a JSON object: `base`, keys of all its runs; `parts`, by title, keys and a `sweep` of each
part's own; `rows`, which this command adds, one as soon as each run has ended. Stopped at any time
and called again, it goes on. No picture of a run is drawn.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import RunFailed, ending, prepare_process
from extra_utils.basics.files import temporary_folder, write_whole
from extra_utils.config.keys import Config
from extra_utils.config.reader import Arguments
from extra_utils.config.sweep import read_sweep
from extra_utils.my_dataset import fingerprint
from extra_utils.processes.launch import ALONE
from extra_utils.run.folder import run_folder
from extra_utils.run.metrics import SUMMARY_ROUNDS, read_metrics
from extra_utils.run.sweep import carry_out_all, plan_runs, sweep_folder
from federal_defense.checks import checked_config, prepared_data
from federal_defense.rules.table import TABLES
from main import run

Row = dict[str, Any]
RUNS = Path("runs/evidence")
MEASURES = ("accuracy", "source_recall", "attack_success_rate", "backdoor_success_rate")
TOO_LARGE = "a weaker attack, may help"  # how a run ends that an attack has driven out of range


def main(argv: list[str]) -> None:
    for name in argv:
        file, _, part = name.partition("#")
        for title in [part] if part else json.loads(Path(file).read_text())["parts"]:
            carry_out_part(Path(file), title)


def carry_out_part(path: Path, title: str) -> None:
    """Every run of one part that has no row."""
    plan = json.loads(path.read_text())
    known = {row["run"] for row in plan["rows"] if row["part"] == title}
    with temporary_folder("evidence-") as folder:
        file = folder / "plan.json"
        keys = {"checkpoint_every": 0, "eval_points": 0}
        file.write_text(json.dumps(keys | plan["base"] | plan["parts"][title]))
        sweep = read_sweep(Arguments(config=str(file), yes="true"))
        assert sweep is not None, f"{path}: {title}: has no sweep"
        shown = {run.name: run.shown for run in sweep.combinations}
        todo = [run for run in sweep.combinations if run.name not in known]
        print(f"{path}: {title}: {len(todo)} of {len(shown)} runs to do", flush=True)
        if not todo:
            return
        sweep = sweep._replace(combinations=todo)
        runs = plan_runs(sweep, TABLES, checked_config, prepared_data)
        place = RUNS / path.stem / title.replace(" ", "_")
        shutil.rmtree(place, ignore_errors=True)
        with sweep_folder(sweep, runs, Arguments(run_dir=str(place))) as place:
            own = partial(carry_out, path, title, shown)
            if failures := carry_out_all(sweep, runs, place, own):
                raise RunFailed("\n".join(failures))


def carry_out(
    path: Path,
    title: str,
    shown: dict[str, dict[str, str]],
    config: Config,
    data: Path,
    how: Arguments,
) -> None:
    """A run without pictures, and its row."""
    assert how.run_dir is not None
    name, figures = Path(how.run_dir).name, dict[str, Any]()
    try:
        with run_folder(config, fingerprint(data), how, is_restart=False) as (run_dir, job):
            assert job is not None
            ALONE.start(run, config, data, job)
            figures = figures_of(read_metrics(run_dir)[0])
    except RunFailed as failed:
        if TOO_LARGE not in str(failed):
            raise
        figures = dict.fromkeys(MEASURES) | {"failed": str(failed).splitlines()[0]}
    add_row(path, {"part": title, "run": name, "seed": config.seed, **shown[name], **figures})


def figures_of(rows: list[Row]) -> Row:
    """In percent; of the last rounds (the summary), and who was flagged in all rounds."""
    summary = next(row for row in rows if row["kind"] == "summary")
    clients = [row for row in rows if row["kind"] == "client"]
    late = max(row["round"] for row in clients) - SUMMARY_ROUNDS
    last = [row for row in clients if row["round"] > late]
    figures = {key: summary[key] for key in MEASURES if summary.get(key) is not None}
    figures["found"] = share(row["flagged"] for row in last if row["attacker"])
    figures["honest_flagged"] = share(row["flagged"] for row in last if not row["attacker"])
    figures["honest_flagged_ever"] = share(r["flagged"] for r in clients if not r["attacker"])
    return {key: value if value is None else round(value, 2) for key, value in figures.items()}


def share(flags: Any) -> float | None:
    """Of those whom a rule flags; None by a rule that flags nobody, or of nobody."""
    found = [flag for flag in flags if flag is not None]
    return 100 * statistics.fmean(found) if found else None


def add_row(path: Path, row: Row) -> None:
    """Written whole, while no other run of the plan writes."""
    with (RUNS / f"{path.stem}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        plan = json.loads(path.read_text())
        plan["rows"] = sorted([*plan["rows"], row], key=lambda own: (own["part"], own["run"]))
        write_whole(path, as_text(plan))


def as_text(plan: dict[str, Any]) -> str:
    """A line for each row and part, so that a change is seen as what it is."""
    parts = [f"    {json.dumps(key)}: {json.dumps(own)}" for key, own in plan["parts"].items()]
    rows = [f"    {json.dumps(row)}" for row in plan["rows"]]
    head = [f"  {json.dumps(k)}: {json.dumps(v)}," for k, v in plan.items() if k not in OWN_LINES]
    text = ["{", *head, '  "parts": {', ",\n".join(parts), "  },", '  "rows": [']
    return "\n".join([*text, *([",\n".join(rows)] if rows else []), "  ]", "}", ""])


OWN_LINES = ("parts", "rows")

if __name__ == "__main__":
    prepare_process()
    sys.exit(ending(lambda: main(sys.argv[1:])))
