"""What a person sees of a run."""

from __future__ import annotations

import io
import sys
import time

import pytest

from extra_utils.basics.heartbeat import RankHeartbeat
from extra_utils.run.metrics import round_text
from extra_utils.run.recorder import Observer

FIGURES = {"accuracy": 12.5, "loss": 2.25, "source_recall": None, "attack_success_rate": 7.0}
ROW = {"round": 1, **FIGURES, "seconds": {"train": 1.0, "save": 0.5}}
HEARTBEAT = RankHeartbeat()
TEXT = "accuracy 12.50 %  loss 2.250  attack success 7.0 %"


class Terminal(io.StringIO):
    """A standard error that somebody looks at."""

    def isatty(self) -> bool:
        return True


def train_a_client(observer: Observer) -> None:
    observer.start_client(1, 0, 4)
    for epoch, loss in ((1, 9.0), (1, 2.0), (2, 1.0), (2, 0.5)):
        time.sleep(0.11)  # a bar is drawn again after a tenth of a second
        observer.train_batch(epoch, loss)
    observer.heartbeat.beat()


def show_a_round(progress: Observer) -> None:
    train_a_client(progress)
    progress.end_round(ROW)
    progress.close()


def test_files_and_pipes_get_one_line_a_round(capsys: pytest.CaptureFixture[str]) -> None:
    show_a_round(Observer(HEARTBEAT, 3, 0))
    assert capsys.readouterr() == (f"round 1/3  {TEXT}  1.5 s\n", "")


def test_a_terminal_gets_two_bars(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    show_a_round(Observer(HEARTBEAT, 3, 1))
    assert capsys.readouterr().out == ""
    assert "round 1, client 0: " in terminal.getvalue()
    assert "epoch 2, mean loss 0.750" in terminal.getvalue()  # of this epoch alone
    assert "1/3" in terminal.getvalue()  # those that were done before
    assert "2/3" in terminal.getvalue()
    assert TEXT in terminal.getvalue()


def test_the_other_ranks_show_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    train_a_client(Observer(HEARTBEAT))
    assert (capsys.readouterr().out, terminal.getvalue()) == ("", "")


def test_a_loss_that_is_not_finite_is_named() -> None:
    assert round_text(ROW | {"loss": None}).startswith("accuracy 12.50 %  loss not finite")
