"""The plan of a sweep's runs: on how many processes, what is said once, where they lie."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import RunFailed, say
from extra_utils.config.keys import Config, GivenConfig
from extra_utils.config.reader import Arguments, Places, parse_arguments
from extra_utils.config.rules import resolve
from extra_utils.config.sweep import Sweep, read_sweep
from extra_utils.run.sweep import Planned, carry_out_all, plan_runs, sweep_folder
from federal_defense.rules.table import TABLES


def check(given: GivenConfig, _: Places) -> Config:
    say("note: of all")
    if given.seed:
        say(f"note: of seed {given.seed}")
    return resolve(given)


def prepare(_config: Config, _places: Places) -> Path:
    return Path("data")


def plan(folder: Path, *options: str, **keys: Any) -> tuple[Sweep, list[Planned]]:
    path = folder / "c.json"
    path.write_text(json.dumps({"type": "synthetic", "output_dir": str(folder / "runs")} | keys))
    sweep = read_sweep(parse_arguments([f"--config={path}", *options]))
    assert sweep is not None
    return sweep, plan_runs(sweep, TABLES, check, prepare)


def test_a_run_has_one_process_and_the_clients_of_its_config(tmp_path: Path) -> None:
    _, runs = plan(tmp_path, "--seed=0,1", world_size=4)
    assert [(run.config.world_size, run.config.num_clients) for run in runs] == 2 * [(1, 4)]
    step_together = {"syncBN": True, "model_name": "resnet18", "world_size": 4}
    _, runs = plan(tmp_path, "--seed=0,1", **step_together)
    assert [run.config.world_size for run in runs] == [4, 4]


def test_what_some_runs_say_is_said_once_with_their_number(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(tmp_path, "--seed=0,1,2", "--lr=0.1,0.2")
    assert capsys.readouterr().out.splitlines() == [
        "note: of all",
        "note: of seed 1 (in 2 of 6 runs)",
        "note: of seed 2 (in 2 of 6 runs)",
    ]


def test_the_same_settings_have_the_same_folder_and_others_another(tmp_path: Path) -> None:
    def place(*options: str, **keys: Any) -> Path:
        with sweep_folder(*plan(tmp_path, *options, **keys), Arguments()) as folder:
            return folder

    first = place("--seed=0,1")
    assert first.parent == tmp_path / "runs"
    assert first.name.startswith("c-sweep-")
    same = [place("--seed=0,1", "--timeout_s=9"), place(sweep={"seed": [0, 1]}, world_size=3)]
    assert same == [first, first]
    other = [place("--seed=0,2"), place("--seed=0,1", "--lr=0.5"), place("--seed=0,1,2")]
    other.append(place("--seed=0,1", "--global_epochs=11"))
    assert len({first, *other}) == 5


def test_the_failed_runs_are_named_in_the_order_of_the_sweep(tmp_path: Path) -> None:
    def fail(config: Config, _data: Path, _how: Arguments) -> None:
        time.sleep((2 - config.seed) / 4)  # the first is the last to end
        raise RunFailed(f"of seed {config.seed}")

    swept, runs = plan(tmp_path, "--seed=0,1,2", "--jobs=3")
    failures = carry_out_all(swept, runs, tmp_path / "s", fail)
    assert failures == [f"seed={seed}: of seed {seed}" for seed in range(3)]
