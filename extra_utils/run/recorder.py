"""Rank 0 writes the run down; the other ranks hold a recorder that does nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from torch import nn

from extra_utils.aggregation.messages import ClientReport, RoundResult
from extra_utils.config.keys import Config, to_json
from extra_utils.distributed_utils import Ranks
from extra_utils.model import num_parameters
from extra_utils.my_dataset import Dataset
from extra_utils.run.checkpoint import checkpoint_beside, save_model
from extra_utils.run.metrics import (
    MetricsWriter,
    Row,
    Stopwatch,
    attack_rates,
    detection,
    summarize,
    versions,
)
from extra_utils.run.progress import Display
from extra_utils.run.resume import cut_metrics
from extra_utils.training.evaluation import Evaluation
from extra_utils.utils import save_class_indices


class Recorder:
    """The recorder of the ranks other than 0."""

    def begin(
        self, dataset: Dataset, model: nn.Module, class_counts: list[list[int]],
        evaluation: Evaluation, done: int | None,
    ) -> None:  # fmt: skip
        """Before the first round, or after round ``done`` of a run that goes on.

        ``class_counts`` are each client's images by class.
        """

    def lap(self, part: str) -> None:
        """The time since the last call was spent on this part of the round."""

    def end_round(
        self, round_index: int, model: nn.Module, evaluation: Evaluation, result: RoundResult | None
    ) -> None:
        """The round is over; ``result`` is None for round 0, the untrained model."""

    def finish(self, model: nn.Module, evaluation: Evaluation) -> None:
        """The last round is over."""


def choose_recorder(ranks: Ranks, config: Config, run_dir: Path, display: Display) -> Recorder:
    """Rank 0 alone writes."""
    return MainRecorder(ranks, config, run_dir, display) if ranks.is_main else Recorder()


class MainRecorder(Recorder):
    """Writes metrics.jsonl, checkpoint.pth and model.pth, and feeds the display."""

    def __init__(self, ranks: Ranks, config: Config, run_dir: Path, display: Display) -> None:
        self._ranks, self._config, self._run_dir = ranks, config, run_dir
        self._display = display
        self._metrics = MetricsWriter(run_dir)
        self._stopwatch = Stopwatch()
        self._rounds: list[Row] = []

    def begin(
        self, dataset: Dataset, model: nn.Module, class_counts: list[list[int]],
        evaluation: Evaluation, done: int | None,
    ) -> None:  # fmt: skip
        if done is not None:
            rows = cut_metrics(self._run_dir, done)
            self._rounds = [row for row in rows if row["kind"] == "round"]
            self._ranks.num_bytes = 0
            self._stopwatch = Stopwatch()
            return
        self._metrics.create()
        save_class_indices(self._run_dir, dataset.info.class_names)
        self._metrics.write([self._run_row(dataset, model, class_counts)])
        self.lap("evaluate")
        self.end_round(0, model, evaluation, None)

    def lap(self, part: str) -> None:
        self._stopwatch.lap(part)

    def end_round(
        self, round_index: int, model: nn.Module, evaluation: Evaluation, result: RoundResult | None
    ) -> None:
        reports = result.reports if result else []
        rows = [row for report in reports for row in self._client_rows(round_index, report)]
        with self._checkpoint(round_index, model, result):
            self.lap("save")
            round_row = self._round_row(round_index, evaluation, reports)
            self._metrics.write([*rows, round_row])
        self._rounds.append(round_row)
        self._ranks.heartbeat.beat()
        self._display.end_round(round_row)

    def finish(self, model: nn.Module, evaluation: Evaluation) -> None:
        self._metrics.write([summarize(self._rounds, evaluation)])
        save_model(self._run_dir, model)
        self._display.close()

    def _run_row(self, dataset: Dataset, model: nn.Module, class_counts: list[list[int]]) -> Row:
        shard_sizes = [sum(counts) for counts in class_counts]
        return {
            "kind": "run",
            "dataset": dataset.info.name,
            "synthetic": dataset.info.synthetic,
            "num_train": sum(shard_sizes),
            "num_test": self._config.num_test or len(dataset.test),
            "num_params": num_parameters(model),
            "class_names": dataset.info.class_names,
            "shard_sizes": shard_sizes,
            "class_counts": class_counts,
            "threads_per_process": self._config.threads_per_process,
            "versions": versions(),
        }

    def _checkpoint(
        self, round_index: int, model: nn.Module, result: RoundResult | None
    ) -> AbstractContextManager[None]:
        """One that is due lies ready on disk, and takes its place once the rows are written."""
        every, last = self._config.checkpoint_every, self._config.global_epochs
        if not every or result is None or (round_index % every and round_index != last):
            return nullcontext()
        config = to_json(self._config)
        return checkpoint_beside(self._run_dir, model, round_index, config, result.rule)

    def _client_rows(self, round_index: int, report: ClientReport) -> list[Row]:
        place: dict[str, Any] = {"round": round_index, "client": report.client_id}
        points = [{"kind": "point", **place, **vars(point)} for point in report.points]
        client = {
            "kind": "client",
            **place,
            "num_samples": report.num_samples,
            "train_loss": report.train_loss,
            "class_mean": report.class_mean,
            "attacker": report.client_id in self._config.attackers(round_index),
            "flagged": report.flagged,
            "weight": report.weight,
        }
        return [*points, client]

    def _round_row(
        self, round_index: int, evaluation: Evaluation, reports: list[ClientReport]
    ) -> Row:
        num_bytes, self._ranks.num_bytes = self._ranks.num_bytes, 0
        return {
            "kind": "round",
            "round": round_index,
            "accuracy": evaluation.accuracy,
            "loss": evaluation.loss,
            "recall": evaluation.recall,
            **attack_rates(evaluation, self._config.attack),
            "backdoor_success_rate": evaluation.backdoor_success_rate,
            "detection": detection(reports, self._config.attackers(round_index)),
            "bytes_per_rank": num_bytes,
            "seconds": self._stopwatch.restart(),
        }
