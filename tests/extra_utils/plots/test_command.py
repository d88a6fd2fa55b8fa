"""The command that draws runs: formats, the watch, wrong words, and no need of torch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from extra_utils.plots import __main__ as command
from extra_utils.plots.draw import draw_run
from tests.extra_utils.plots.made_runs import CASES, Made, make_group, make_run
from tests.helpers import ROOT

NAMES = ["accuracy", "class_mean", "confusion_matrix", "detection", "loss", "partition"]
BEGINNINGS = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}
NO_TORCH = """
import sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} is not there")

sys.meta_path.insert(0, NoTorch())
try:
    import torch
except ImportError as error:
    assert "is not there" in str(error)
else:
    raise AssertionError("torch can be imported")
from extra_utils.plots.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_every_format_holds_every_picture_and_is_the_same_again(tmp_path: Path) -> None:
    drawn = []
    for name in ("first", "second"):
        run = make_run(tmp_path / name, CASES["chinese-names"])
        assert command.main(["--format=png,pdf,svg", str(run)]) == 0
        drawn.append({p.name: p.read_bytes() for p in run.iterdir() if p.suffix[1:] in BEGINNINGS})
        time.sleep(1.1 if name == "first" else 0)  # another second on the clock
    assert drawn[0] == drawn[1]
    assert sorted(drawn[0]) == sorted(f"{name}.{form}" for name in NAMES for form in BEGINNINGS)
    for name, content in drawn[0].items():
        assert content.startswith(BEGINNINGS[name.rpartition(".")[2]])
        assert b"CreationDate" not in content
        assert b"dc:date" not in content


def test_a_comparison_is_drawn_in_the_formats_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = make_group(tmp_path)[:2]
    assert command.main(["--format", "pdf", str(runs[0]), str(runs[1])]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"comparison: {tmp_path / 'comparison.pdf'}"
    assert [path.name for path in tmp_path.glob("comparison.*")] == ["comparison.pdf"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--format=gif"], 'format: got "gif", must be some of png, pdf, svg'),
        (["--format=png,"], 'format: got "", must be some of png, pdf, svg'),
        (["--format"], 'format: got "", must be some of png, pdf, svg'),
        (["--formats=png"], 'option: got "--formats", must be --format=png,pdf,svg or --watch'),
        (["--watch=1"], 'option: got "--watch", must be'),
        (["--watch", "other"], 'folders: got ["other", "'),
    ],
)
def test_a_wrong_command_line_is_one_line(
    options: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "run", Made(rounds=1))
    words = [*options, str(run)] if options != ["--format"] else [str(run), *options]
    assert command.main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"error: command line: {complaint}")
    assert captured.err.count("\n") == 1
    assert list(run.glob("*.png")) == []


def test_the_watch_waits_redraws_and_ends_with_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows come in three lots, the second cut off in writing; each poll is one step."""
    run = make_run(tmp_path / "run", Made(rounds=2, points=1))
    lines = (run / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    second = next(i for i, line in enumerate(lines) if b'"round": 2' in line)
    lots = [b"", b"".join(lines[:second]), b"".join(lines[:second]) + lines[second][:9],
            b"".join(lines[:-1]), b"".join(lines)]  # fmt: skip
    drawn: list[int] = []

    def write_next(_: float = 0) -> None:
        (run / "metrics.jsonl").write_bytes(lots.pop(0))

    def draw(folder: Path, formats: list[str]) -> object:
        drawn.append((folder / "metrics.jsonl").read_bytes().count(b"\n"))
        return draw_run(folder, formats)

    monkeypatch.setattr(command, "draw_run", draw)
    monkeypatch.setattr(time, "sleep", write_next)
    (run / "metrics.jsonl").unlink()
    assert command.main(["--watch", str(run)]) == 0
    assert drawn == [second, len(lines) - 1, len(lines)]
    assert lots == []
    captured = capsys.readouterr()
    said = [f"{run}: drawn after round {n}" for n in (1, 2)] + [f"{run}: drawn at the end"]
    assert captured.out.splitlines() == said
    waiting = f"note: {run / 'metrics.jsonl'}: has no rows yet; waiting for them"
    unfinished = f"note: {run}: the run has not ended: no confusion matrix"
    assert captured.err.splitlines() == [waiting, unfinished]
    assert (run / "confusion_matrix.png").exists()


def test_a_real_watch_ends_by_itself_and_by_ctrl_c(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", Made(rounds=2, ended=False, points=0))
    whole = make_run(tmp_path / "whole", Made(rounds=2, points=0)) / "metrics.jsonl"
    words = [sys.executable, "-m", "extra_utils.plots", "--watch"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    with (
        subprocess.Popen([*words, str(run)], **pipes) as ending,  # type: ignore[call-overload]
        subprocess.Popen([*words, str(run)], **pipes) as interrupted,  # type: ignore[call-overload]
    ):
        for process in (ending, interrupted):
            timer = threading.Timer(60, process.kill)
            timer.daemon = True
            timer.start()
            assert process.stdout.readline() == f"{run}: drawn after round 2\n"
        interrupted.send_signal(signal.SIGINT)
        _, err = interrupted.communicate()
        assert (interrupted.returncode, err.splitlines()[1:]) == (
            130,
            ["error: interrupted by Ctrl-C"],
        )
        os.replace(whole, run / "metrics.jsonl")
        out, _ = ending.communicate()
        assert (ending.returncode, out) == (0, f"{run}: drawn at the end\n")


def test_a_folder_from_another_machine_is_drawn_where_there_is_no_torch(tmp_path: Path) -> None:
    runs = make_group(tmp_path)[:2]  # nothing but config.json and metrics.jsonl
    for words in ([str(runs[0])], list(map(str, runs)), ["--watch", str(runs[1])]):
        done = subprocess.run(
            [sys.executable, "-c", NO_TORCH, *words], cwd=ROOT, capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.stem for path in runs[1].glob("*.png")) == [
        n for n in NAMES if n != "detection"
    ]
    assert (tmp_path / "comparison.png").exists()
