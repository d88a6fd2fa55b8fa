"""The article's other systems, from the command line on real ranks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.data.sources import prepare_data
from extra_utils.model import build_model
from extra_utils.my_dataset import open_dataset
from federal_defense.attacks.labels import Poisoned
from my_data_loader import TrainLoader, make_shards
from tests.helpers import (
    ROOT,
    make_config,
    read_rows,
    run_main,
    run_tiny,
    unmeasured,
    write_config,
)

DEBIAN = Path("/usr/share/datasets/fashion-mnist")


def load(run_dir: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(run_dir / "model.pth", weights_only=True)
    return state


def test_a_run_from_a_model_begins_where_that_run_ended(
    finished_run: Path, tmp_path: Path, data_path: Path
) -> None:
    weights = str(finished_run / "model.pth")
    run_dir = run_tiny(tmp_path, data_path, weights=weights)
    last, first = read_rows(finished_run, "round")[-1], read_rows(run_dir, "round")[0]
    assert (first["accuracy"], first["loss"]) == (last["accuracy"], last["loss"])
    assert "left out" not in (run_dir / "said").read_text()


def test_weights_that_do_not_fit_are_listed(
    finished_run: Path, tmp_path: Path, data_path: Path
) -> None:
    weights = tmp_path / "w.pth"
    torch.save({**load(finished_run), "fc3.bias": torch.zeros(7)}, weights)
    run_dir = run_tiny(tmp_path, data_path, weights=str(weights), world_size=1)
    said = (run_dir / "said").read_text()
    assert "note: of the weights these do not fit and are left out:" in said
    assert "fc3.bias: has shape [7], the model [10]" in said


@pytest.mark.slow
def test_a_frozen_resnet_changes_and_sends_its_last_layer_only(
    tmp_path: Path, data_path: Path
) -> None:
    keys = {"model_name": "resnet18", "num_train": 30, "num_test": 10, "world_size": 2}
    frozen = run_tiny(tmp_path, data_path, freeze_layers=True, eval_points=0, **keys)
    config = make_config(type="synthetic", model_name="resnet18", data_path=str(data_path))
    dataset = open_dataset(prepare_data(config)[0])
    start, end = build_model(config, dataset).state_dict(), load(frozen)
    changed = [name for name in end if not torch.equal(start[name], end[name])]
    assert changed == ["fc.weight", "fc.bias"]
    full = run_tiny(tmp_path, data_path, eval_points=0, **keys)
    sent = [read_rows(run, "round")[1]["bytes_per_rank"] for run in (frozen, full)]
    values = 512 * 10 + 10
    figures = 2 * (2 + 10)  # of both clients: samples, loss, class means
    evaluation = 100 + 3  # counts, and the loss of three batches of at most four images
    assert sent[0] == 8 * (values + figures + evaluation)
    assert sent[1] > 1000 * sent[0]


@pytest.mark.slow
def test_a_resnet_on_one_client_is_the_same_resnet_trained_alone(
    tmp_path: Path, data_path: Path
) -> None:
    """With a new Adam each round; batch norm's running statistics and counters included."""
    torch.set_num_threads(1)  # as the rank, since Adam makes rounding large
    run_dir = run_tiny(tmp_path, data_path, model_name="resnet18", num_train=32, num_test=10,
                       world_size=1, global_epochs=2, batch_size=16, eval_points=0)  # fmt: skip
    config = make_config(model_name="resnet18", num_train=32, batch_size=16, num_clients=1,
                         data_path=str(data_path))  # fmt: skip
    dataset = open_dataset(prepare_data(config)[0])
    model = build_model(config, dataset).train()
    shard = make_shards(config, dataset).shards[0]
    loader = TrainLoader(dataset, shard, config, Poisoned(dataset.train.labels[shard]))
    for round_index in (1, 2):
        optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, fused=True)
        for images, labels in loader.epoch(stream(0, Purpose.TRAINING, 0, round_index)):
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(model(images), labels))
            optimizer.step()
    federated = load(run_dir)
    for name, value in model.state_dict().items():
        assert (federated[name] - value).abs().max() <= 1e-6, name
    assert federated["bn1.num_batches_tracked"] == 4


