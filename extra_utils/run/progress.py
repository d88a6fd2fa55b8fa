"""Shows a person where the run stands: two bars on a terminal, one line a round elsewhere."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm

from extra_utils.distributed_utils import Heartbeat


class Display:
    """What the ranks other than 0 show: nothing."""

    def start_client(self, title: str, num_batches: int) -> None:
        """A client of rank 0 begins its local training of so many batches."""

    def batch(self) -> None:
        """A training batch is done."""

    def end_round(self, row: dict[str, Any]) -> None:
        """A round is done; ``row`` is what metrics.jsonl says of it."""

    def close(self) -> None:
        """Nothing more is shown."""


class Lines(Display):
    """One plain line a round, for files and pipes."""

    def __init__(self, num_rounds: int) -> None:
        self._num_rounds = num_rounds

    def end_round(self, row: dict[str, Any]) -> None:
        seconds = sum(row["seconds"].values())
        print(
            f"round {row['round']}/{self._num_rounds}  {round_text(row)}  {seconds:.1f} s",
            flush=True,
        )


class Bars(Display):
    """One bar for the rounds, with the last global figures on it, and one for rank 0's batches."""

    def __init__(self, num_rounds: int, done: int) -> None:
        self._rounds = tqdm(total=num_rounds, initial=done, desc="rounds", position=0, unit="round")
        self._batches = tqdm(position=1, leave=False, unit="batch")

    def start_client(self, title: str, num_batches: int) -> None:
        self._batches.set_description(title, refresh=False)
        self._batches.reset(num_batches)

    def batch(self) -> None:
        self._batches.update()

    def end_round(self, row: dict[str, Any]) -> None:
        self._rounds.set_postfix_str(round_text(row), refresh=False)
        self._rounds.update(1 if row["round"] else 0)
        self._rounds.refresh()

    def close(self) -> None:
        self._batches.close()
        self._rounds.close()


class Observer:
    """What a client tells of its work: to the parent that it lives, to the user how far it is."""

    def __init__(self, heartbeat: Heartbeat, display: Display) -> None:
        self.heartbeat, self.display = heartbeat, display

    def start_client(self, round_index: int, client_id: int, num_batches: int) -> None:
        self.heartbeat.place(round_index, client_id)
        self.display.start_client(f"round {round_index}, client {client_id}", num_batches)

    def train_batch(self) -> None:
        self.heartbeat.beat()
        self.display.batch()

    def eval_batch(self) -> None:
        self.heartbeat.beat()


def choose_display(is_main: bool, num_rounds: int, done: int = 0) -> Display:
    """Rank 0 alone speaks."""
    if not is_main:
        return Display()
    return Bars(num_rounds, done) if sys.stderr.isatty() else Lines(num_rounds)


def round_text(row: dict[str, Any]) -> str:
    """A round's or the summary's figures in a few words."""
    texts = [f"accuracy {row['accuracy']:.2f} %", f"loss {_number(row['loss'])}"]
    if row.get("source_recall") is not None:
        texts.append(f"source recall {row['source_recall']:.1f} %")
    if row.get("attack_success_rate") is not None:
        texts.append(f"attack success {row['attack_success_rate']:.1f} %")
    return "  ".join(texts)


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.3f}"
