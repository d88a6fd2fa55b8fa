"""Attackers that hide: what they send looks honest where it is looked at, and stays poisoned."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from client import Clients
from extra_utils.aggregation.flat_model import WeightDiff
from extra_utils.aggregation.messages import Update
from extra_utils.config.keys import AttackConfig, Config
from extra_utils.model import build_model, last_linear
from extra_utils.my_dataset import Dataset
from federal_defense.attacks.hiding import as_class_means
from get_weight_matrix import class_means
from tests.extra_utils.aggregation.test_flat_model import dense
from tests.helpers import make_config, make_dataset
from tests.test_client import make_observer

PARAMETERS = {"source": 1, "target": 4}


def config_of(hide: str | None, **keys: Any) -> Config:
    own = AttackConfig(name="label_flip", clients=[1], parameters={**PARAMETERS, "hide": hide})
    return make_config(type="synthetic", num_clients=2, batch_size=8, attack=[own], **keys)


def update_of(config: Config, dataset: Dataset, client_id: int = 1) -> Update:
    """A local training in round 1, from the seed's model."""
    model = build_model(config, dataset)
    clients = Clients(config, dataset, model, make_observer(), {})
    return clients.make(client_id, 1).local_train(model, 1)


@pytest.mark.parametrize(
    "keys",
    [{"model_name": "net"}, pytest.param({"model_name": "resnet18"}, marks=pytest.mark.slow)],
)
def test_a_flip_hidden_from_class_mean_sends_the_honest_class_means(keys: dict[str, Any]) -> None:
    dataset = make_dataset(num_train=24, num_test=8)
    plain, hidden = (update_of(config_of(h, **keys), dataset) for h in (None, "class_mean"))
    honest = update_of(make_config(type="synthetic", num_clients=2, batch_size=8, **keys), dataset)
    assert (plain.class_mean - honest.class_mean).abs().max() > 1e-5
    assert torch.allclose(hidden.class_mean, honest.class_mean, rtol=0, atol=1e-7)
    assert hidden.edited_labels == plain.edited_labels > 0
    assert honest.edited_labels == 0
    moved = (dense(hidden.diff) != dense(plain.diff)).sum()
    assert 0 < moved <= 10  # one weight of each class
    assert hidden.train_loss == plain.train_loss
    # looking at what fires moves no running statistics
    statistics = plain.diff.local.statistics, hidden.diff.local.statistics
    assert all(torch.equal(one, other) for one, other in zip(*statistics, strict=True))


def test_predictions_stay_poisoned_where_the_unit_never_fires() -> None:
    torch.manual_seed(0)
    first = torch.nn.Linear(6, 5)
    first.weight.data[3], first.bias.data[3] = 0.0, -1.0
    local = torch.nn.Sequential(first, torch.nn.ReLU(), torch.nn.Linear(5, 3))
    images = torch.randn(40, 6)
    before, old = local(images), last_linear(local).weight.clone()
    honest = copy.deepcopy(local)
    with torch.no_grad():
        last_linear(honest).weight += torch.randn(3, 5)
    wanted = class_means(honest)
    update = Update(0, 40, WeightDiff(honest, local), wanted, train_loss=0.0)
    as_class_means(local, local, update, [(images, torch.zeros(40))])
    assert torch.equal(local(images), before)
    assert torch.allclose(class_means(local), wanted, rtol=0, atol=1e-7)
    changed = (last_linear(local).weight != old).any(dim=0)
    assert changed.tolist() == [False, False, False, True, False]


def test_the_unit_is_chosen_over_all_batches_and_the_model_stays_in_training() -> None:
    local = torch.nn.Sequential(torch.nn.Identity(), torch.nn.Linear(3, 2))
    local.train()
    batches = [(torch.tensor([[0.0, 2.0, 1.0]]), torch.zeros(1))]
    batches += [(torch.tensor([[-9.0, 1.0, 1.0], [0.0, 0.0, 0.0]]), torch.zeros(2))]
    wanted = class_means(local) + 1
    update = Update(0, 3, WeightDiff(local, local), wanted, train_loss=0.0)
    old = last_linear(local).weight.clone()
    as_class_means(local, local, update, batches)
    assert (last_linear(local).weight - old)[:, 2].tolist() == pytest.approx([3.0, 3.0])
    assert local.training


def test_a_flip_hidden_by_norm_is_as_long_as_an_honest_one() -> None:
    dataset, keys = make_dataset(num_train=60, num_test=8), {"model_name": "net"}
    plain, hidden = (update_of(config_of(h, **keys), dataset) for h in (None, "norm"))
    honest = update_of(make_config(type="synthetic", num_clients=2, batch_size=8, **keys), dataset)
    assert abs(plain.diff.length() / honest.diff.length() - 1) > 1e-3
    assert hidden.diff.length() == pytest.approx(honest.diff.length(), rel=1e-6)
    assert honest.diff.length() == pytest.approx(dense(honest.diff).norm().item())
    same_way = F.cosine_similarity(dense(plain.diff), dense(hidden.diff), dim=0)
    assert same_way.item() == pytest.approx(1.0)


def test_a_flip_hidden_by_rows_sends_the_honest_last_layer_and_its_own_layers_before_it() -> None:
    dataset, keys = make_dataset(num_train=60, num_test=8), {"model_name": "net"}
    plain, hidden = (update_of(config_of(h, **keys), dataset) for h in (None, "rows"))
    honest = update_of(make_config(type="synthetic", num_clients=2, batch_size=8, **keys), dataset)
    size = hidden.diff.local.layer().numel()
    rows = [dense(update.diff)[-size:] for update in (plain, hidden, honest)]
    assert torch.equal(rows[1], rows[2])
    assert not torch.equal(rows[0], rows[2])
    assert torch.equal(dense(hidden.diff)[:-size], dense(plain.diff)[:-size])
    assert torch.equal(hidden.class_mean, honest.class_mean)


def test_whoever_does_not_attack_in_a_round_does_not_hide_in_it() -> None:
    dataset = make_dataset(num_train=60, num_test=8)
    config = config_of("norm", model_name="net")
    clients = Clients(config, dataset, build_model(config, dataset), make_observer(), {})
    assert [len(clients.make(client, 1).hides) for client in (0, 1)] == [0, 1]
