"""A client: the global model in, what crosses the wire out."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extra_utils.aggregation.messages import Point, Update
from extra_utils.aggregation.updates import State
from extra_utils.basics.random_streams import Purpose, stream, torch_seed
from extra_utils.config.keys import Config
from extra_utils.distributed_utils import Ranks
from extra_utils.model import integer_values, scored_values, train_mode
from extra_utils.my_dataset import Dataset, Images, Labels
from extra_utils.run.progress import Observer
from extra_utils.training.evaluation import Evaluation, evaluate
from extra_utils.training.optimizer import Adam
from extra_utils.utils import pick_samples
from federal_defense.attacks import poison, tampering, with_stamp
from federal_defense.rules.table import rule_of
from get_weight_matrix import ReportRows, RoundSum, RuleRound, class_mean, weight_diff
from my_data_loader import TestLoader, TrainLoader, choose_eval_images, make_shards, share_out

SAMPLED_CLIENTS = 4  # rows of samples.png


class Client:
    """One participant: its shard, and how it trains on it. It keeps nothing between rounds."""

    def __init__(
        self, client_id: int, config: Config, train_loader: TrainLoader,
        eval_loader: TestLoader | None, observer: Observer,
    ) -> None:  # fmt: skip
        """``eval_loader`` None: no local points. The observer is told of every batch."""
        self.client_id = client_id
        self.config = config
        self.train_loader = train_loader
        self.eval_loader = eval_loader
        self.observer = observer
        self.tamper: Callable[[Tensor], Tensor] | None = None  # what an attacker does to its diff

    def local_train(self, model: nn.Module, round_index: int) -> Update:
        """Trains a copy of the global model on this client's shard; the model stays as it is."""
        num_batches = self.train_loader.num_batches * self.config.local_epochs
        self.observer.start_client(round_index, self.client_id, num_batches)
        local_model = train_mode(copy.deepcopy(model))
        optimizer = Adam(local_model.parameters(), self.config.lr)
        draws = stream(self.config.seed, Purpose.TRAINING, self.client_id, round_index)
        torch.manual_seed(  # what the model itself draws, such as dropout
            torch_seed(self.config.seed, Purpose.TRAINING, self.client_id, round_index)
        )
        point_steps = self._point_steps()
        losses: list[float] = []
        points: list[Point] = []
        for epoch in range(self.config.local_epochs):
            optimizer.lr = cosine_rate(self.config, epoch)
            for images, labels in self.train_loader.epoch(draws):
                losses.append(train_step(local_model, optimizer, images, labels))
                self.observer.train_batch()
                if len(losses) in point_steps:
                    since = losses[points[-1].step if points else 0 :]
                    points.append(self._point(local_model, epoch + 1, len(losses), since))
        diff = weight_diff(local_model, model)
        if self.tamper is not None:
            diff.edit(self.tamper, sum(value.numel() for value in scored_values(model)))
        return Update(
            client_id=self.client_id,
            num_samples=self.train_loader.num_samples,
            diff=diff,
            counters=integer_values(local_model),
            class_mean=class_mean(local_model),
            train_loss=mean(losses),
            points=points,
        )

    def model_eval(self, model: nn.Module) -> Evaluation:
        """The model on this client's test images."""
        assert self.eval_loader is not None
        numbers = range(self.eval_loader.num_batches)
        return evaluate(model, self.eval_loader, numbers, self.observer.eval_batch)

    def _point(self, model: nn.Module, epoch: int, step: int, losses: list[float]) -> Point:
        return Point(epoch, step, mean(losses), self.model_eval(model).accuracy)

    def _point_steps(self) -> set[int]:
        """The steps of the round after which a point is due: evenly spread over each epoch."""
        if self.eval_loader is None:
            return set()
        length = self.train_loader.num_batches
        count = min(self.config.eval_points, length)
        in_epoch = [math.ceil(length * number / count) for number in range(1, count + 1)]
        return {e * length + step for e in range(self.config.local_epochs) for step in in_epoch}