@pytest.mark.slow
def test_sync_batch_norm_trains_on_ranks_with_equal_steps(tmp_path: Path, data_path: Path) -> None:
    run_dir = run_tiny(tmp_path, data_path, model_name="resnet18", syncBN=True, num_train=32,
                       num_test=10, world_size=3, batch_size=8, eval_points=1)  # fmt: skip
    assert "syncBN: 2 images are left out" in (run_dir / "said").read_text()
    assert read_rows(run_dir, "run")[0]["shard_sizes"] == [10, 10, 10]
    state = load(run_dir)
    assert state["bn1.num_batches_tracked"] == 2
    assert len(read_rows(run_dir, "point")) == 3


@pytest.mark.slow
def test_flowers_start_from_a_folder_of_classes(tmp_path: Path) -> None:
    data_path = tmp_path / "photos"
    for number in range(10):
        for name, color in (("rose", "red"), ("tulip", "yellow")):
            (data_path / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (40, 30), color).save(data_path / name / f"{number}.jpg")
    run_dir = run_tiny(
        tmp_path, data_path, type="flower", model_name="resnet18", num_train=12, num_test=4,
        image_size=16, attack={"name": "label_flip", "source": 0, "target": 1},
    )  # fmt: skip
    (run,) = read_rows(run_dir, "run")
    assert (run["dataset"], run["class_names"]) == ("photos", ["rose", "tulip"])
    assert '"0": "rose"' in (run_dir / "class_indices.json").read_text()


@pytest.mark.parametrize("name", ["class_mean", "client_mean"])
def test_the_demos_print_what_a_lecturer_would_show(name: str) -> None:
    command, env = [sys.executable, "-m", f"federal_defense.{name}"], unmeasured(os.environ)
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 30
    rows = dict(re.findall(r"^(\w[\w, ]*?) +(-?\d\.\d{3} .*)$", done.stdout, re.MULTILINE))
    tables = {key: np.array(row.split(), dtype=float) for key, row in rows.items()}
    if name == "class_mean":
        first = done.stdout.split("The all_reduced mean")[0]
        matrix = [row.split()[2:] for row in first.splitlines() if row.startswith("client ")]
        mean = np.array(matrix, dtype=float).mean(axis=0)
        assert np.abs(mean - tables["mean"]).max() <= 0.001
        assert "Farthest from the clients' median: client 2." in done.stdout
    else:
        moved = 10 * (tables["one poisoned"] - tables["all honest"])
        assert np.abs(tables["moved, x 10"] - moved).max() <= 0.02
        assert "The mean moves most at class 1" in done.stdout


@pytest.mark.real_data
def test_cifar_10s_folders_can_be_used_as_plain_folders(tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    config = write_config(tmp_path, type="folder", num_train=6000, num_test=1000, image_size=32)
    done = run_main(f"--config={config}", f"--data_path={ROOT / 'data' / 'cifar10'}",
                    f"--run_dir={run_dir}", "--eval_points=0", "--global_epochs=3")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (run,) = read_rows(run_dir, "run")
    assert run["class_names"][:2] == ["airplane", "automobile"]
    assert read_rows(run_dir, "round")[-1]["accuracy"] > 20


@pytest.mark.real_data
@pytest.mark.skipif(not DEBIAN.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_debians_fashion_mnist_passes_85_percent(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for path in DEBIAN.iterdir():
        (tmp_path / "data" / path.name).symlink_to(path)
    done = run_main("--config=configs/fashion_mnist.json", f"--data_path={tmp_path / 'data'}",
                    "--offline_data=null", f"--run_dir={tmp_path / 'r'}", "--eval_points=0",
                    timeout=400)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rounds = read_rows(tmp_path / "r", "round")
    assert len(rounds) == 6
    assert rounds[-1]["accuracy"] > 85
