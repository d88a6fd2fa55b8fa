"""The evidence: its runner goes on where it stopped, and prose and figures cannot part."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extra_utils.config.reader import Arguments
from extra_utils.config.sweep import read_sweep
from tests.benchmarks.evidence import as_text
from tests.benchmarks.evidence_answers import cell_of
from tests.benchmarks.evidence_page import PAGES, TABLES, filled
from tests.benchmarks.evidence_rows import FOLDER, pair_of, rows_of, select
from tests.benchmarks.evidence_tables import SETTING, paired, upper_bound
from tests.helpers import ROOT

PLANS = sorted(FOLDER.glob("*.json"))


def read(path: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return plan


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_every_row_is_of_a_run_of_its_plan_and_stands_once(path: Path, tmp_path: Path) -> None:
    plan = read(path)
    assert as_text(plan) == path.read_text("utf-8")
    names = set()
    for title, part in plan["parts"].items():
        file = tmp_path / "plan.json"
        file.write_text(json.dumps(plan["base"] | part))
        sweep = read_sweep(Arguments(config=str(file)))
        assert sweep is not None
        names |= {(title, run.name) for run in sweep.combinations}
    found = [(row["part"], row["run"]) for row in plan["rows"]]
    assert len(set(found)) == len(found)
    assert set(found) <= names


def test_the_pages_tables_are_those_of_the_rows() -> None:
    pages = [page.read_text("utf-8") for page in PAGES]
    assert [filled(page) for page in pages] == pages
    assert sum(page.count("<!-- table: ") for page in pages) == len(TABLES)


@pytest.mark.slow
def test_a_plan_goes_on_with_the_runs_that_have_no_row(tmp_path: Path) -> None:
    base = {"type": "synthetic", "data_path": str(tmp_path / "data"), "num_train": 200,
            "num_test": 50, "num_clients": 5, "global_epochs": 1, "local_epochs": 1}  # fmt: skip
    flip = {"name": "label_flip", "clients": [1]}
    parts = {
        "one": {"attack": flip, "sweep": {"seed": [0, 1], "defense.name": ["mean", "lfighter"]}}
    }
    path = tmp_path / "small.json"
    path.write_text(as_text({"what": "a test", "base": base, "parts": parts, "rows": []}))

    def carry_out() -> str:
        command = [sys.executable, "-m", "tests.benchmarks.evidence", str(path)]
        env = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "one: 4 of 4 runs to do" in carry_out()
    rows = read(path)["rows"]
    assert [row["run"] for row in rows] == sorted(
        f"defense={rule},seed={seed}" for rule in ("mean", "lfighter") for seed in (0, 1)
    )
    assert all(0 <= row["source_recall"] <= 100 for row in rows)
    assert [row["found"] is None for row in rows] == [row["defense.name"] == "mean" for row in rows]
    path.write_text(as_text(read(path) | {"rows": rows[1:]}))
    assert "one: 1 of 4 runs to do" in carry_out()
    assert read(path)["rows"] == rows
    assert "one: 0 of 4 runs to do" in carry_out()


def test_the_bound_of_a_share_is_clopper_and_pearsons() -> None:
    assert upper_bound(0, 20) == pytest.approx(1 - 0.05 ** (1 / 20))
    assert upper_bound(1, 10) == pytest.approx(0.3942, abs=1e-4)


def mean_of(plan: str, key: str, **wanted: Any) -> str:
    """The mean over a plan's rows with these values, as a page says it."""
    values = [row[key] for row in select(rows_of(plan), **wanted) if row.get(key) is not None]
    assert values, (plan, key, wanted)
    return f"{statistics.fmean(values):.1f}"


def recall(rule: str, partition: str) -> str:
    """Of 5 -> 3 by 40 %."""
    wanted = {"part": "published pairs", "partition": partition}
    rows = [row for row in select(rows_of("flips"), defense=rule, **wanted)
            if pair_of(row) == "5 -> 3"]  # fmt: skip
    assert len(rows) == 5
    return f"{statistics.fmean(row['source_recall'] for row in rows):.1f}"


def hidden(rule: str, partition: str, hide: str, key: str = "source_recall") -> str:
    return mean_of("hidden", key, type="cifar", attack_fraction=0.4, defense=rule,
                   partition=partition, attack_hide=hide)  # fmt: skip