class Clients:
    """All clients of a run, of which each is made when its turn comes. The same on every rank."""

    def __init__(
        self, config: Config, dataset: Dataset, observer: Observer, rule_state: State | None = None
    ) -> None:
        """``rule_state``: what the aggregation rule remembers of a run that goes on."""
        self._config, self._dataset, self._observer = config, dataset, observer
        self._rule_state = rule_state or {}
        self._shards = make_shards(config, dataset).shards
        self._eval_loader = TestLoader(
            dataset.test, choose_eval_images(config, dataset), dataset.info
        )
        self._aggregation: RoundSum | RuleRound | None = None

    def class_counts(self) -> list[list[int]]:
        """Images of each client, by class."""
        labels, num_classes = self._dataset.train.labels, self._dataset.num_classes
        counts = [np.bincount(labels[shard], minlength=num_classes) for shard in self._shards]
        return [row.tolist() for row in counts]

    @property
    def num_points(self) -> int:
        """The most points that a client draws in a round: at most one for each batch."""
        longest = max(len(shard) for shard in self._shards)
        num_batches = -(-longest // self._config.batch_size)
        return min(self._config.eval_points, num_batches) * self._config.local_epochs

    def draw(self, round_index: int) -> dict[int, int]:
        """The round's clients in ascending order, and their numbers of images."""
        config = self._config
        drawn = np.arange(config.num_clients)
        if config.clients_per_round < config.num_clients:
            generator = stream(config.seed, Purpose.PARTICIPANTS, round_index=round_index)
            drawn = np.sort(generator.choice(drawn, config.clients_per_round, replace=False))
        return {client_id: len(self._shards[client_id]) for client_id in drawn.tolist()}

    def aggregation(self, model: nn.Module) -> RoundSum | RuleRound:
        """How the run's updates become one; it keeps the rule's state from round to round."""
        if self._aggregation is None:
            config = self._config
            figures = ReportRows(model, self.num_points, config.clients_per_round)
            if config.defense.name == "mean":
                self._aggregation = RoundSum(model, figures)
            else:
                rule = rule_of(config)
                self._aggregation = RuleRound(model, figures, rule, config, self._rule_state)
        return self._aggregation

    def train_share(self, ranks: Ranks, model: nn.Module, round_index: int) -> RoundSum | RuleRound:
        """Trains this rank's share of the round's clients, one after the other."""
        samples = self.draw(round_index)
        shares = share_out(samples, ranks.world_size, len(self._shards))
        aggregation = self.aggregation(model)
        aggregation.begin(round_index, samples, shares)
        for client_id in shares[ranks.rank]:
            client = self.make(client_id, round_index)
            aggregation.add(client.local_train(model, round_index))
        return aggregation

    def make(self, client_id: int, round_index: int) -> Client:
        """The client as it is in this round; an attacker's labels are edited here."""
        config, dataset = self._config, self._dataset
        loader = TrainLoader(dataset.train, self._shards[client_id], dataset.info, config)
        num_classes = dataset.num_classes
        loader.poison(poison(loader.labels, config, num_classes, client_id, round_index))
        draws_points = config.eval_points and (client_id == 0 or not config.only_0)
        eval_loader = self._eval_loader if draws_points else None
        client = Client(client_id, config, loader, eval_loader, self._observer)
        client.tamper = tampering(config, num_classes, client_id, round_index)
        return client


def train_step(model: nn.Module, optimizer: Adam, images: Tensor, labels: Tensor) -> float:
    """One step on a batch of images [B, C, H, W] and labels [B]; returns its mean loss."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def cosine_rate(config: Config, epoch: int) -> float:
    """The learning rate of a local epoch, counted from 0: from ``lr`` towards ``lr * lrf``."""
    share = (1 + math.cos(math.pi * epoch / config.local_epochs)) / 2
    return config.lr * (share * (1 - config.lrf) + config.lrf)


def mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def sample_rows(config: Config, dataset: Dataset) -> dict[str, tuple[Images, Labels, Labels]]:
    """For the viewer: some images of client 0, of the attackers, and of others, with their labels.

    By client: images [N, H, W, C], true labels [N], labels trained on [N].
    """
    attackers = config.attack.clients if config.attack else []
    shards = make_shards(config, dataset).shards
    order = dict.fromkeys([0, *attackers, *range(len(shards))])
    generator = stream(config.seed, Purpose.SAMPLES)
    rows = {}
    for client_id in sorted(list(order)[:SAMPLED_CLIENTS]):
        true = dataset.train.labels[shards[client_id]]
        poisoned = poison(true, config, dataset.num_classes, client_id, config.global_epochs)
        trained = poisoned.labels
        chosen = pick_samples(true, trained, generator)
        images = dataset.train.images[shards[client_id][chosen]]
        if poisoned.is_stamped is not None and poisoned.stamp is not None:
            stamped = poisoned.is_stamped[chosen]
            images[stamped] = with_stamp(images[stamped], poisoned.stamp)
        rows[f"client {client_id}"] = (images, true[chosen], trained[chosen])
    return rows
