"""Fixtures that many tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import end_forks, run_main, write_config


def pytest_configure() -> None:
    """A shell that starts tests in the background has them ignore Ctrl-C, and nohup the terminal's
    end, and with them the runs that are to be ended by it."""
    for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, None)):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, usual or signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def forks() -> Iterator[None]:
    """The process that runs modules ends with the tests."""
    yield
    end_forks()


@pytest.fixture(scope="session")
def data_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder for the whole session, so that the synthetic images are made once."""
    base = tmp_path_factory.getbasetemp()
    is_shared = (
        "PYTEST_XDIST_WORKER" in os.environ
    )  # whose workers have a folder each, side by side
    folder = (base.parent if is_shared else base) / "data"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory, data_path: Path) -> Path:
    """The folder of a tiny finished run with the attacker of the main job, for reading only."""
    folder = tmp_path_factory.mktemp("finished")
    attack = {"name": "label_flip", "clients": [2]}
    config = write_config(folder, data_path=str(data_path), attack=attack, global_epochs=2)
    done = run_main("--config", str(config), f"--run_dir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"run folder: {folder / 'run'}"
    return folder / "run"
