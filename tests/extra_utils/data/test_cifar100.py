"""CIFAR-100 from files in torchvision's format, fine and coarse, and from folders of images."""

from __future__ import annotations

import hashlib
import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extra_utils.basics.errors import ConfigError
from extra_utils.data.sources import prepare_data
from extra_utils.my_dataset import open_dataset
from tests.helpers import ROOT, make_config, read_rows

FINE = [f"fine {number}" for number in range(100)]
COARSE = [f"coarse {number}" for number in range(20)]
# with torchvision's checksums in place of ours
MAIN = """
import json, sys
from torchvision.datasets import CIFAR100
sums = json.loads(sys.argv[1])
CIFAR100.train_list = [["train", sums["train"]]]
CIFAR100.test_list = [["test", sums["test"]]]
CIFAR100.meta = {"filename": "meta", "key": "fine_label_names", "md5": sums["meta"]}
import main
sys.exit(main.main(sys.argv[2:]))
"""


def write_files(root: Path) -> dict[str, str]:
    """Three training images and one test image of each class; the files' checksums."""
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    generator, sums = np.random.default_rng(0), {}
    parts: dict[str, Any] = {"meta": {"fine_label_names": FINE, "coarse_label_names": COARSE}}
    for name, each in (("train", 3), ("test", 1)):
        fine = np.tile(np.arange(100), each)
        data = generator.integers(256, size=(len(fine), 3072), dtype=np.uint8)
        labels = {"fine_labels": fine.tolist(), "coarse_labels": (fine * 7 % 20).tolist()}
        parts[name] = {"data": data, **labels}
    for name, content in parts.items():
        (folder / name).write_bytes(pickle.dumps(content))
        sums[name] = hashlib.md5((folder / name).read_bytes()).hexdigest()
    return sums


def run(tmp_path: Path, sums: dict[str, str], name: str, *options: str) -> Path:
    run_dir = tmp_path / name
    fixed = ["--type=cifar100", "--download=false", f"--data_path={tmp_path / 'data'}"]
    fixed += ["--global_epochs=1", "--local_epochs=1", "--eval_points=0", "--world_size=2"]
    fixed += ["--num_clients=6", "--defense.name=class_mean", f"--run_dir={run_dir}"]
    command = [sys.executable, "-c", MAIN, json.dumps(sums), *fixed, *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return run_dir


@pytest.mark.slow
def test_runs_on_a_hundred_classes_and_on_twenty(tmp_path: Path) -> None:
    sums = write_files(tmp_path / "data")
    fine = run(tmp_path, sums, "fine", "--attack.name=label_flip", "--attack.target=99")
    (row,) = read_rows(fine, "run")
    assert (row["dataset"], row["synthetic"]) == ("CIFAR-100", False)
    assert (row["num_train"], row["num_test"], row["class_names"]) == (300, 100, FINE)
    assert {len(client["class_mean"]) for client in read_rows(fine, "client")} == {100}
    coarse = run(tmp_path, sums, "coarse", "--coarse_labels")
    (row,) = read_rows(coarse, "run")
    assert (row["dataset"], row["class_names"]) == ("CIFAR-100 (coarse)", COARSE)
    totals = np.sum(row["class_counts"], axis=0)
    assert totals.tolist() == np.bincount(np.arange(300) % 100 * 7 % 20, minlength=20).tolist()
    for run_dir in (fine, coarse):
        names = ("accuracy", "class_mean", "confusion_matrix", "partition", "detection", "samples")
        assert all((run_dir / f"{name}.png").is_file() for name in names)


def test_folders_of_images_are_found(tmp_path: Path) -> None:
    for part in ("train", "test"):
        for number, name in enumerate(FINE):
            folder = tmp_path / "cifar100" / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (32, 32), (number, 0, 0)).save(folder / "0.png")
    config = make_config(type="cifar100", data_path=str(tmp_path), download=False)
    folder, notice = prepare_data(config)
    dataset = open_dataset(folder)
    assert (dataset.info.name, dataset.info.class_names, notice) == ("CIFAR-100", sorted(FINE), "")
    assert len(dataset.train) == len(dataset.test) == 100


@pytest.mark.parametrize(
    ("coarse", "images"),
    [
        (False, "its images into {0}/cifar100/train/<class>/ and .../test/<class>/, or "),
        (True, ""),
    ],
)
def test_what_is_missing_says_what_to_put_where(coarse: bool, images: str, tmp_path: Path) -> None:
    keys = {"data_path": str(tmp_path), "download": False, "coarse_labels": coarse}
    config = make_config(type="cifar100", **keys)
    with pytest.raises(ConfigError) as caught:
        prepare_data(config)
    put = f"put {images.format(tmp_path)}torchvision's cifar-100-python into {tmp_path}/."
    assert str(caught.value).endswith(f"To use it, {put}")
    assert f"{tmp_path}/cifar-100-python is not there" in str(caught.value)
