"""The program as a user runs it, made tiny; on real ranks over gloo."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from extra_utils.config.keys import HINTS
from extra_utils.run.metrics import versions
from federal_defense.attacks.table import ATTACKS
from federal_defense.rules.table import DEFENSES
from tests.helpers import (
    ROOT,
    Row,
    one_now,
    read_rows,
    rows_without_times,
    run_command,
    run_main,
    start_main,
    write_config,
)

FILES = {
    "accuracy.png", "checkpoint.pth", "class_indices.json", "class_mean.png", "config.json",
    "confusion_matrix.png", "loss.png", "metrics.jsonl", "model.pth", "partition.png",
    "report.html", "samples.png",
}  # fmt: skip
FLIP = {"name": "label_flip", "clients": [2], "source": 1, "target": 4}


def test_a_finished_run_leaves_every_file_and_nothing_else(finished_run: Path) -> None:
    assert {path.name for path in finished_run.iterdir()} == FILES
    for path in finished_run.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    classes = json.loads((finished_run / "class_indices.json").read_text())
    assert classes["0"] == "pattern 0"
    assert len(classes) == 10


def test_metrics_are_complete(finished_run: Path) -> None:
    (run,) = read_rows(finished_run, "run")
    assert run["synthetic"] is True
    assert run["dataset"] == "SYNTHETIC images"
    assert (run["num_train"], run["num_test"], run["num_params"]) == (300, 100, 62_006)
    assert run["shard_sizes"] == [100, 100, 100]
    assert [row["round"] for row in read_rows(finished_run, "round")] == [0, 1, 2]
    points = read_rows(finished_run, "point")
    assert [(p["round"], p["client"], p["step"]) for p in points] == [
        (r, c, step) for r in (1, 2) for c in (0, 1, 2) for step in (1, 2)
    ]
    clients = read_rows(finished_run, "client")
    assert [row["attacker"] for row in clients] == 2 * [False, False, True]
    assert sum(row["weight"] for row in clients[:3]) == pytest.approx(1)
    assert all(len(row["class_mean"]) == 10 and row["flagged"] is None for row in clients)


def test_round_rows_hold_what_the_confusion_matrix_says(finished_run: Path) -> None:
    (summary,) = read_rows(finished_run, "summary")
    rounds = read_rows(finished_run, "round")
    matrix = torch.tensor(summary["confusion_matrix"])
    assert matrix.sum() == 100
    assert rounds[-1]["accuracy"] == int(matrix.diagonal().sum())
    assert rounds[-1]["source_recall"] == rounds[-1]["recall"][1] == 10 * int(matrix[1, 1])
    assert rounds[-1]["attack_success_rate"] == 10 * int(matrix[1, 4])
    assert summary["accuracy"] == (rounds[1]["accuracy"] + rounds[2]["accuracy"]) / 2
    for row in rounds:
        assert set(row["seconds"]) == {"train", "aggregate", "evaluate", "save"}


def test_model_and_checkpoint_load_without_pickle(finished_run: Path) -> None:
    model = torch.load(finished_run / "model.pth", weights_only=True)
    checkpoint = torch.load(finished_run / "checkpoint.pth", weights_only=True)
    assert list(model)[-2:] == ["fc3.weight", "fc3.bias"]
    assert checkpoint["round"] == 2
    assert all(torch.equal(model[name], checkpoint["model"][name]) for name in model)
    assert model["conv1.weight"].is_contiguous()


def test_two_runs_of_one_config_give_the_same_bytes(finished_run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    done = run_main("--config", str(finished_run / "config.json"), f"--run_dir={again}")
    assert done.returncode == 0, done.stderr
    assert (again / "model.pth").read_bytes() == (finished_run / "model.pth").read_bytes()
    assert rows_without_times(again) == rows_without_times(finished_run)
    assert (again / "config.json").read_bytes() == (finished_run / "config.json").read_bytes()


@pytest.mark.slow
def test_two_runs_at_once_do_not_disturb_each_other(finished_run: Path, tmp_path: Path) -> None:
    config = str(finished_run / "config.json")
    runs = [start_main("--config", config, f"--output_dir={tmp_path}") for _ in range(2)]
    outputs = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    folders = list(tmp_path.iterdir())
    assert len(folders) == 2
    for folder in folders:
        assert re.fullmatch(r"tiny-\d{8}-\d{6}(-2)?", folder.name)
        assert rows_without_times(folder) == rows_without_times(finished_run)


@pytest.mark.slow
def test_another_seed_gives_other_numbers(
    finished_run: Path, data_path: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, data_path=str(data_path), seed=1)
    assert run_main("--config", str(config), f"--run_dir={tmp_path / 'r'}").returncode == 0
    other = (tmp_path / "r" / "model.pth").read_bytes()
    assert other != (finished_run / "model.pth").read_bytes()


def test_the_readmes_command_works_without_data_and_network(tmp_path: Path) -> None:
    """On images made small, with the proxy variables pointing at a closed port."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"requirements\.txt && (python main\.py .*)", readme)[:1]
    words = shlex.split(command)
    assert words[:2] == ["python", "main.py"]
    blocked = dict(os.environ, https_proxy="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9")
    run_dir = tmp_path / "run"
    done = run_command(
        *words[2:], f"--data_path={tmp_path / 'data'}", f"--run_dir={run_dir}",
        "--num_train=90", "--num_test=20", "--global_epochs=1", "--eval_points=1", env=blocked,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC DATA: CIFAR-10 was not to be had" in done.stdout
    assert "Connection refused" in done.stdout
    assert done.stdout.splitlines()[-1] == f"run folder: {run_dir}"
    assert read_rows(run_dir, "run")[0]["synthetic"] is True
    assert len(read_rows(run_dir, "client")) == 3
    assert not list((tmp_path / "data").glob("[!.]*"))  # no half file of the download


def test_without_a_terminal_there_is_one_line_a_round(finished_run: Path, tmp_path: Path) -> None:
    done = run_main(
        f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path / 'r'}", "--attack=null",
        "--world_size=2", "--num_clients=2", "--clients_per_round=2",
    )  # fmt: skip
    lines = done.stdout.splitlines()
    assert [line.split("  ")[0] for line in lines[:-2]] == ["round 0/2", "round 1/2", "round 2/2"]
    assert all(re.search(r"accuracy \d+\.\d\d %  loss \d", line) for line in lines[:-2])
    assert lines[-2:] == [
        f"report: {tmp_path / 'r' / 'report.html'}",
        f"run folder: {tmp_path / 'r'}",
    ]
    assert "source recall" not in done.stdout
    assert read_rows(tmp_path / "r", "round")[1]["source_recall"] is None
    assert len(read_rows(tmp_path / "r", "point")) == 2 * 2 * 2


