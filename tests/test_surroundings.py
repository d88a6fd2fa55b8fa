"""What the environment may be: streams, names, variables and folders that are not as usual."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import ROOT, run_main, write_config

STRANGE, SHOWN = "目录\n\x1b[31m é", "\\u76ee\\u5f55\\n\\x1b[31m \\xe9"


def test_any_name_can_be_printed_on_any_terminal(data_path: Path, tmp_path: Path) -> None:
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    (tmp_path / STRANGE).mkdir()
    config = write_config(tmp_path / STRANGE, data_path=str(data_path), alpha=0.1)
    run_dir = tmp_path / STRANGE / "run"
    options = [f"--config={config}", f"--run_dir={run_dir}"]
    done = run_main(*options, env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"run folder: {tmp_path}/{SHOWN}/run"
    assert done.stderr.splitlines()[0].startswith(f"warning: {tmp_path}/{SHOWN}/tiny.json: alpha:")

    again = run_main(*options, env=ascii_only)
    assert again.returncode == 2
    wrong = f"error: command line: run_dir: got {tmp_path}/{SHOWN}/run, which is not empty"
    assert again.stderr.splitlines()[1].startswith(wrong)
    assert len(again.stderr.splitlines()) == 2

    command = [sys.executable, "-m", "extra_utils.plots", str(run_dir), str(run_dir)]
    drawn = subprocess.run(command, cwd=ROOT, env=ascii_only, capture_output=True, text=True)
    assert drawn.returncode == 0, drawn.stderr
    assert drawn.stdout.splitlines()[-1] == f"comparison: {tmp_path}/{SHOWN}/comparison.png"


def test_the_command_that_goes_on_can_be_pasted(data_path: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data_path=str(data_path), lr=1e6)
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 'my run'}")
    assert done.returncode == 1
    assert done.stderr.endswith(f"resume with: python main.py --resume '{tmp_path / 'my run'}'\n")


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
def test_closed_streams_change_nothing(closed: str, data_path: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data_path=str(data_path), alpha=0.1)
    command = [sys.executable, "main.py", f"--config={config}", f"--run_dir={tmp_path / 'r'}"]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert (tmp_path / "r" / "samples.png").exists()
    assert "warning" not in done.stdout
    assert subprocess.run(shell, cwd=ROOT, capture_output=True).returncode == 2
