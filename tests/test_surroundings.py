"""What the environment may be: streams, names, variables and folders that are not as usual."""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from extra_utils.basics.errors import ConfigError, describe_os_error
from extra_utils.processes import supervisor
from extra_utils.processes.launch import Launcher, find_launcher
from tests.helpers import (
    ROOT,
    one_now,
    processes_of,
    run_command,
    start_main,
    unmeasured,
    write_config,
)

STRANGE, SHOWN = "目录\n\x1b[31m é", "\\u76ee\\u5f55\\n\\x1b[31m \\xe9"


@pytest.mark.slow
def test_any_name_can_be_printed_on_any_terminal(data_path: Path, tmp_path: Path) -> None:
    ascii_only = os.environ | {"PYTHONIOENCODING": "ascii"}
    (tmp_path / STRANGE).mkdir()
    config = write_config(tmp_path / STRANGE, data_path=str(data_path), alpha=0.1)
    run_dir = tmp_path / STRANGE / "run"
    options = [f"--config={config}", f"--run_dir={run_dir}"]
    done = run_command(*options, env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"run folder: {tmp_path}/{SHOWN}/run"
    assert done.stderr.splitlines()[0].startswith(f"warning: {tmp_path}/{SHOWN}/tiny.json: alpha:")

    again = run_command(*options, env=ascii_only)
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
    done = run_command(f"--config={config}", f"--run_dir={tmp_path / 'my run'}")
    assert done.returncode == 1
    assert done.stderr.endswith(f"resume with: python main.py --resume '{tmp_path / 'my run'}'\n")


def test_it_names_the_script_that_was_started(data_path: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data_path=str(data_path), lr=1e6)
    script = tmp_path / "mine.py"
    script.write_text("import sys\nimport main\nmain.main(sys.argv[1:])\n", encoding="utf-8")
    env = unmeasured(os.environ | {"PYTHONPATH": str(ROOT)})
    command = [sys.executable, str(script), f"--config={config}", "--run_dir=own"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    hint = shlex.join(["python", str(script), "--resume", "own"])
    assert done.stderr.endswith(f"resume with: {hint}\n")


CLOSED = {"all": "<&- >&- 2>&-", "standard error": "2>&-", "standard output": ">&-"}


@pytest.mark.parametrize("closed", one_now(CLOSED))
def test_closed_streams_change_nothing(closed: str, data_path: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, data_path=str(data_path), alpha=0.1)
    command = [sys.executable, "main.py", f"--config={config}", f"--run_dir={tmp_path / 'r'}"]
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", *command]
    done = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert (tmp_path / "r" / "samples.png").exists()
    assert "warning" not in done.stdout
    assert subprocess.run([*shell, "--lrr=1"], cwd=ROOT, capture_output=True).returncode == 2


def test_torchruns_variables_left_over_are_no_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert find_launcher() == Launcher()
    for name in names:
        monkeypatch.setenv(name, "1")
    assert find_launcher() == Launcher(1, 1, 1)
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(ConfigError, match=r'^environment: RANK: got "one", must be'):
        find_launcher()


def test_two_runs_can_share_any_temporary_folder(data_path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "a#b?c%20d"
    folder.mkdir()
    env = os.environ | {"TMPDIR": str(folder)}
    config = write_config(tmp_path, data_path=str(data_path))
    runs = [start_main(f"--config={config}", f"--run_dir={tmp_path / n}", env=env) for n in "rs"]
    said = [run.communicate(timeout=120) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "r", "s", "tiny.json"]
    assert not list(folder.iterdir())


class FullMemory:
    """multiprocessing's context where /dev/shm has no room for a lock."""

    def RawArray(self, _kind: type, values: list[tuple[int]]) -> list[tuple[int]]:
        return values

    def SimpleQueue(self) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_full_shared_memory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "process_context", FullMemory)
    with pytest.raises(OSError, match="No space left") as caught:
        supervisor.start_ranks(print, (), world_size=1, threads=1, timeout_s=1)
    assert describe_os_error(caught.value) == "/dev/shm: No space left on device"


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_run_that_is_told_to_end_leaves_no_temporary_folder(
    number: signal.Signals, data_path: Path, tmp_path: Path
) -> None:
    process, folder = start_long(data_path, tmp_path)
    os.kill(process.pid, number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert not list(folder.iterdir())
    assert not processes_of(tmp_path / "r")


@pytest.mark.slow
def test_the_next_run_removes_what_killed_ones_left_and_nothing_else(
    data_path: Path, tmp_path: Path
) -> None:
    (tmp_path / "killed").mkdir()
    living, folder = start_long(data_path, tmp_path)
    killed, place = start_long(data_path, tmp_path / "killed")
    killed.kill()
    killed.communicate(timeout=30)
    (left,) = place.iterdir()
    (left := left.rename(folder / left.name)).joinpath("more").touch()
    (folder / "fl-ranks-of-another").mkdir()
    config = write_config(tmp_path, data_path=str(data_path))
    env = os.environ | {"TMPDIR": str(folder)}
    for _ in range(100):  # the killed one's ranks end when they see that their parent has
        if not processes_of(tmp_path / "killed"):
            break
        time.sleep(0.1)
    done = run_command(f"--config={config}", f"--run_dir={tmp_path / 's'}", env=env)
    assert done.returncode == 0, done.stderr
    assert not left.exists()
    assert living.poll() is None
    assert len(list(folder.iterdir())) == 2
    living.terminate()
    living.communicate(timeout=30)
    assert [path.name for path in folder.iterdir()] == ["fl-ranks-of-another"]


def start_long(data_path: Path, tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A run that would take hours, once its first round is done, and its temporary folder."""
    (folder := tmp_path / "tmp").mkdir()
    config = write_config(
        tmp_path, data_path=str(data_path), global_epochs=100_000, world_size=1, num_train=50
    )
    process = start_main(
        f"--config={config}",
        f"--run_dir={tmp_path / 'r'}",
        env=os.environ | {"TMPDIR": str(folder)},
    )
    for _ in range(600):
        if (tmp_path / "r" / "checkpoint.pth").exists():
            break
        time.sleep(0.1)
    assert list(folder.iterdir())
    return process, folder
