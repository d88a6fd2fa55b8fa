"""What `class_mean` and `class_rows` see in recorded rounds: docs/class_mean_log.md, 2026-11-29.

    python -m tests.benchmarks.recorded_rows --folder runs/recorded [--only NAME ...]

Records the last layer's differences of every round (attackers kept in the model, or left out of
it), where the folder does not have them yet, and applies the rules to them, remembering as in a
run; then the same to clients that are drawn. CIFAR-10 is read from data/, Fashion-MNIST from where
Debian's package dataset-fashion-mnist has it.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from extra_utils.aggregation.messages import Aggregate, Array, State, Updates, without
from extra_utils.basics.errors import prepare_process
from federal_defense import class_mean
from federal_defense.rules.output_layer import OF_WEIGHTS, rows_evidence
from federal_defense.rules.table import DEFENSES
from main import main as run_main

KEYS = ["--num_clients=20", "--world_size=1", "--local_epochs=1", "--augment=false",
        "--eval_points=0", "--global_epochs=10", "--num_train=20000", "--num_test=2000",
        "--checkpoint_every=0"]  # fmt: skip
DATA = {
    "cifar": ["--config=configs/cifar_attacked.json"],
    "fashion": ["--config=configs/fashion_mnist.json",
                "--data_path=/usr/share/datasets/fashion-mnist", "--attack.name=label_flip"],
}  # fmt: skip
Recorded = list[dict[str, Array]]
LAST = 3  # rounds, of which the figures are means


def settings() -> Iterator[tuple[str, list[str]]]:
    """By name (data, share of attackers, alpha, how they hide) the keys of a run."""
    places = itertools.product(
        {"cifar": (5, 3), "fashion": (6, 0)}.items(),
        ("0", "0.2", "0.4"),
        ("iid", "1.0", "0.3", "0.1"),
        ("null", "class_mean", "norm"),
    )
    for (data, (source, target)), fraction, alpha, hide in places:
        part = ["--partition=dirichlet", f"--alpha={alpha}"]
        attack = {"source": source, "target": target, "fraction": fraction, "hide": hide}
        keys = [*DATA[data], *KEYS, *(["--partition=iid"] if alpha == "iid" else part), "--seed=7"]
        if fraction != "0" or hide == "null":
            name = f"{data} {fraction} {alpha} {hide}"
            yield name, [*keys, *(f"--attack.{key}={value}" for key, value in attack.items())]


def record(folder: Path, keys: list[str], *, is_oracle: bool) -> Recorded:
    """The rounds of one run, from the folder or made now."""

    def recorder(updates: Updates, state: State) -> Aggregate:
        """records what it is given"""
        number = int(state.get("round", np.zeros(1))[0]) + 1
        own: dict[str, Any] = {"layer": updates.output_layer(), "means": updates.class_means}
        np.savez(folder / f"{number}.npz", **own, bad=updates.is_attacker)
        nobody = np.zeros(len(updates.samples), dtype=bool)
        flags = updates.is_attacker if is_oracle else nobody
        return without(updates, flags, {"round": np.full(1, float(number))})

    if not (folder / "run").is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        DEFENSES["tolpegin"] = recorder  # in place of a rule that has no keys
        status = run_main([*keys, "--defense.name=tolpegin", f"--run_dir={folder / 'run'}"])
        assert status == 0, keys
    paths = sorted(folder.glob("*.npz"), key=lambda path: int(path.stem))
    return [dict(np.load(path)) for path in paths]


def scaled(layer: Array) -> Array:
    """Last layers [n, C, h + 1], brought to the median length."""
    lengths = np.linalg.norm(layer, axis=(1, 2), keepdims=True)
    whole: Array = layer * np.median(lengths) / lengths
    return whole


def of_both(now: dict[str, Array]) -> Array:
    """`class_rows` without its test of single weights."""
    against = class_mean.evidence(now["means"])
    return against if against.any() else rows_evidence(scaled(now["layer"]))


def of_all(now: dict[str, Array]) -> Array:
    """`class_rows`."""
    against = class_mean.evidence(-single_weights(now["layer"]), OF_WEIGHTS)
    return against if against.any() else of_both(now)


def single_weights(layer: Array) -> Array:
    """How far [n, C] the farthest weight of a row is from the clients' median."""
    apart = scaled(layer)
    far: Array = np.abs(apart - np.median(apart, axis=0)).max(axis=2)
    return far


