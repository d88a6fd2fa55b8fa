"""Sweeps as a user starts them: every combination a run, side by side, then one table."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.helpers import (
    ROOT,
    read_rows,
    rows_without_times,
    run_main,
    start_main,
    write_config,
)

NAMES = [f"defense={rule},seed={seed}" for seed in (0, 1) for rule in ("mean", "median")]
Swept = tuple[Path, str, Path]  # a folder, what was printed, the config
AXES = ["--seed=0,1", "--defense.name=mean,median"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory, data_path: Path) -> Swept:
    """A finished sweep's folder, what it printed, and its config."""
    folder = tmp_path_factory.mktemp("sweep")
    config = write_config(
        folder, data_path=str(data_path), output_dir=str(folder / "runs"), global_epochs=2
    )
    done = run_main(f"--config={config}", *AXES)
    assert done.returncode == 0, done.stderr
    (place,) = (folder / "runs").iterdir()
    return place, done.stdout, config


def stamps(folder: Path) -> dict[str, int]:
    """When each run's model was written."""
    return {name: (folder / name / "model.pth").stat().st_mtime_ns for name in NAMES}


def test_every_combination_is_a_run_with_the_bytes_that_it_has_alone(
    sweep: Swept, tmp_path: Path
) -> None:
    folder, said, config = sweep
    own = ["comparison.json", "comparison.md", "comparison.png", "report.html", "sweep.json"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*NAMES, *own])
    assert sorted(re.findall(r"^run \d/4  (\S+)  accuracy", said, re.MULTILINE)) == sorted(NAMES)
    assert re.findall(r"^run (\d)/4", said, re.MULTILINE) == list("1234")
    lines = said.splitlines()
    assert lines[-2:] == [f"report: {folder}/report.html", f"run folder: {folder}"]
    assert (folder / "comparison.md").read_text() in said

    alone = tmp_path / "alone"
    done = run_main(f"--config={config}", f"--run_dir={alone}", "--seed=1", "--defense.name=median")
    assert done.returncode == 0, done.stderr
    swept = folder / NAMES[3]
    assert (swept / "model.pth").read_bytes() == (alone / "model.pth").read_bytes()
    assert rows_without_times(swept) == rows_without_times(alone)
    assert {path.name for path in swept.iterdir()} == {path.name for path in alone.iterdir()}


def test_the_table_is_of_the_runs_with_differences_seed_by_seed(
    sweep: Swept,
) -> None:
    folder, *_ = sweep
    found = json.loads((folder / "comparison.json").read_text())
    assert found["baseline"] == "defense=mean"
    mean, median = found["rows"]
    ends = {name: read_rows(folder / name, "summary")[0]["accuracy"] for name in NAMES}
    by_rule = [[ends[name] for name in NAMES if rule in name] for rule in ("=mean", "=median")]
    for row, values in zip((mean, median), by_rule, strict=True):
        assert row["accuracy"]["mean"] == pytest.approx(sum(values) / 2)
        assert row["accuracy"]["n"] == 2
    pairs = [ends[NAMES[1]] - ends[NAMES[0]], ends[NAMES[3]] - ends[NAMES[2]]]
    assert median["less"]["accuracy"]["mean"] == pytest.approx(sum(pairs) / 2)
    half = 12.706 * abs(pairs[0] - pairs[1]) / 2  # t x deviation / sqrt(2)
    assert median["less"]["accuracy"]["half"] == pytest.approx(half, rel=1e-4)
    assert mean["less"]["accuracy"] is None


def test_called_again_it_does_what_is_not_done(sweep: Swept, tmp_path: Path) -> None:
    folder, said, config = sweep
    before = stamps(folder)
    again = run_main(f"--config={config}", *AXES)
    assert again.returncode == 0, again.stderr
    assert again.stdout.splitlines()[-1] == said.splitlines()[-1]
    assert not re.search(r"^run \d", again.stdout, re.MULTILINE)
    assert stamps(folder) == before

    copy = shutil.copytree(folder, tmp_path / "copy")
    old = {name: (copy / name / "model.pth").read_bytes() for name in NAMES}
    shutil.rmtree(copy / NAMES[1])
    (copy / NAMES[2] / "model.pth").unlink()
    done = run_main(f"--resume={copy}", "--baseline=defense.name=median", "--jobs=1")
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^run (\d/4)  (\S+)", done.stdout, re.MULTILINE) == [
        ("3/4", NAMES[1]),
        ("4/4", NAMES[2]),
    ]
    assert {name: (copy / name / "model.pth").read_bytes() for name in NAMES} == old
    assert json.loads((copy / "comparison.json").read_text())["baseline"] == "defense=median"

    longer = run_main(f"--resume={copy}", "--global_epochs=3")
    assert longer.returncode == 0, longer.stderr
    for name in NAMES:
        assert [row["round"] for row in read_rows(copy / name, "round")] == [0, 1, 2, 3]


