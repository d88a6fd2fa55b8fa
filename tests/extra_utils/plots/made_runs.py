"""Run folders made by hand, for pictures of every size; no run is needed to look at them.

python -m tests.extra_utils.plots.made_runs FOLDER    # makes and draws them all
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from extra_utils.plots.comparison import compare_runs
from extra_utils.plots.draw import draw_run

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
LONG = [f"Corn_(maize)___Cercospora_leaf_spot Gray_leaf_spot_{i}" + "_wide" * i for i in range(8)]
FROG = "青蛙和它们的很多很多很多很多很多很多很多很多亲戚"
CHINESE = ["飞机", "汽车", "鸟", "猫", "鹿", "狗", FROG, "马", "船", "卡车"]
HIEROGLYPHS, SCRIPTS = "𓀀𓀁 owl", "ไทย हिन्दी ﷺ"
STRANGE = ["$x^2$", "a\nb\t", HIEROGLYPHS, "WWWW" * 14, "<b>&amp;", SCRIPTS, " ", "\\frac{", "😀"]


@dataclass(frozen=True)
class Made:
    """The size of a run, and what its names are like."""

    clients: int = 3
    rounds: int = 10
    classes: tuple[str, ...] = tuple(CIFAR)
    dataset: str = "CIFAR-10"
    name: str = "cifar"
    attackers: tuple[int, ...] = (2,)
    rule: str = "class_mean"
    points: int = 10
    seed: int = 0
    ended: bool = True


CASES = {
    "usual": Made(),
    "1-client": Made(clients=1, attackers=(), rule="mean", dataset="synthetic images (SYNTHETIC)"),
    "10-clients": Made(clients=10, attackers=(2, 5, 7, 8)),
    "100-clients": Made(clients=100, attackers=tuple(range(0, 100, 3)), points=2),
    "1-round": Made(rounds=1, points=1),
    "300-rounds": Made(clients=10, rounds=300, points=3),
    "2-classes": Made(classes=("cat", "dog"), attackers=(0,)),
    "2-classes-100-clients": Made(100, classes=("no", "yes"), attackers=(7, 8, 90), points=0),
    "15-classes-20-clients": Made(20, classes=tuple(f"class number {i}" for i in range(15))),
    "40-classes-40-clients": Made(40, classes=tuple(f"pattern {i}" for i in range(40)), points=1),
    "100-classes": Made(classes=tuple(f"class {i}" for i in range(100)), dataset="CIFAR-100"),
    "100-classes-100-clients": Made(100, classes=tuple(map(str, range(100))), attackers=(9,)),
    "long-names": Made(classes=tuple(LONG), name="a_long_name_" * 5, dataset="plants " * 9),
    "wide-names": Made(classes=("W" * 60, "M" * 59), name="W" * 60, dataset="@" * 60),
    "chinese-names": Made(classes=tuple(CHINESE), name="我的实验", dataset="图像 (SYNTHETIC)"),
    "strange-names": Made(classes=tuple(STRANGE), name="𓀀 $x_$", dataset="\uff41\u202eb"),
    "not-ended": Made(rounds=2, ended=False),
    "not-begun": Made(rounds=-1, ended=False),
}


def make_run(folder: Path, made: Made) -> Path:
    """Writes config.json and metrics.jsonl; the attack's class is recognised less and less."""
    folder.mkdir(parents=True)
    attack = {"name": "label_flip", "clients": made.attackers, "source": 1, "target": 0}
    config = {"name": made.name, "seed": made.seed, "attack": attack if made.attackers else None}
    config |= {"defense": {"name": made.rule}, "global_epochs": max(made.rounds, 1)}
    (folder / "config.json").write_text(json.dumps(config))
    lines = [json.dumps(row) + "\n" for row in rows_of(made)]
    (folder / "metrics.jsonl").write_text("".join(lines))
    return folder


def rows_of(made: Made) -> Iterator[dict[str, Any]]:
    random, size = np.random.default_rng(made.seed), len(made.classes)
    counts = random.integers(0, 900, (made.clients, size)).tolist()
    run = {"dataset": made.dataset, "synthetic": "SYNTHETIC" in made.dataset}
    yield {"kind": "run", **run, "class_names": made.classes, "class_counts": counts}
    for number in range(made.rounds + 1):
        for client in range(made.clients if number else 0):
            yield from client_rows(made, number, client, random)
        yield {"kind": "round", "round": number, **rates(made, number)}
    if made.ended:
        matrix = (random.integers(0, 40, (size, size)) + 600 * np.eye(size, dtype=int)).tolist()
        yield {"kind": "summary", **rates(made, made.rounds), "confusion_matrix": matrix}


def client_rows(
    made: Made, number: int, client: int, random: np.random.Generator
) -> Iterator[dict[str, Any]]:
    own: dict[str, Any] = {"round": number, "client": client}
    is_attacker = client in made.attackers
    for step in range(made.points):
        level = 70 * (1 - 0.8 ** (number + step / made.points)) - 8 * is_attacker
        value = float(np.clip(level + random.normal(0, 2), 0, 100))
        yield {
            "kind": "point",
            **own,
            "step": step + 1,
            "accuracy": value,
            "loss": 2.4 - value / 50,
        }
    means = random.normal(0, 0.02, len(made.classes)) + 0.2 * is_attacker
    flagged = None if made.rule == "mean" else bool(is_attacker and random.random() < 0.8)
    marks = {"attacker": is_attacker, "flagged": flagged}
    yield {"kind": "client", **own, "class_mean": means.tolist(), **marks}


def rates(made: Made, number: int) -> dict[str, float | None]:
    grown = 1 - 0.8**number
    attack = {"source_recall": 60 * grown + 1, "attack_success_rate": 30 * grown**2}
    own = attack if made.attackers else dict.fromkeys(attack)
    accuracy = 10 + (59 + len(made.rule) % 7) * grown + made.seed
    return {"accuracy": accuracy, "loss": 2.3 - 1.4 * grown, **own}


def make_group(folder: Path) -> list[Path]:
    """Seeds of three settings, to be compared."""
    settings = {"mean": Made(rule="mean"), "class_mean": Made(), "krum": Made(rule="krum")}
    return [
        make_run(folder / f"{name}-{seed}", replace(made, name=f"cifar, {name}", seed=7 * seed))
        for name, made in settings.items()
        for seed in (0, 1, 2)
    ]


def main(place: Path) -> None:
    for name, made in CASES.items():
        draw_run(make_run(place / name, made))
    compare_runs(make_group(place / "compared"))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
