"""Every file in configs/ is loaded and run, made small."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.extra_utils.data.test_image_folders import make_folder
from tests.helpers import ROOT, read_rows, run_command, run_main

BENCHMARKS = set((ROOT / "configs").glob("*_benchmark.json"))  # see test_benchmark_plan.py
LONG = ("lfighter_cifar",)  # twenty clients train a ResNet
CONFIGS = sorted(set((ROOT / "configs").glob("*.json")) - BENCHMARKS)


RUNS = [pytest.param(path, marks=pytest.mark.slow if path.stem in LONG else ()) for path in CONFIGS]


@pytest.mark.parametrize("config", RUNS, ids=[path.stem for path in CONFIGS])
def test_the_config_runs(config: Path, data_path: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    is_flower = config.stem == "flower"
    if is_flower:  # neither the photographs nor the weights are here
        data_path = make_folder(tmp_path / "photos", 75)
        weights = ["--weights=null", "--model_name=resnet18", "--image_size=16"]
    done = run_main(
        f"--config={config}", f"--data_path={data_path}", f"--run_dir={run_dir}",
        "--offline_data=synthetic", "--download=false", "--num_train=120", "--num_test=30",
        "--global_epochs=1", "--local_epochs=1",
        *(weights if is_flower else []),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    if config.stem == "cifar_100_clients":  # of 120 images
        assert re.search(r"note: \d+ clients had drawn no image", done.stdout)
    assert [row["round"] for row in read_rows(run_dir, "round")] == [0, 1]


def test_flowers_without_their_weights_say_what_to_fetch(tmp_path: Path) -> None:
    photos = make_folder(tmp_path / "photos")
    blocked = dict(os.environ, TORCH_HOME=str(tmp_path / "torch"), https_proxy="http://127.0.0.1:9")
    done = run_command(
        "--config=configs/flower.json", f"--data_path={photos}",
        f"--output_dir={tmp_path / 'runs'}", env=blocked,
    )  # fmt: skip
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: weights: got [^\n]+ fetch https:[^\n]+ put it there\n", done.stderr
    )
    assert not (tmp_path / "runs").exists()
