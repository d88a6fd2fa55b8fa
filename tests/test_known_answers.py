"""Runs whose result is known beforehand, from a formula that knows nothing of clients."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from extra_utils.config.keys import ChoiceConfig, Config
from extra_utils.data.synthetic import make_synthetic
from extra_utils.model import build_model
from extra_utils.my_dataset import Dataset
from my_data_loader import Normalizer, make_shards
from tests.helpers import make_config, make_dataset, read_rows, run_tiny
from tests.test_client import make_clients

ROUNDS, RATE = 5, 0.01
FULL_BATCH: dict[str, Any] = {
    "num_train": 300,
    "num_clients": 4,
    "partition": "quantity",
    "alpha": 1.0,
    "augment": False,
    "batch_size": 300,
    "local_epochs": 1,
    "global_epochs": ROUNDS,
    "lr": RATE,
    "schedule": {"name": "constant"},
    "eval_points": 0,
}


def centralised(config: Config, dataset: Dataset) -> dict[str, torch.Tensor]:
    """Gradient descent on all images of the run at once, in float64."""
    chosen = np.concatenate(make_shards(config, dataset).shards)
    images = Normalizer(dataset.info, 32)(dataset.train.images[chosen]).double()
    labels = torch.from_numpy(dataset.train.labels[chosen])
    model = build_model(config, dataset).double()
    for _ in range(ROUNDS):
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.sub_(parameter.grad, alpha=RATE)
    return model.state_dict()


def test_fedavg_with_one_full_batch_is_gradient_descent_on_all_images(
    tmp_path: Path, data_path: Path
) -> None:
    """The shards' mean gradients, weighted by their sizes, are the gradient of the whole."""
    optimizer = {"name": "sgd", "momentum": 0.9}  # which has no last step to go on with
    run_dir = run_tiny(tmp_path, data_path, **FULL_BATCH, optimizer=optimizer)
    (run,) = read_rows(run_dir, "run")
    assert max(run["shard_sizes"]) > 2 * min(run["shard_sizes"])  # unequal
    keys = FULL_BATCH | {"schedule": ChoiceConfig(name="constant")}
    config, dataset = make_config(type="synthetic", **keys), make_synthetic(0)
    expected, start = centralised(config, dataset), build_model(config, dataset).state_dict()
    found = torch.load(run_dir / "model.pth", weights_only=True)
    for name, value in found.items():
        assert (value - expected[name]).abs().max() < 1e-6, name
    assert max((found[name] - start[name]).abs().max() for name in found) > 1e-4  # it has moved


def moved(local_epochs: int, **parameters: Any) -> list[torch.Tensor]:
    """What training does to the weights of one client, whose shard is one batch, in each of two
    rounds from the same model."""
    own = ChoiceConfig(name="sgd", parameters=parameters)
    config = make_config(
        type="synthetic", num_clients=1, world_size=1, batch_size=64, local_epochs=local_epochs,
        eval_points=0, augment=False, lr=0.1, optimizer=own,
        schedule=ChoiceConfig(name="constant"),
    )  # fmt: skip
    dataset = make_dataset(num_train=60)
    model = build_model(config, dataset)
    client = make_clients(config, dataset).make(0, 1)
    diffs = [copy.deepcopy(client.local_train(model, number).diff) for number in (1, 2)]
    return [torch.cat(list(map(torch.clone, diff.pieces()))) for diff in diffs]


def test_momentum_begins_anew_in_every_round() -> None:
    """The first step of a round is along its gradient alone."""
    first, second = moved(1, momentum=0.9)
    # a momentum that went on would make it 1.9 times as long; another order of images does this
    assert first == pytest.approx(second, abs=1e-6)
    assert first.abs().max() > 1e-4
    assert torch.equal(first, moved(1, momentum=0.0)[0])
    assert (moved(2, momentum=0.9)[0] - moved(2, momentum=0.0)[0]).abs().max() > 1e-4
