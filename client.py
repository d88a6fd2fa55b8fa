"""A client: the global model in, what crosses the wire out."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extra_utils.aggregation.flat_model import WeightDiff
from extra_utils.aggregation.messages import Point, RoundPlan, State, Update
from extra_utils.basics.random_streams import Purpose, stream, torch_seed
from extra_utils.config.keys import Config
from extra_utils.distributed_utils import Ranks
from extra_utils.my_dataset import Dataset, Images, Labels
from extra_utils.run.recorder import Observer
from extra_utils.training.evaluation import Evaluation, evaluate
from extra_utils.training.optimizer import Moment, Optimizer, learning_rate, new_optimizer
from extra_utils.utils import pick_samples
from federal_defense.attacks import table as attacks
from federal_defense.attacks.hiding import HIDE, Disguise
from federal_defense.attacks.labels import Poisoned
from federal_defense.rules.table import looks_at_updates, rule_of
from get_weight_matrix import RoundSum, RuleRound, class_means
from my_data_loader import TestLoader, TrainLoader, choose_eval_images, make_shards, share_out

SAMPLED_CLIENTS = 4  # rows of samples.png


@dataclass(frozen=True)
class Client:
    """One participant: its shard, and how it trains on it. It keeps nothing between rounds."""

    client_id: int
    config: Config
    train_loader: TrainLoader
    eval_loader: TestLoader | None  # None: no local points
    observer: Observer  # is told of every batch
    edits: Sequence[Callable[[Tensor], Tensor]] = ()  # what an attacker does to its difference
    hides: Sequence[tuple[Disguise, TrainLoader]] = ()  # and how it hides what it has learned

    def local_train(self, model: nn.Module, round_index: int) -> Update:
        """Trains a copy of the global model on this client's shard; the model stays as it is."""
        num_batches = self.train_loader.num_batches * self.config.local_epochs
        self.observer.start_client(round_index, self.client_id, num_batches)
        local_model = copy.deepcopy(model)
        optimizer = new_optimizer(local_model.parameters(), self.config)
        place = (self.config.seed, Purpose.TRAINING, self.client_id, round_index)
        draws = stream(*place)
        torch.manual_seed(torch_seed(*place))  # for what the model itself draws, such as dropout
        due = point_steps(self.config, self.train_loader.num_batches) if self.eval_loader else ()
        losses, points = list[float](), list[Point]()
        for epoch in range(self.config.local_epochs):
            optimizer.lr = learning_rate(Moment(self.config, round_index, epoch))
            for images, labels in self.train_loader.epoch(draws):
                losses.append(train_step(local_model, optimizer, images, labels))
                self.observer.train_batch(epoch + 1, losses[-1])
                if len(losses) in due:
                    loss = fmean(losses[points[-1].step if points else 0 :])
                    accuracy = self.model_eval(local_model).accuracy
                    points.append(Point(epoch + 1, len(losses), loss, accuracy))
        diff, reported = WeightDiff(local_model, model), None
        for hide, loader in self.hides:  # it looks like a copy of itself with true labels
            honest = Client(self.client_id, self.config, loader, None, self.observer)
            copied = honest.local_train(model, round_index)
            told = hide(local_model, model, copied, loader.epoch(draws))
            reported = reported if told is None else told  # None: its model's own
        for edit in self.edits:
            diff.edit(edit)
        means, loss = class_means(local_model) if reported is None else reported, fmean(losses)
        size, edited = self.train_loader.num_samples, self.train_loader.edited_labels
        return Update(self.client_id, size, diff, means, loss, points, edited)

    def model_eval(self, model: nn.Module) -> Evaluation:
        """The model on this client's test images."""
        assert self.eval_loader is not None
        numbers = range(self.eval_loader.num_batches)
        return evaluate(model, self.eval_loader, numbers, self.observer.heartbeat.beat)