TERMINAL = """
import os, pty, shlex, sys
command = "stty cols 150 rows 40; exec " + shlex.join([sys.executable, "main.py", *sys.argv[1:]])
sys.exit(os.waitstatus_to_exitcode(pty.spawn(["sh", "-c", command])))
"""


def test_on_a_terminal_there_are_two_bars_and_no_lines(finished_run: Path, tmp_path: Path) -> None:
    options = [f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path / 'r'}"]
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL, *options],
        cwd=ROOT, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"rounds: 100%.* 2/2 .*accuracy \d+\.\d\d %  loss \d", done.stdout)
    assert "round 1, client 0:" in done.stdout
    assert "client 1:" not in done.stdout  # other ranks are silent
    assert "round 1/2  accuracy" not in done.stdout


WRONG = {
    "no file": ["--config=none.json"],
    "unknown key": ["--config=configs/cifar.json", "--globl_epochs=1"],
    "no such client": ["--config=configs/cifar.json", "--world_size=2"],
    "no such class": ["--config=configs/cifar.json", "--attack.target=10"],
    "too many clients": ["--config=configs/cifar.json", "--num_train=2"],
}


@pytest.mark.parametrize("options", WRONG.values(), ids=WRONG)
def test_wrong_input_is_one_line_and_status_2(
    options: list[str], data_path: Path, tmp_path: Path
) -> None:
    folders = [f"--data_path={data_path}", f"--output_dir={tmp_path / 'runs'}"]
    done = run_main(*options, *folders, "--download=false")
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr)
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_without_a_config_the_main_job_runs_wherever_one_is(
    data_path: Path, tmp_path: Path
) -> None:
    done = run_command(
        f"--data_path={data_path}", "--download=false", "--num_train=90", "--num_test=20",
        "--global_epochs=1", "--local_epochs=1", "--eval_points=0", "--run_dir=r", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = f"config: {ROOT / 'configs' / 'cifar.json'}, as none was given"
    assert done.stdout.splitlines()[0] == said
    assert json.loads((tmp_path / "r" / "config.json").read_text())["name"] == "cifar"
    again = run_main(f"--resume={tmp_path / 'r'}")
    assert again.returncode == 0, again.stderr
    assert "as none was given" not in again.stdout


def test_the_first_row_keeps_the_warnings_and_what_the_run_was_made_with(
    finished_run: Path, tmp_path: Path
) -> None:
    config, run_dir = f"--config={finished_run / 'config.json'}", tmp_path / "r"
    options = ["--image_size=32", "--attack.start_round=9", "--global_epochs=1"]
    done = run_main(config, f"--run_dir={run_dir}", *options)
    assert done.returncode == 0, done.stderr
    (run,) = read_rows(run_dir, "run")
    said = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert run["warnings"] == said
    assert [warning.split(": ")[2] for warning in said] == ["image_size", "attack.start_round"]
    assert run["versions"] == versions()
    assert read_rows(finished_run, "run")[0]["warnings"] == []


def test_a_typo_is_found_before_torch_is_imported() -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "main.py"), "--config=none.json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert not re.search(r"\| +(torch|torchvision|matplotlib)$", done.stderr, re.MULTILINE)


