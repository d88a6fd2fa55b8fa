"""What is looked at before anything starts, in both ways of starting; and what it leads to."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from extra_utils.model import Net
from tests.helpers import run_main, write_config
from tests.test_main import make_photos

TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "5"}
FLIP = {"name": "label_flip", "clients": [0, 1]}
GREY = {"type": "folder", "image_size": 16, "num_train": None, "num_test": None}


@pytest.fixture(params=["by itself", "by torchrun"])
def _started(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five processes, ours or torchrun's."""
    if request.param == "by torchrun":
        for name, value in TORCHRUN.items():
            monkeypatch.setenv(name, value)


def refuse(tmp_path: Path, data_path: Path, *options: str, **keys: Any) -> tuple[str, str]:
    """What is said of a config before the run is refused, if only for its folder."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    own = {"data_path": str(data_path), "world_size": 5} | keys
    config = write_config(tmp_path, **own)
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 'full'}", *options)
    assert done.returncode == 2, done.stderr
    assert list((tmp_path / "full").iterdir()) == [tmp_path / "full" / "mine"]
    return done.stdout + done.stderr, done.stderr.splitlines()[-1]


NO_CIFAR100 = {"type": "cifar100", "download": False, "offline_data": "synthetic"}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a rule's bound": ({"defense": {"name": "krum", "f": 2}}, "defense: krum needs n >= 2f+3, got"),
    "keys that contradict": ({"clients_per_round": 9}, "clients_per_round: got 9, must be at most"),
    "a class": ({"attack": FLIP | {"target": 10}}, "attack.target: got 10, must be a class of the"),
    "a class that the data set in its place lacks": (
        NO_CIFAR100 | {"attack": FLIP | {"target": 50}},
        "attack.target: got 50, must be a class of the data set, from 0 (pattern 0) to 9 (pattern",
    ),
    "too few classes each": (
        {"partition": "classes", "classes_per_client": 1},
        "classes_per_client: got 1, must be 10 at most, and with 5 clients enough for all 10",
    ),
    "a size": ({"num_train": 2}, "num_clients: got 5, must be at most the 2 training images"),
}


@pytest.mark.usefixtures("_started")
@pytest.mark.parametrize(("keys", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_refused(
    keys: dict[str, Any], message: str, tmp_path: Path, data_path: Path
) -> None:
    _, last = refuse(tmp_path, data_path, **keys)
    assert message in last


@pytest.mark.usefixtures("_started")
def test_what_the_images_do_not_allow_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 10)
    _, last = refuse(tmp_path, photos, **GREY, defense={"name": "class_mean"})
    assert "defense: class_mean needs at least 5 classes, got 2" in last


@pytest.mark.usefixtures("_started")
def test_classes_that_only_the_images_tell_are_looked_at(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 10)
    _, last = refuse(tmp_path, photos, **GREY, attack=FLIP)
    assert "attack.target: got 4, must be a class of the data set, from 0 (a) to 1 (b)" in last


@pytest.mark.usefixtures("_started")
def test_what_has_no_effect_and_what_is_not_covered_is_said(
    tmp_path: Path, data_path: Path
) -> None:
    torch.save(Net().state_dict() | {"more": torch.zeros(1)}, tmp_path / "w.pth")
    keys = {
        "alpha": 0.1,
        "attack": FLIP | {"start_round": 9, "source": 1, "clients": [0, 2, 3]},
        "defense": {"name": "median"},
        "weights": str(tmp_path / "w.pth"),
        "num_train": 5,
    }
    text, last = refuse(tmp_path, data_path, **keys)
    assert "which is not empty, must be a new folder" in last
    assert "alpha: has no effect here: partition is iid" in text
    assert "attack.start_round: comes after the last round" in text
    assert "more: the model has no such value" in text
    assert re.search(r"label_flip finds no label to change at \d of 3 attackers", text)


def test_clients_that_drew_no_image_are_said(tmp_path: Path, data_path: Path) -> None:
    text, _ = refuse(tmp_path, data_path, partition="dirichlet", alpha=1e-6, num_clients=40)
    assert re.search(r"note: \d+ clients had drawn no image", text)
