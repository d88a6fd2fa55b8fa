"""A client's local training: state in, state out."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from client import Client, Clients, sample_rows
from extra_utils.aggregation.flat_model import WeightDiff
from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.keys import AttackConfig, ChoiceConfig, Config
from extra_utils.distributed_utils import Ranks
from extra_utils.model import Net, build_model
from extra_utils.my_dataset import Dataset
from extra_utils.run.recorder import Observer
from extra_utils.training.optimizer import Moment, learning_rate
from federal_defense.attacks.labels import Poisoned
from get_weight_matrix import class_means
from my_data_loader import TrainLoader
from tests.extra_utils.aggregation.test_flat_model import dense
from tests.helpers import make_config, make_dataset

CONFIG = make_config(
    type="synthetic",
    model_name="net",
    num_clients=3,
    clients_per_round=3,
    local_epochs=2,
    batch_size=8,
    eval_points=2,
)
FLIP = AttackConfig(name="label_flip", clients=[2], parameters={"source": 1, "target": 4})


def make_observer() -> Observer:
    return Observer(RankHeartbeat())


def make_clients(config: Config, dataset: Dataset) -> Clients:
    return Clients(config, dataset, build_model(config, dataset), make_observer(), {})


def train_plainly(client: Client, config: Config, model: Net, round_index: int) -> Net:
    """The same training once more, in torch's own words."""
    local = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(local.parameters(), lr=config.lr, fused=True)
    draws = stream(config.seed, Purpose.TRAINING, client.client_id, round_index)
    for epoch in range(config.local_epochs):
        optimizer.param_groups[0]["lr"] = learning_rate(Moment(config, round_index, epoch))
        for images, labels in client.train_loader.epoch(draws):
            optimizer.zero_grad()
            F.cross_entropy(local(images), labels).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return local


@pytest.mark.parametrize("schedule", ["cosine_local", "cosine_rounds"])
def test_local_training_is_torchs_own_adam_and_leaves_the_global_model_alone(
    schedule: str,
) -> None:
    dataset = make_dataset()
    config = replace(CONFIG, schedule=ChoiceConfig(name=schedule))
    model = build_model(config, make_dataset())
    before = copy.deepcopy(model.state_dict())
    client = make_clients(config, dataset).make(1, round_index=3)
    update = client.local_train(model, 3)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert isinstance(model, Net)
    expected = train_plainly(client, config, model, 3)
    assert torch.equal(dense(update.diff), dense(WeightDiff(expected, model)))
    assert torch.equal(update.class_mean, class_means(expected))
    assert update.num_samples == 20


def test_a_clients_training_depends_on_its_number_and_the_round_only() -> None:
    dataset = make_dataset()
    model = build_model(CONFIG, make_dataset())
    clients = make_clients(CONFIG, dataset)
    first = clients.make(0, 1).local_train(model, 1)
    clients.make(1, 1).local_train(model, 1)
    again = clients.make(0, 1).local_train(model, 1)
    other_round = clients.make(0, 2).local_train(model, 2)
    assert torch.equal(dense(first.diff), dense(again.diff))
    assert not torch.equal(dense(first.diff), dense(other_round.diff))


def test_points_are_spread_over_each_epoch() -> None:
    update = (
        make_clients(CONFIG, make_dataset())
        .make(0, 1)
        .local_train(build_model(CONFIG, make_dataset()), 1)
    )
    assert [(point.epoch, point.step) for point in update.points] == [
        (1, 2),
        (1, 3),
        (2, 5),
        (2, 6),
    ]
    assert all(0 <= point.accuracy <= 100 and point.loss > 0 for point in update.points)
    steps = [2, 1, 2, 1]  # what each point's loss is the mean of
    losses = [point.loss for point in update.points]
    assert update.train_loss == pytest.approx(np.dot(steps, losses) / 6)


def test_more_points_than_batches_are_one_a_batch() -> None:
    config = replace(CONFIG, eval_points=50, local_epochs=1)
    update = (
        make_clients(config, make_dataset())
        .make(0, 1)
        .local_train(build_model(config, make_dataset()), 1)
    )
    assert [point.step for point in update.points] == [1, 2, 3]
    huge = replace(CONFIG, eval_points=10**9)
    assert make_clients(huge, make_dataset()).num_points == 3 * 2


@pytest.mark.parametrize(
    "config", [replace(CONFIG, eval_points=0), replace(CONFIG, only_0=True)], ids=["none", "only_0"]
)
def test_local_evaluation_can_be_left_out(config: Config) -> None:
    clients, model = make_clients(config, make_dataset()), build_model(config, make_dataset())
    assert clients.make(1, 1).local_train(model, 1).points == []
    drawn = clients.make(0, 1).local_train(model, 1)
    assert len(drawn.points) == (4 if config.only_0 else 0)
    full = make_clients(CONFIG, make_dataset()).make(0, 1).local_train(model, 1)
    assert torch.equal(
        dense(drawn.diff), dense(full.diff)
    )  # looking does not change what is trained


