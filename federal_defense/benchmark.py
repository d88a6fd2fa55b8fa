"""Every defence in every setting, as one table and one figure.

    python -m federal_defense.benchmark --config configs/defence_benchmark.json

Each cell is a run of main.py in a folder of its own; called again, it goes on where it stopped.
Rules that need the number of attackers are told the true one.
"""

from __future__ import annotations

import json
import math
import statistics
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from extra_utils.config import AttackConfig, Config, DefenseConfig
from extra_utils.config_check import Count, CountOrZero, Fraction, check_value
from extra_utils.config_reader import check_known, parse_arguments, read_json
from extra_utils.errors import ENDINGS, ConfigError, RunFailed, report
from extra_utils.files import write_whole
from extra_utils.metrics import SUMMARY_ROUNDS, Row
from extra_utils.metrics_reader import read_metrics
from federal_defense.rules import DEFENSES

MAIN = Path(__file__).parent.parent / "main.py"
KEYS = {"comment": str, "base": dict, "attack": dict, "fractions": list[Fraction],
        "partitions": list[str], "seeds": list[CountOrZero], "defenses": list[str],
        "output_dir": str}  # fmt: skip
OPTIONAL = ("comment", "defenses")
COLUMNS = {
    "accuracy": "accuracy %",
    "source_recall": "source recall %",
    "attack_success_rate": "attack success %",
    "recall": "attackers found %",
    "precision": "flags that are right %",
    "flagged": "honest clients flagged %",
}


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


def is_done(folder: Path) -> bool:
    """Whether all is written; the samples are a run's last picture."""
    return (folder / "model.pth").is_file() and (folder / "samples.png").is_file()


def figures_of(folder: Path) -> dict[str, float | None]:
    """A run's figures over its last rounds, by column."""
    rows, _ = read_metrics(folder)
    (summary,) = [row for row in rows if row["kind"] == "summary"]
    clients = [row for row in rows if row["kind"] == "client"]
    last = max(row["round"] for row in clients) - SUMMARY_ROUNDS
    honest = [row for row in clients if row["round"] > last and not row["attacker"]]
    flags = honest and honest[0]["flagged"] is not None
    flagged = share_flagged(honest) if flags else None
    found = {key: summary[key] for key in list(COLUMNS)[:3]}
    return {**found, **summary["detection"], "flagged": flagged}


def share_flagged(rows: list[Row]) -> float:
    """Percent."""
    return 100 * statistics.fmean(bool(row["flagged"]) for row in rows)


def mean_of(values: list[float | None]) -> float | None:
    numbers = [value for value in values if value is not None]
    return statistics.fmean(numbers) if numbers else None


Results = dict[tuple[str, float, str], dict[str, float | None]]


def collect(plan: Plan) -> Results:
    """The mean over the seeds that are done, by setting and rule."""
    found: dict[tuple[str, float, str], list[dict[str, float | None]]] = {}
    for cell in plan.cells():
        folder = plan.output_dir / cell.name
        if is_done(folder):
            found.setdefault(cell[:3], []).append(figures_of(folder))
    return {
        key: {column: mean_of([one[column] for one in runs]) for column in COLUMNS}
        for key, runs in found.items()
    }


def table(plan: Plan, results: Results) -> str:
    """Markdown, one table for each setting."""
    parts = [label(plan)]
    for partition in plan.partitions:
        for fraction in plan.fractions:
            head = [f"{partition}, {100 * fraction:g} % attackers", *COLUMNS.values()]
            lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
            for defense in plan.defenses:
                figures = results.get((partition, fraction, defense))
                if figures is not None:
                    cells = ["-" if v is None else f"{v:.1f}" for v in figures.values()]
                    lines.append(f"| `{defense}` | {' | '.join(cells)} |")
            parts.append("\n".join(lines))
    return "\n\n".join(parts)


def label(plan: Plan) -> str:
    """The exact setting."""
    settings = Config(
        **{**plan.base, "attack": AttackConfig(name="-"), "defense": DefenseConfig(name="-")}
    )
    images = f"{settings.num_train:,}" if settings.num_train else "all"
    return (
        f"{settings.type}, {settings.model_name or 'net'}, {settings.num_clients} clients, "
        f"{images} training images, {settings.global_epochs} rounds x {settings.local_epochs} "
        f"epochs, batch {settings.batch_size}, Adam {settings.lr:g}, Dirichlet alpha "
        f"{settings.alpha:g}, {plan.attack}; mean of the last {SUMMARY_ROUNDS} rounds over seeds "
        f"{plan.seeds}; krum, multi_krum and trimmed_mean are told the number of attackers."
    )


def draw(plan: Plan, results: Results) -> Path:
    """Source recall against accuracy, a panel for each attacked setting."""
    from matplotlib.figure import Figure

    from extra_utils.figures import save

    fractions = [fraction for fraction in plan.fractions if fraction]
    rows, columns = len(plan.partitions), max(len(fractions), 1)
    figure = Figure(figsize=(6 * columns, 4.5 * rows))
    for row, partition in enumerate(plan.partitions):
        for column, fraction in enumerate(fractions):
            axes = figure.add_subplot(rows, columns, row * columns + column + 1)
            for number, defense in enumerate(plan.defenses):
                figures = results.get((partition, fraction, defense))
                if figures is None or figures["source_recall"] is None:
                    continue
                x, y = figures["source_recall"], figures["accuracy"] or math.nan
                axes.plot(x, y, "o" if number % 2 else "s", color=f"C{number % 10}")
                axes.annotate(
                    defense, (x, y), fontsize=8, xytext=(4, 3), textcoords="offset points"
                )
            axes.set(xlabel="source recall (%)", ylabel="accuracy (%)",
                     title=f"{partition}, {100 * fraction:g} % attackers")  # fmt: skip
            axes.grid(alpha=0.3)
    path = plan.output_dir / "benchmark.png"
    save(figure, path)
    return path


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
