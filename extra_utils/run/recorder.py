"""Rank 0 shows where the run stands and writes it down: metrics.jsonl, checkpoint and model."""

import statistics
import sys
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import nn
from tqdm import tqdm

from extra_utils.aggregation.messages import ClientReport, RoundResult
from extra_utils.basics.files import write_whole
from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.config.keys import AttackConfig
from extra_utils.distributed_utils import Ranks
from extra_utils.model import num_parameters
from extra_utils.my_dataset import Dataset
from extra_utils.processes.launch import Job
from extra_utils.run import metrics
from extra_utils.run.checkpoint import Identity, checkpoint_beside, save_model
from extra_utils.training.evaluation import Evaluation
from extra_utils.utils import save_class_indices

PARTS = ("train", "aggregate", "evaluate", "save")  # of a round's seconds, which sum to it


class Observer:
    """Is told of a client's work, tells the parent that the rank lives, and on rank 0 shows it."""

    def __init__(self, heartbeat: RankHeartbeat, total: int | None = None, done: int = 0) -> None:
        """``total``: the number of rounds; without one nothing is shown."""
        self.heartbeat = heartbeat
        hidden = True if total is None else None  # None: where standard error is no terminal
        self._rounds = tqdm(None, "rounds", total, unit="round", initial=done, disable=hidden)
        self._batches = tqdm(position=1, leave=False, unit="batch", disable=hidden)

    def start_client(self, round_index: int, client_id: int, num_batches: int) -> None:
        self.heartbeat.place(round_index, client_id)
        self._batches.set_description(f"round {round_index}, client {client_id}", refresh=False)
        self._batches.reset(num_batches)
        self._epoch = 0

    def train_batch(self, epoch: int, loss: float) -> None:
        self.heartbeat.beat()
        if epoch != self._epoch:
            self._epoch, self._total_loss, self._num_losses = epoch, 0.0, 0
        self._total_loss += loss
        self._num_losses += 1
        text = f"epoch {epoch}, mean loss {self._total_loss / self._num_losses:.3f}"
        self._batches.set_postfix_str(text, refresh=False)
        self._batches.update()

    def end_round(self, row: metrics.Row) -> None:
        if self._rounds.disable:  # standard error is no terminal
            place, seconds = f"{row['round']}/{self._rounds.total}", sum(row["seconds"].values())
            print(f"round {place}  {metrics.round_text(row)}  {seconds:.1f} s", flush=True)
        self._rounds.set_postfix_str(metrics.round_text(row), refresh=False)
        self._rounds.update(1 if row["round"] else 0)
        self._rounds.refresh()

    def close(self) -> None:
        self._batches.close()
        self._rounds.close()