def test_runs_of_other_sources_are_named(sweep: Swept, tmp_path: Path) -> None:
    copy = shutil.copytree(sweep[0], tmp_path / "copy")
    path = copy / NAMES[2] / "metrics.jsonl"
    first, *rest = path.read_text().splitlines()
    row = json.loads(first)
    row["versions"]["torch"] = "1.0"
    path.write_text("\n".join([json.dumps(row), *rest]) + "\n")
    done = run_main(f"--resume={copy}")
    assert done.returncode == 0, done.stderr
    note = f"note: made with other sources or versions: {NAMES[2]} (torch 1.0)\n"
    assert note in done.stdout


def test_a_run_that_fails_does_not_end_the_others(data_path: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data_path=str(data_path))
    place = tmp_path / "s"
    done = run_main(f"--config={config}", f"--run_dir={place}", "--lr=1000000,0.001", "--jobs=1")
    assert done.returncode == 1
    assert re.search(r"^run 1/2  lr=1000000  failed: rank 0 .* diverged", done.stdout, re.M)
    assert re.search(r"^run 2/2  lr=0.001  accuracy", done.stdout, re.M)
    assert "not run to its end: lr=1000000" in (place / "comparison.md").read_text()
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("error: lr=1000000: rank 0 (client ")
    assert last == f"resume with: python {ROOT / 'main.py'} --resume {place}"
    again = run_main(f"--resume={place}")
    assert again.returncode == 1
    assert re.findall(r"^run (\d/\d)", again.stdout, re.M) == ["2/2"]


def test_it_goes_on_with_the_same_bytes_after_ctrl_c(sweep: Swept, tmp_path: Path) -> None:
    folder, _, config = sweep
    place = tmp_path / "s"
    options = [f"--config={config}", f"--run_dir={place}", *AXES]
    with start_main(*options, start_new_session=True) as process:
        while not list(place.glob("*/metrics.jsonl")) and process.poll() is None:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    hint = f"error: interrupted by Ctrl-C; resume with: python main.py --resume {place}\n"
    assert err.endswith(hint)
    assert "Traceback" not in err
    assert run_main(f"--resume={place}").returncode == 0
    for name in NAMES:
        assert rows_without_times(place / name) == rows_without_times(folder / name)
        model = (place / name / "model.pth").read_bytes()
        assert model == (folder / name / "model.pth").read_bytes()


WRONG = {
    "a value": (["--defense.name=mean,men"], 'defense.name: got "men", must be one of'),
    "a rule between keys": (["--clients_per_round=1,9"], "clients_per_round: got 9, must be at"),
    "a bound": (["--defense.name=mean,krum"], "defense: krum needs n >= 2f+3"),
    "a class": (
        ["--attack.name=label_flip", "--attack.target=4,99"],
        "attack.target: got 99, must be a class of the data",
    ),
    "a size": (["--num_train=60,60000"], "num_train: got 60000, must be at most"),
    "a baseline": (["--seed=0,1", "--baseline=lr=2"], 'baseline: got "lr=2", goes with keys'),
    "one run twice": (
        ["--optimizer.name=adam,sgd", "--optimizer.momentum=0.1,0.9"],
        "optimizer=adam,optimizer.momentum=0.1 and optimizer=adam,optimizer.momentum=0.9 are the",
    ),
    "jobs": (["--seed=0,1", "--jobs=0"], "jobs: got 0, must be a whole number from 1"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_in_one_run_is_one_line_before_any_starts(
    options: list[str], message: str, data_path: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, data_path=str(data_path))
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 's'}", *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: command line: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "s").exists()


def test_a_folder_of_something_else_is_left_alone(sweep: Swept, tmp_path: Path) -> None:
    folder, _, config = sweep
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 'mine'}", *AXES)
    assert done.returncode == 2
    assert "which holds something else than a sweep, must be a new folder" in done.stderr
    stored = (folder / "sweep.json").read_bytes()
    other = run_main(f"--config={config}", f"--run_dir={folder}", *AXES, "--lr=0.5")
    assert other.returncode == 2
    assert re.search(r"config.json: is of another run: lr: was 0\.\d+, is 0.5; ", other.stderr)
    fewer = run_main(f"--config={config}", f"--run_dir={folder}", *AXES, "--global_epochs=1")
    assert fewer.returncode == 2
    assert "global_epochs: was 2, is 1" in fewer.stderr
    assert (folder / "sweep.json").read_bytes() == stored


def test_under_torchrun_there_is_no_sweep(
    data_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchrun = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    config = write_config(tmp_path, data_path=str(data_path))
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 's'}", *AXES)
    assert done.returncode == 2
    assert done.stderr == "error: sweep: goes without torchrun, it starts its runs by itself\n"


@pytest.mark.slow
def test_two_sweeps_in_one_folder_do_not_mix(sweep: Swept) -> None:
    from extra_utils.basics.files import used_alone

    with used_alone(sweep[0]):
        done = run_main(f"--resume={sweep[0]}")
    assert done.returncode == 2
    assert done.stderr == f"error: {sweep[0]}: another run is at work in it\n"