class Clients:
    """All clients of a run, of which each is made when its turn comes. The same on every rank."""

    def __init__(
        self, config: Config, dataset: Dataset, model: nn.Module, observer: Observer, state: State
    ) -> None:
        """``model``: the global one. ``state``: what the rule remembers of a run that goes on."""
        self._config, self._dataset, self._observer = config, dataset, observer
        self._shards = make_shards(config, dataset).shards
        self._eval_loader = TestLoader(dataset, choose_eval_images(config, dataset))
        # the most that a client draws in a round: one for each batch, at most
        longest = max(len(shard) for shard in self._shards)
        self.num_points = len(point_steps(config, -(-longest // config.batch_size)))
        kind, defense = RuleRound if looks_at_updates(config) else RoundSum, config.defense
        rule = None if kind is RoundSum and defense.name == "mean" else rule_of(defense)
        self._aggregation = kind(model, self.num_points, config.clients_per_round, rule, state)

    def class_counts(self) -> list[list[int]]:
        """Images of each client, by class."""
        labels, num_classes = self._dataset.train.labels, self._dataset.num_classes
        return [np.bincount(labels[own], minlength=num_classes).tolist() for own in self._shards]

    def plan(self, round_index: int, world_size: int) -> RoundPlan:
        """The round's clients, drawn from the seed, and whose turn it is to train them."""
        config, num_clients = self._config, len(self._shards)
        drawn = np.arange(num_clients)
        if config.clients_per_round < num_clients:
            generator = stream(config.seed, Purpose.PARTICIPANTS, round_index=round_index)
            drawn = np.sort(generator.choice(drawn, config.clients_per_round, replace=False))
        samples = {client_id: len(self._shards[client_id]) for client_id in drawn.tolist()}
        shares = share_out(samples, world_size, num_clients)
        attackers = config.attackers(round_index)
        together = attacks.collusions(config, round_index)
        draw = partial(stream, config.seed, round_index=round_index)
        masked = (config.neighbours or num_clients) if config.secure_aggregation else 0
        return RoundPlan(samples, shares, attackers, num_clients, together, draw, masked)

    def train_share(self, ranks: Ranks, model: nn.Module, round_index: int) -> RoundSum:
        """Trains this rank's share of the round's clients, one after the other."""
        plan = self.plan(round_index, ranks.world_size)
        self._aggregation.begin(plan, ranks.heartbeat.beat)
        ranks.heartbeat.place(round_index)
        for client_id in plan.shares[ranks.rank]:
            client = self.make(client_id, round_index, plan.samples)
            self._aggregation.add(client.local_train(model, round_index))
        ranks.heartbeat.place(round_index)  # what fails from here on is no client's fault
        return self._aggregation

    def make(
        self, client_id: int, round_index: int, samples: dict[int, int] | None = None
    ) -> Client:
        """The client as it is in this round, ``samples`` being those of its clients; an attacker's
        labels are edited here."""
        config, dataset, shard = self._config, self._dataset, self._shards[client_id]
        labels = dataset.train.labels[shard]
        who = config, dataset.num_classes, client_id, round_index
        loader = TrainLoader(dataset, shard, config, attacks.poison(labels, *who))
        draws_points = config.eval_points and (client_id == 0 or not config.only_0)
        eval_loader = self._eval_loader if draws_points else None
        edits = attacks.edits_of("diff", *who, samples)
        honest = TrainLoader(dataset, shard, config, Poisoned(labels))
        hides = [(HIDE[name], honest) for name in attacks.hiding_of(config, client_id, round_index)]
        return Client(client_id, config, loader, eval_loader, self._observer, edits, hides)


def point_steps(config: Config, num_batches: int) -> set[int]:
    """The steps of a round after which a point is due: evenly spread over each epoch."""
    count = min(config.eval_points, num_batches)
    in_epoch = [math.ceil(num_batches * number / count) for number in range(1, count + 1)]
    return {epoch * num_batches + step for epoch in range(config.local_epochs) for step in in_epoch}


def train_step(model: nn.Module, optimizer: Optimizer, images: Tensor, labels: Tensor) -> float:
    """One step on a batch of images [B, C, H, W] and labels [B]; returns its mean loss."""
    optimizer.zero_grad()
    loss = F.cross_entropy(model(images), labels)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss.item()


def sample_rows(config: Config, dataset: Dataset) -> dict[str, tuple[Images, Labels, Labels]]:
    """For the viewer: some images of client 0, of the attackers, and of others, with their labels.

    By client: images [N, H, W, C], true labels [N], labels trained on [N]."""
    last = {c: n for n in range(1, config.global_epochs + 1) for c in config.attackers(n)}
    shards = make_shards(config, dataset).shards
    order = dict.fromkeys([0, *sorted(last), *range(len(shards))])
    generator = stream(config.seed, Purpose.SAMPLES)
    rows = {}
    for client_id in sorted(list(order)[:SAMPLED_CLIENTS]):
        true = dataset.train.labels[shards[client_id]]
        who = config, dataset.num_classes, client_id, last.get(client_id, 1)
        poisoned = attacks.poison(true, *who)
        chosen = pick_samples(true, poisoned.labels, generator)
        images = poisoned.stamped(dataset.train.images[shards[client_id][chosen]], chosen)
        rows[f"client {client_id}"] = (images, true[chosen], poisoned.labels[chosen])
    return rows