def test_an_attacker_trains_on_flipped_labels_from_its_first_round_on() -> None:
    dataset = make_dataset()
    config = replace(CONFIG, attack=[replace(FLIP, start_round=2)])
    clients = make_clients(config, dataset)
    honest = dataset.train.labels[clients._shards[2]]
    assert np.array_equal(clients.make(2, 1).train_loader.labels, honest)
    flipped = clients.make(2, 2).train_loader.labels
    assert np.array_equal(flipped, np.where(honest == 1, 4, honest))
    assert 1 in honest
    assert np.array_equal(
        clients.make(1, 2).train_loader.labels, dataset.train.labels[clients._shards[1]]
    )


def test_a_rounds_clients_are_drawn_from_the_seed_and_the_round() -> None:
    config = replace(CONFIG, num_clients=20, clients_per_round=5)
    clients, again = (make_clients(config, make_dataset()) for _ in range(2))
    draws = [clients.plan(round_index, 1).samples for round_index in range(1, 41)]
    assert draws == [again.plan(round_index, 1).samples for round_index in range(1, 41)]
    assert all(len(draw) == 5 and list(draw) == sorted(draw) for draw in draws)
    assert all(draw[client] == 3 for draw in draws for client in draw)  # images of each
    assert {client for draw in draws for client in draw} == set(range(20))
    other = make_clients(replace(config, seed=1), make_dataset())
    assert clients.plan(1, 1).samples != other.plan(1, 1).samples


def test_model_eval_counts_what_is_right() -> None:
    dataset = make_dataset()
    client = make_clients(CONFIG, dataset).make(0, 1)
    model = build_model(CONFIG, make_dataset())
    model.train()
    evaluation = client.model_eval(model)
    assert client.eval_loader is not None
    images, labels = client.eval_loader.batch(0)
    with torch.inference_mode():
        logits = model(images)
    assert evaluation.accuracy == 5 * int((logits.argmax(1) == labels).sum())  # of 20 images
    assert evaluation.loss == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    assert model.training


def test_an_empty_last_batch_does_not_exist() -> None:
    dataset = make_dataset()
    loader = TrainLoader(dataset, np.arange(16), CONFIG, Poisoned(dataset.train.labels[:16]))
    assert [len(labels) for _, labels in loader.epoch(np.random.default_rng(0))] == [8, 8]


def test_sample_rows_show_attackers_with_their_flipped_labels() -> None:
    dataset = make_dataset(num_train=600)
    config = replace(
        CONFIG, num_clients=9, clients_per_round=9, attack=[replace(FLIP, clients=[7])]
    )
    rows = sample_rows(config, dataset)
    assert list(rows) == ["client 0", "client 1", "client 2", "client 7"]
    images, true, trained = rows["client 7"]
    assert images.shape == (8, 32, 32, 3)
    assert set(zip(true[true != trained], trained[true != trained], strict=True)) == {(1, 4)}
    assert np.array_equal(rows["client 0"][1], rows["client 0"][2])


def test_one_scaled_client_replaces_the_global_model_under_client_sampling_too() -> None:
    """w + sum of p_i d_i is its local model, but for what the others move: here nothing."""
    dataset, clients = make_dataset(num_train=90), [1, 4]
    attack = AttackConfig(name="scaling", clients=clients, parameters={"factor": None})
    config = replace(CONFIG, num_clients=6, clients_per_round=3, partition="quantity", alpha=1.0)
    attacked = replace(config, attack=[attack])
    for round_index in range(1, 30):
        model = build_model(config, dataset)
        plain, scaled = (make_clients(own, dataset) for own in (config, attacked))
        samples = scaled.plan(round_index, 1).samples
        if len(set(clients) & set(samples)) != 1:
            continue
        (own,) = set(clients) & set(samples)
        update = scaled.make(own, round_index, samples).local_train(model, round_index)
        step = samples[own] / sum(samples.values()) * dense(update.diff)
        local = plain.make(own, round_index).local_train(model, round_index)
        assert torch.allclose(step, dense(local.diff), rtol=0, atol=1e-6)
        assert samples[own] / sum(samples.values()) < 0.9
        return
    raise AssertionError("no round had one attacker")


def test_a_rank_is_seen_in_its_round_and_with_the_client_that_it_trains() -> None:
    """Of two ranks the second has no client in some rounds; between clients nobody has one."""
    config, dataset = replace(CONFIG, clients_per_round=1, world_size=3), make_dataset()
    observer = Observer(RankHeartbeat(2))
    seen: list[str] = []
    observer.train_batch = lambda *_: seen.append(str(observer.heartbeat))  # type: ignore[method-assign]
    model = build_model(config, dataset)
    clients = Clients(config, dataset, model, observer, {})
    for round_index in range(1, 9):
        seen.clear()
        clients.train_share(Ranks(2, 3, observer.heartbeat), model, round_index)
        is_drawn = 2 in clients.plan(round_index, 3).samples
        assert set(seen) == ({f"rank 2 (client 2, round {round_index})"} if is_drawn else set())
        assert str(observer.heartbeat) == f"rank 2 (round {round_index})"