def lengths_of(layer: Array) -> Array:
    """Of the rows [n, C], less the clients' median."""
    apart = scaled(layer)
    return np.linalg.norm(apart - np.median(apart, axis=0), axis=2)


def less_mean(layer: Array) -> Array:
    """The same of what a row's mean does not see."""
    apart = scaled(layer) - np.median(scaled(layer), axis=0)
    return np.linalg.norm(apart - apart.mean(axis=2, keepdims=True), axis=2)


def across(layer: Array) -> Array:
    """The same of what is not along the median row."""
    apart, middle = scaled(layer), np.median(scaled(layer), axis=0)
    along = middle / np.linalg.norm(middle, axis=1, keepdims=True)
    apart = apart - middle
    return np.linalg.norm(apart - (apart * along).sum(axis=2, keepdims=True) * along, axis=2)


MEASURES = {
    "single weight": single_weights,
    "less its mean": less_mean,
    "length": lengths_of,
    "across": across,
}
RULES: dict[str, Callable[[dict[str, Array]], Array]] = {
    "class_mean": lambda now: class_mean.evidence(now["means"]),
    "rows alone": lambda now: rows_evidence(scaled(now["layer"])),
    "without single weights": of_both,
    "class_rows": of_all,
}


def replay(rounds: Recorded, rule: Callable[..., Array], drawn: int, turns: int) -> str:
    """Attackers found / honest flagged, % of the last rounds; of some, ``drawn`` each turn."""
    generator, n = np.random.default_rng(0), len(rounds[0]["bad"])
    suspicion, found, wrong = np.zeros(n), list[float](), list[float]()
    for turn in range(turns):
        whole = rounds[turn % len(rounds)]
        own = np.sort(generator.choice(n, drawn, replace=False)) if drawn < n else np.arange(n)
        suspicion *= class_mean.MEMORY
        now = {key: values[own] for key, values in whole.items()}
        suspicion[own] += rule(now)
        flags, bad = class_mean.most_suspected(suspicion[own]), now["bad"].astype(bool)
        if turn >= turns - LAST * (1 if drawn == n else 5):
            found += [float(flags[bad].mean())] if bad.any() else []
            wrong += [float(flags[~bad].mean())] if not bad.all() else []
    hits = f"{100 * np.mean(found):.0f}" if found else "-"
    return f"{hits} / {100 * np.mean(wrong):.0f}"


def ratios(rounds: Recorded) -> list[str]:
    """By measure the widest class's spread by the median class's, from round 2 on: of the rows
    along their principal direction, then the others."""
    found: list[list[float]] = [[] for _ in range(1 + len(MEASURES))]
    for now in rounds[1:]:
        rows = np.moveaxis(scaled(now["layer"]), 1, 0)
        sizes = np.linalg.svd(rows - rows.mean(axis=1, keepdims=True), compute_uv=False)[:, 0]
        spreads = [sizes, *(far(now["layer"]).std(axis=0) for far in MEASURES.values())]
        for seen, spread in zip(found, spreads, strict=True):
            seen.append(float(spread.max() / np.median(spread)))
    return [f"{min(seen):.2f} - {max(seen):.2f}" for seen in found]


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("runs/recorded"))
    parser.add_argument("--only", nargs="*", help="settings by name")
    given = parser.parse_args(argv)
    print("| setting | rows |", " | ".join([*MEASURES, *RULES]), "| drawn 10 | drawn 5 |")
    for name, keys in settings():
        if given.only and name not in given.only:
            continue
        for is_oracle in (False, True) if " 0 " not in name else (False,):
            kind = "left out" if is_oracle else "kept"
            place = given.folder / f"{name} {kind}".replace(" ", "_")
            rounds = record(place, keys, is_oracle=is_oracle)
            figures: list[Any] = [replay(rounds, rule, 20, 10) for rule in RULES.values()]
            figures += [replay(rounds[2:], of_both, drawn, 300) for drawn in (10, 5)]
            print(f"| {name}, {kind} |", " | ".join([*ratios(rounds), *figures]), "|", flush=True)


if __name__ == "__main__":
    prepare_process()
    sys.exit(partial(main, sys.argv[1:])())