def test_the_ranks_import_neither_matplotlib_nor_torchvision() -> None:
    code = (
        "import sys, main, client, extra_utils.run.recorder, extra_utils.processes.supervisor\n"
        "print([m for m in ('matplotlib', 'torchvision', 'torch._dynamo') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_run_dir_that_is_not_empty_is_refused_and_left_alone(
    finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    done = run_main(f"--config={finished_run / 'config.json'}", f"--run_dir={tmp_path}")
    assert done.returncode == 2
    assert "which is not empty, must be a new folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_missing_data_without_leave_is_status_2(tmp_path: Path) -> None:
    done = run_main(
        "--config=configs/cifar.json", "--offline_data=null", "--download=false",
        f"--data_path={tmp_path}", f"--output_dir={tmp_path / 'runs'}",
    )  # fmt: skip
    assert done.returncode == 2
    assert f"put its images into {tmp_path}/cifar10/train/<class>/" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_help_names_every_key() -> None:
    done = run_main("--help")
    assert done.returncode == 0
    nested = {"attack", "defense"}
    for key in HINTS.keys() - nested:
        assert re.search(rf"^ +--{key}\b", done.stdout, re.MULTILINE), key
    for name in [*ATTACKS, *DEFENSES]:
        assert f".* of {name}: " in done.stdout, name


def final(run_dir: Path) -> Row:
    return read_rows(run_dir, "round")[-1]


@pytest.mark.real_data
def test_a_short_run_on_real_cifar_10_learns(tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    done = run_main(
        "--config=configs/cifar.json", f"--run_dir={run_dir}", "--offline_data=null",
        "--global_epochs=1", "--eval_points=0", "--attack.clients=[]", timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert read_rows(run_dir, "run")[0]["dataset"] == "CIFAR-10"
    assert final(run_dir)["accuracy"] > 35


def make_photos(folder: Path, number: int) -> Path:
    """Two classes of so many photographs each."""
    for place in range(2 * number):
        path = folder / "ab"[place % 2] / f"{place}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (place, 0, 0)).save(path)
    return folder


def test_no_image_for_the_test_is_refused_in_one_line(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 1)
    sizes = {"num_train": None, "num_test": None, "num_clients": 2}
    config = write_config(tmp_path, type="folder", data_path=str(photos), **sizes)
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 'r'}")
    right = "must have a test part, or a class of two images"
    got = f"data_path: got {photos}, which leaves no image for the test; {right}"
    assert done.stderr.splitlines()[-1] == f"error: {config}: {got}"
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
    assert not (tmp_path / "r").exists()


SINGLE: dict[str, dict[str, object]] = {
    "a last batch of one": {"image_size": 8, "batch_size": 5, "num_clients": 2},
    "batches of one": {"image_size": 32, "batch_size": 1, "stem": "imagenet"},
    "clients of one image": {"image_size": 8, "num_train": 3},
}


@pytest.mark.parametrize("keys", SINGLE.values(), ids=SINGLE)
def test_a_single_image_never_ends_a_run(keys: dict[str, object], tmp_path: Path) -> None:
    """Of a ResNet whose last map is one pixel; batch norm alone refuses to train on that."""
    photos = make_photos(tmp_path / "photos", 8)
    own = {"type": "folder", "data_path": str(photos), "model_name": "resnet18", "eval_points": 0}
    sizes = {"num_train": None, "num_test": None}
    config = write_config(tmp_path, **(own | sizes | keys))
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 'r'}")
    assert done.returncode == 0, done.stderr
    assert all(row["train_loss"] > 0 for row in read_rows(tmp_path / "r", "client"))
    told = "note: batch norm trains on single images, of which it learns little\n"
    assert (told in done.stdout) == ("num_train" in keys or keys["batch_size"] == 1)


NAMES = {"Latin-1": b"caf\xe9", "a newline": b"a\nb", "a terminal's command": b"\x1b[2Jx"}
SHOWN = {b"caf\xe9": "caf\\udce9", b"a\nb": "a\\nb", b"\x1b[2Jx": "\\x1b[2Jx"}


@pytest.mark.parametrize("name", one_now(NAMES))
def test_a_class_and_a_folder_may_have_any_name(name: bytes, tmp_path: Path) -> None:
    raw, shown = os.fsdecode(name), SHOWN[name]
    photos = make_photos(tmp_path / raw, 5)
    (photos / "a").rename(photos / raw)
    (photos / raw / "no image").touch()
    keys = {"type": "folder", "data_path": ".", "image_size": 16, "world_size": 1}
    config = write_config(tmp_path, num_train=None, num_test=None, **keys)
    done = run_command(f"--config={config}", f"--run_dir={tmp_path / 'r'}", cwd=photos)
    assert done.returncode == 0, done.stderr
    again = run_main(f"--resume={tmp_path / 'r'}", "--global_epochs=2")
    assert again.returncode == 0, again.stderr
    given = run_main(f"--config={config}", f"--run_dir={photos / '.r'}", f"--data_path={photos}")
    assert given.returncode == 0, given.stderr
    assert given.stdout.splitlines()[-1] == f"run folder: {tmp_path}/{shown}/.r"
    classes = json.loads((tmp_path / "r" / "class_indices.json").read_text(encoding="utf-8"))
    assert sorted(classes.values()) == sorted([shown, "b"])
    (row,) = read_rows(tmp_path / "r", "run")
    assert row["dataset"] == shown
    assert f"  .{os.sep}{shown}/no image: UnidentifiedImageError" in done.stdout


@pytest.mark.parametrize("name", [b"a\nb", b"\x1b[2Jx"])
def test_a_message_about_any_name_is_one_line(name: bytes, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(name) / "train").mkdir(parents=True)
    config = write_config(tmp_path, type="folder", num_train=None, num_test=None)
    done = run_main(f"--config={config}", f"--data_path={tmp_path / os.fsdecode(name)}")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"{tmp_path}/{SHOWN[name]} with train; must be" in done.stderr
