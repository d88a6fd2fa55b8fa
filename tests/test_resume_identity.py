"""A run goes on with what it began with, or not at all."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.extra_utils.data.test_image_folders import make_photo
from tests.helpers import read_rows, run_command, run_main, write_config

KEYS = {"type": "cifar", "offline_data": "synthetic", "download": False, "eval_points": 0,
        "num_train": 12, "num_test": 4, "name": "mine"}  # fmt: skip


def make_images(root: Path) -> None:
    """CIFAR-10's layout with two classes, each image of another grey."""
    for split, number in (("train", 10), ("test", 4)):
        for name in ("cat", "dog"):
            for place in range(number):
                grey = 10 * place + 100 * (name == "dog")
                make_photo(root / "cifar10" / split / name / f"{place}.png", (grey, grey, grey))


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in: images in mine/, and a run of one round in r/, both named from there."""
    work = tmp_path_factory.mktemp("work")
    make_images(work / "mine")
    config = write_config(work, **KEYS, data_path="mine")
    done = run_command(f"--config={config}", "--run_dir=r", cwd=work)
    assert done.returncode == 0, done.stderr
    return work


@pytest.fixture
def work(begun: Path, tmp_path: Path) -> Path:
    """A copy at the same relative places, for a test to change."""
    shutil.copytree(begun, tmp_path / "work")
    path = tmp_path / "work" / "r" / "config.json"
    path.write_text(path.read_text().replace(str(begun), str(tmp_path / "work")))
    return tmp_path / "work"


def edit(work: Path, **keys: object) -> None:
    path = work / "r" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def assert_refused(work: Path, message: str, *options: str) -> None:
    """In one line, and nothing in the run's folder is touched."""
    before = {path: path.read_bytes() for path in (work / "r").iterdir()}
    for longer in (["--global_epochs=2"], []):  # to go on, and to draw the pictures again
        done = run_main(f"--resume={work / 'r'}", *longer, *options)
        assert done.returncode == 2, done.stdout
        assert message in done.stderr.splitlines()[-1]
        assert {path: path.read_bytes() for path in (work / "r").iterdir()} == before


@pytest.mark.slow
def test_relative_paths_mean_what_they_meant_when_the_run_began(work: Path, tmp_path: Path) -> None:
    config = json.loads((work / "r" / "config.json").read_text())
    assert config["data_path"] == str(work / "mine")
    assert config["output_dir"] == str(work / "runs")
    (tmp_path / "elsewhere").mkdir()
    done = run_command(f"--resume={work / 'r'}", "--global_epochs=2", cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "SYNTHETIC" not in done.stdout
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert len(read_rows(work / "r", "round")) == 3


def test_data_may_move_but_not_change(work: Path) -> None:
    shutil.move(work / "mine", work / "moved")
    moved = f"--data_path={work / 'moved'}"
    done = run_main(f"--resume={work / 'r'}", "--global_epochs=2", moved, "--output_dir=x")
    assert done.returncode == 0, done.stderr
    config = json.loads((work / "r" / "config.json").read_text())
    assert config["data_path"] == str(work / "moved")


def test_synthetic_images_do_not_take_the_place_of_real_ones(work: Path) -> None:
    shutil.rmtree(work / "mine" / "cifar10")
    is_now = 'data.dataset: was "CIFAR-10", is "SYNTHETIC images"'
    assert_refused(work, f"checkpoint.pth: is of another run: {is_now}")


def test_images_that_were_removed_are_missed(work: Path) -> None:
    (work / "mine" / "cifar10" / "train" / "cat" / "9.png").unlink()
    assert_refused(work, "is of another run: data.num_train: was 20, is 19")


def test_an_image_that_was_changed_is_seen(work: Path) -> None:
    make_photo(work / "mine" / "cifar10" / "train" / "cat" / "9.png", (1, 2, 3))
    assert_refused(work, "is of another run: data.checksum: was ")


def test_a_class_that_was_renamed_is_seen(work: Path) -> None:
    for split in ("train", "test"):
        (work / "mine" / "cifar10" / split / "cat").rename(work / "mine/cifar10" / split / "zebra")
    assert_refused(work, 'data.class_names: was ["cat", "dog"], is ["dog", "zebra"]')


@pytest.mark.parametrize(
    ("key", "value", "change"),
    [
        ("lr", 0.5, "config.lr: was 0.001, is 0.5"),
        ("seed", 1, "config.seed: was 0, is 1"),
        ("num_clients", 4, "config.num_clients: was 3, is 4"),
        ("model_name", "resnet18", 'config.model_name: was "net", is "resnet18"'),
    ],
)
def test_an_edited_config_is_refused(key: str, value: object, change: str, work: Path) -> None:
    if key == "num_clients":
        edit(work, clients_per_round=3)
    edit(work, **{key: value})
    assert_refused(work, f"checkpoint.pth: is of another run: {change}")


def test_another_runs_checkpoint_is_refused(work: Path) -> None:
    config = f"--config={work / 'r' / 'config.json'}"
    assert run_main(config, f"--run_dir={work / 'other'}", "--lr=0.01").returncode == 0
    shutil.copy(work / "other" / "checkpoint.pth", work / "r")
    assert_refused(work, "checkpoint.pth: is of another run: config.lr: was 0.01, is 0.001")