class MainRecorder:
    """Rank 0's: writes each round down when it is over."""

    def __init__(self, ranks: Ranks, job: Job, done: int | None, identity: Identity) -> None:
        """``done``: the round that it goes on after, or None. ``identity``: a checkpoint's own."""
        self._ranks, self._config, self._run_dir = ranks, job.config, job.run_dir
        self._told, self._identity = job.told, identity
        self.observer = Observer(ranks.heartbeat, job.config.global_epochs, done or 0)
        self._last, self._seconds = time.perf_counter(), dict.fromkeys(PARTS, 0.0)
        rows = [] if done is None else metrics.cut_metrics(job.run_dir, done)
        self._rounds = [row for row in rows if row["kind"] == "round"]

    def begin(
        self, dataset: Dataset, model: nn.Module, counts: list[list[int]], evaluation: Evaluation
    ) -> None:
        """The rounds begin, or go on; ``counts``: each client's images by class."""
        self.lap("evaluate")
        if self._rounds:
            self._seconds, self._ranks.num_bytes = dict.fromkeys(PARTS, 0.0), 0
            return
        save_class_indices(self._run_dir, dataset.info.class_names)
        write_whole(self._run_dir / metrics.FILE_NAME, b"")  # in place of one from before round 1
        shard_sizes = [sum(by_class) for by_class in counts]
        run = metrics.make_row(
            "run",
            dataset=dataset.info.name,
            synthetic=dataset.info.synthetic,
            num_train=sum(shard_sizes),
            num_test=self._config.num_test or len(dataset.test),
            num_params=num_parameters(model),
            class_names=dataset.info.class_names,
            shard_sizes=shard_sizes,
            class_counts=counts,
            threads_per_process=self._config.threads_per_process,
            versions=metrics.versions(),
            warnings=self._told,
        )
        metrics.append_rows(self._run_dir, [run])
        self.end_round(0, model, evaluation, None)

    def end_round(
        self, round_index: int, model: nn.Module, evaluation: Evaluation, result: RoundResult | None
    ) -> None:
        """The round is over; ``result`` is None for round 0, the untrained model."""
        config, reports = self._config, result.reports if result else []
        rows = [row for report in reports for row in self._client_rows(round_index, report)]
        checkpoint: AbstractContextManager[None] = nullcontext()
        every = config.checkpoint_every
        # of round 0 too: from then on, rounds without a checkpoint have lost it or never had one
        if every and (round_index % every == 0 or round_index == config.global_epochs):
            whose, rule = self._identity, result.rule if result else {}
            checkpoint = checkpoint_beside(self._run_dir, model, round_index, whose, rule)
        with checkpoint:  # it lies ready, and takes its place once the rows are written
            self.lap("save")
            row = metrics.make_row(
                "round",
                round=round_index,
                accuracy=evaluation.accuracy,
                loss=evaluation.loss,
                recall=evaluation.recall,
                **attack_rates(evaluation, config.attacks),
                backdoor_success_rate=evaluation.backdoor_success_rate,
                detection=detection(reports, config.attackers(round_index)),
                unchanged=bool(reports) and all(report.weight == 0 for report in reports),
                misreported=result.misreported if result else None,
                bytes_per_rank=self._ranks.num_bytes,
                seconds=self._seconds,
            )
            metrics.append_rows(self._run_dir, [*rows, row])
        self._rounds.append(row)
        self._seconds, self._ranks.num_bytes = dict.fromkeys(PARTS, 0.0), 0
        self._ranks.heartbeat.beat()
        if row["unchanged"]:
            left_out = f"{config.defense.name} has left out every client"
            tqdm.write(f"note: round {round_index}: {left_out}, so the model stays as it was")
        if row["misreported"]:
            lie = "the class means that clients report are not those of what they send"
            place = f"round {round_index}: most of all in class {row['misreported'][0]}"
            tqdm.write(f"warning: {place} {lie}; who lies, the sum does not tell", file=sys.stderr)
        self.observer.end_round(row)

    def lap(self, part: str) -> None:
        """All time since the last lap was spent on this part of the round."""
        now = time.perf_counter()
        self._seconds[part] += now - self._last
        self._last = now

    def finish(self, model: nn.Module, evaluation: Evaluation) -> None:
        metrics.append_rows(self._run_dir, [summarize(self._rounds, evaluation)])
        save_model(self._run_dir, model)
        self.observer.close()

    def _client_rows(self, round_index: int, report: ClientReport) -> list[metrics.Row]:
        own = dict(vars(report))
        place = {"round": round_index, "client": own.pop("client_id")}
        points = [metrics.make_row("point", **place, **vars(point)) for point in own.pop("points")]
        attacker = report.client_id in self._config.attackers(round_index)
        return [*points, metrics.make_row("client", **place, **own, attacker=attacker)]


class SilentRecorder:
    """The recorder of the ranks other than 0."""

    def __init__(self, ranks: Ranks) -> None:
        self.observer = Observer(ranks.heartbeat)

    def begin(self, *_: object) -> None: ...

    lap = end_round = finish = begin


def attack_rates(evaluation: Evaluation, attacks: list[AttackConfig]) -> metrics.Row:
    """How the source class fares on the clean test images: of the first attack that has one."""
    for parameters in (attack.parameters for attack in attacks):
        source, target = parameters.get("source"), parameters.get("target")
        if isinstance(source, int) and isinstance(target, int):
            recall, success = evaluation.rate(source, source), evaluation.rate(source, target)
            return {"source_recall": recall, "attack_success_rate": success}
    return {"source_recall": None, "attack_success_rate": None}


def detection(reports: list[ClientReport], attackers: set[int]) -> metrics.Row:
    """In percent; null: precision without flags, recall without attackers or a rule that flags."""
    flagged = {report.client_id for report in reports if report.flagged}
    present = {report.client_id for report in reports if report.flagged is not None} & attackers
    hits = len(flagged & present)
    return {
        "precision": 100.0 * hits / len(flagged) if flagged else None,
        "recall": 100.0 * hits / len(present) if present else None,
    }


def summarize(rounds: list[metrics.Row], evaluation: Evaluation) -> metrics.Row:
    """The mean of the last rounds, and the final model's confusion matrix, rows true."""
    last = [row for row in rounds if row["round"] > 0][-metrics.SUMMARY_ROUNDS :]
    means = {key: mean([row[key] for row in last]) for key in metrics.AVERAGED}
    return metrics.make_row("summary", **means, confusion_matrix=evaluation.confusion.tolist())


def mean(values: list[Any]) -> Any:
    """Of the numbers that are there, of objects by key; null without any."""
    there = [value for value in values if value is not None]
    if there and isinstance(there[0], dict):
        return {key: mean([value[key] for value in there]) for key in there[0]}
    return statistics.fmean(there) if there else None
