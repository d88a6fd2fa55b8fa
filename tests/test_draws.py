"""The draws of a seed at the places that make them. Published results depend on each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from client import sample_rows
from extra_utils.basics.random_streams import Purpose
from extra_utils.config.keys import AttackConfig
from extra_utils.data.sources import prepare_data
from extra_utils.data.synthetic import make_synthetic
from extra_utils.model import build_model
from extra_utils.my_dataset import open_dataset
from federal_defense.attacks.table import edits_of, poison, with_drawn_attackers
from my_data_loader import choose_eval_images, choose_test_images, make_shards
from tests.helpers import make_config, make_dataset
from tests.test_client import make_clients
from tests.test_main import make_photos

DATASET = make_dataset(num_train=200, num_test=60)
CONFIG = make_config(num_clients=20, clients_per_round=5, seed=3, augment=False)


def attacked(name: str, **parameters: Any) -> AttackConfig:
    return AttackConfig(name=name, clients=[1, 2], parameters=parameters)


def shards(**keys: Any) -> list[int]:
    return make_shards(replace(CONFIG, **keys), DATASET).shards[4][:4].tolist()


def attackers() -> list[int]:
    attack = replace(attacked("label_flip"), fraction=0.2)
    (drawn,) = with_drawn_attackers(replace(CONFIG, attack=[attack])).attacks
    return drawn.clients


def participants() -> list[int]:
    return list(make_clients(CONFIG, DATASET).plan(2, 1).samples)


def random_labels() -> list[int]:
    config = replace(CONFIG, attack=[attacked("random_label")])
    return poison(np.zeros(6, dtype=np.int64), config, 10, 1, 2).labels.tolist()


def noise() -> list[int]:
    config = replace(CONFIG, attack=[attacked("gaussian", sigma=1.0)])
    (attack,) = edits_of("diff", config, 10, 1, 2)
    return [round(1000 * value) for value in attack(torch.zeros(4).double()).tolist()]


def in_round(purpose: Purpose) -> list[int]:
    draw = make_clients(CONFIG, DATASET).plan(2, 1).draw
    return [round(1000 * value) for value in draw(purpose, 1).standard_normal(3)]


def shown_images() -> list[int]:
    config = replace(CONFIG, num_clients=4, clients_per_round=4)
    images, *_ = sample_rows(config, DATASET)["client 1"]
    return images[:4, 0, 0, 0].tolist()


def synthetic_pixels() -> list[int]:
    return make_synthetic(3, 10, 10).train.images[0, 0, :2].flatten().tolist()


def start_weights() -> list[int]:
    first = build_model(CONFIG, DATASET).get_parameter("conv1.weight").flatten()[:4]
    return [round(1000 * value) for value in first.tolist()]


def trained_on() -> list[int]:
    """A pixel of each image of a client's first batch, cropped and mirrored."""
    config = replace(CONFIG, batch_size=4, augment=True)
    model = build_model(config, DATASET)
    seen: list[float] = []
    model.register_forward_pre_hook(lambda _, images: seen.extend(images[0][:, 0, 0, 0].tolist()))
    make_clients(config, DATASET).make(1, 2).local_train(model, 2)
    mean, std = DATASET.info.mean[0], DATASET.info.std[0]
    return [round(value * std + mean) for value in seen[:4]]


PINNED: dict[str, tuple[Callable[[], list[int]], list[int]]] = {
    "shards": (shards, [37, 36, 51, 38]),
    "unequal shards": (lambda: shards(partition="dirichlet"), [30, 142, 2, 32]),
    "runs of labels": (lambda: shards(partition="shards"), [59, 9, 99, 109]),
    "training images": (lambda: shards(num_train=100), [176, 90, 103, 152]),
    "test images": (
        lambda: choose_test_images(replace(CONFIG, num_test=12), DATASET)[:6].tolist(),
        [4, 15, 18, 20, 31, 33],
    ),
    "images of local tests": (
        lambda: choose_eval_images(replace(CONFIG, eval_size=12), DATASET)[:6].tolist(),
        [7, 10, 11, 12, 13, 14],
    ),
    "attackers": (attackers, [2, 5, 9, 13]),
    "participants": (participants, [7, 8, 10, 12, 15]),
    "training": (trained_on, [170, 58, 162, 143]),
    "random labels": (random_labels, [9, 5, 4, 9, 4, 7]),
    "noise": (noise, [958, 835, 436, 1118]),
    "noise of a rule": (lambda: in_round(Purpose.NOISE), [805, -139, 934]),
    "buckets": (lambda: in_round(Purpose.BUCKETS), [-489, 618, 1142]),
    "masks": (lambda: in_round(Purpose.MASKS), [-116, 799, -1072]),
    "shown images": (shown_images, [10, 55, 143, 25]),
    "synthetic pixels": (synthetic_pixels, [108, 0, 137, 120, 0, 155]),
    "start weights": (start_weights, [20, -42, -92, -24]),
}


@pytest.mark.parametrize(("draw", "pinned"), PINNED.values(), ids=PINNED)
def test_a_seeds_draws_never_change(draw: Callable[[], list[int]], pinned: list[int]) -> None:
    assert draw() == pinned


def test_the_split_of_one_folder_never_changes(tmp_path: Path) -> None:
    photos = make_photos(tmp_path, 20)  # each of another red
    config = make_config(type="folder", data_path=str(photos), image_size=8, seed=3)
    found = open_dataset(prepare_data(config)[0])
    assert found.test.images[:, 0, 0, 0].tolist() == [2, 26, 28, 8, 15, 19, 23, 25]