def figures() -> dict[str, str]:
    """What the sentences below name."""
    few = {"part": "CIFAR-10 5->3, 20 %", "partition": "dirichlet"}
    found = {
        f"{rule}_{partition}": recall(rule, partition)
        for rule in ("mean", "lfighter", "class_mean", "class_rows", "oracle")
        for partition in ("iid", "dirichlet")
    }
    for hide in ("class_mean", "rows"):
        for rule in ("mean", "lfighter", "class_mean", "class_rows"):
            found[f"{hide}_{rule}"] = hidden(rule, "iid", hide)
            found[f"{hide}_{rule}_unequal"] = hidden(rule, "dirichlet", hide)
    rows = select(rows_of("hidden"), **few, attack_hide=("None", "null"))
    found["few"] = f"{statistics.fmean(row['found'] for row in rows):.1f}"
    found["few_seeds"] = str(sum(row["found"] > 0 for row in rows))
    found["success"] = hidden("mean", "iid", "rows", "attack_success_rate")
    found["success_hidden"] = hidden("mean", "iid", "class_mean", "attack_success_rate")
    return found | of_pairs() | of_hidden() | of_all_attacks()


def of_pairs() -> dict[str, str]:
    """A's unequal clients: whom the rules find, and paired differences of source recall."""
    found = {}
    rules = ("class_rows", "class_mean", "lfighter")
    for name in ("drawn", "published"):
        rows = select(rows_of("flips"), part=f"{name} pairs", partition="dirichlet")
        ours, known, theirs = own = [select(rows, defense=rule) for rule in rules]
        found[f"more_{name}"] = paired(ours, known, "source_recall", SETTING)
        found[f"ahead_{name}"] = paired(ours, theirs, "source_recall", SETTING)
        found[f"runs_{name}"] = str(len(ours))
        for rule, some in zip(rules, own, strict=True):
            found[f"none_{rule}_{name}"] = str(sum(row["found"] == 0 for row in some))
            for key in ("found", "honest_flagged"):
                values = [row[key] for row in some]
                found[f"{key}_{rule}_{name}"] = f"{statistics.fmean(values):.1f}"
                found[f"least_{key}_{rule}_{name}"] = f"{min(values):.1f}"
                found[f"most_{key}_{rule}_{name}"] = f"{max(values):.1f}"
    return found


def of_hidden() -> dict[str, str]:
    """Whom `class_rows` finds of 40 % that hide from `class_mean`."""
    rows = select(rows_of("hidden"), type="cifar", attack_fraction=0.4, defense="class_rows",
                  attack_hide="class_mean")  # fmt: skip
    equal, unequal = (select(rows, partition=name) for name in ("iid", "dirichlet"))
    assert {row["found"] for row in equal} == {100.0}
    groups = {"hidden_found": unequal, "new_found": select(unequal, seed=(3, 4)),
              "new_found_iid": select(equal, seed=(3, 4))}  # fmt: skip
    return {name: f"{statistics.fmean(row['found'] for row in own):.1f}"
            for name, own in groups.items()}  # fmt: skip


def of_all_attacks() -> dict[str, str]:
    """C's random labels, and where `class_rows` is more than 3 points below `lfighter` in B."""
    (row,) = select(rows_of("worst_case"), part="random label", partition="iid",
                    defense="class_rows")  # fmt: skip
    assert row["found"] == 0
    rows = [row for row in rows_of("fractions") if "no attack" not in row["part"]]
    by_rule = {rule: {cell_of(row): row for row in select(rows, defense=rule)}
               for rule in ("class_rows", "lfighter")}  # fmt: skip
    pairs = [(own, by_rule["lfighter"][place]) for place, own in by_rule["class_rows"].items()]
    lost = [own for own, other in pairs if own["source_recall"] < other["source_recall"] - 3]
    counts = {"cells": len(pairs), "fallen": len(lost)}
    counts["blind"] = sum(own["found"] == 0 for own in lost)
    figures = {name: str(number) for name, number in counts.items()}
    return figures | {"random_flagged": f"{row['honest_flagged']:.1f}"}


# by page sentences, their figures left open
CLAIMS = [
    (name, sentence)
    for name, sentences in read(ROOT / "tests" / "evidence_claims.json").items()
    for sentence in sentences
]


@pytest.mark.parametrize(("name", "sentence"), CLAIMS)
def test_what_the_pages_claim_is_what_the_rows_say(name: str, sentence: str) -> None:
    text = " ".join((ROOT / name).read_text("utf-8").split())
    assert sentence.format(**figures()) in text, sentence.format(**figures())
