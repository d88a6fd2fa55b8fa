"""What happens when something goes wrong: who is named, what is left, which exit status."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from PIL import Image

from extra_utils.basics.files import used_alone
from extra_utils.processes.child import available_cores
from tests.helpers import (
    ROOT,
    is_past_round,
    processes_of,
    read_rows,
    run_command,
    start_main,
    write_config,
)


def test_a_diverging_client_ends_the_run_by_name(finished_run: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    start = time.monotonic()
    done = run_command(
        f"--config={finished_run / 'config.json'}", f"--run_dir={run_dir}", "--lr=1000000"
    )
    assert time.monotonic() - start < 20
    assert done.returncode == 1
    assert re.search(r"error: rank (\d) \(client \1, round 1\): client \1 diverged", done.stderr)
    assert "Traceback" not in done.stderr
    assert processes_of(run_dir) == []
    assert not list(run_dir.glob(".*"))


def start_long_run(
    finished_run: Path, run_dir: Path, *options: str
) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that would take hours, once its first round is done, and its ranks' processes."""
    process = start_main(
        f"--config={finished_run / 'config.json'}", f"--run_dir={run_dir}",
        "--global_epochs=100000", *options, start_new_session=True,
    )  # fmt: skip
    for _ in range(600):
        if is_past_round(run_dir, 1):
            break
        time.sleep(0.1)
    ranks = [pid for pid in processes_of(run_dir) if pid != process.pid]
    assert len(ranks) == 3
    (run_dir / ".model.pth.1.partial").touch()  # as if it were killed in writing
    return process, ranks


def finish(process: subprocess.Popen[str], run_dir: Path, within: float = 10) -> str:
    """What the ended run says on standard error; nothing of it is left."""
    start = time.monotonic()
    _, err = process.communicate(timeout=30)
    assert time.monotonic() - start < within
    assert processes_of(run_dir) == []
    assert not list(run_dir.glob(".*"))
    torch.load(run_dir / "checkpoint.pth", weights_only=True)
    assert all(isinstance(row, dict) for row in read_rows(run_dir))
    return err


@pytest.mark.parametrize("rank", [0, 2])
def test_a_killed_rank_ends_the_run_by_name(rank: int, finished_run: Path, tmp_path: Path) -> None:
    process, ranks = start_long_run(finished_run, tmp_path / "r")
    os.kill(ranks[rank], signal.SIGKILL)
    err = finish(process, tmp_path / "r")
    assert process.returncode == 1
    place = rf"\((client {rank}, )?round \d+\)"  # it has its client while that trains
    assert re.search(rf"error: rank {rank} {place} was killed by SIGKILL", err)


@pytest.mark.parametrize("rank", [1, pytest.param(0, marks=pytest.mark.slow)])
def test_a_stopped_rank_ends_the_run_by_name(rank: int, finished_run: Path, tmp_path: Path) -> None:
    process, ranks = start_long_run(finished_run, tmp_path / "r", "--timeout_s=3")
    os.kill(ranks[rank], signal.SIGSTOP)
    err = finish(process, tmp_path / "r", within=3 + 5)
    assert process.returncode == 1
    assert re.fullmatch(
        rf"error: rank {rank} \(.*round \d+\): no sign of life for timeout_s = 3 seconds; where a "
        rf"single .* helps\nresume with: python main.py --resume {tmp_path / 'r'}\n",
        err,
    )


SLOW_CLIENT = """
import sys, time
from extra_utils.run.recorder import Observer

plain = Observer.start_client

def start_client(self, round_index, client_id, num_batches):
    plain(self, round_index, client_id, num_batches)
    self.pause = 1.0 if client_id == 1 else 0.1

def train_batch(self, epoch, loss, plain=Observer.train_batch):
    time.sleep(self.pause)
    plain(self, epoch, loss)

Observer.start_client, Observer.train_batch = start_client, train_batch
import main
sys.exit(main.main(sys.argv[1:]))
"""


@pytest.mark.slow
def test_a_client_that_is_ten_times_slower_is_waited_for(
    finished_run: Path, tmp_path: Path
) -> None:
    """Rank 1 takes a second for each step and rank 0 a tenth, which then waits for over 3 s."""
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", SLOW_CLIENT, f"--config={finished_run / 'config.json'}",
         f"--run_dir={tmp_path / 'r'}", "--timeout_s=3", "--global_epochs=1", "--batch_size=20"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start > 5
    (_, last) = read_rows(tmp_path / "r", "round")
    assert last["seconds"]["aggregate"] > 3.5  # rank 0's wait


def test_ctrl_c_ends_the_run_with_130(finished_run: Path, tmp_path: Path) -> None:
    process, _ = start_long_run(finished_run, tmp_path / "r")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does, to the ranks as well
    err = finish(process, tmp_path / "r", within=5)
    assert process.returncode == 130
    assert re.fullmatch(r"error: interrupted[^\n]*\n", err)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_ranks_end_with_their_parent(
    number: signal.Signals, finished_run: Path, tmp_path: Path
) -> None:
    process, _ = start_long_run(finished_run, tmp_path / "r")
    process.send_signal(number)
    process.communicate(timeout=10)
    for _ in range(100):
        if not processes_of(tmp_path / "r"):
            break
        time.sleep(0.1)
    assert processes_of(tmp_path / "r") == []


def start_decoding(folder: Path, run_dir: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """A run that would decode large photographs for minutes, and the processes that do it."""
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        Image.new("RGB", (2000, 2000)).save(folder / name / "0.png")
        for number in range(1, 1000):
            os.link(folder / name / "0.png", folder / name / f"{number}.png")
    config = write_config(folder.parent, type="folder", data_path=str(folder))
    process = start_main(f"--config={config}", f"--run_dir={run_dir}", start_new_session=True)
    workers: list[int] = []
    # one for each core, where the process that looks at the files before them is alone, and all of
    # them past their beginning
    while len(workers) < available_cores() or min(map(ticks_of, workers)) < 10:
        workers = [pid for pid in processes_of(run_dir) if pid != process.pid]
        time.sleep(0.05)
    return process, workers


def ticks_of(pid: int) -> int:
    """Hundredths of a second that the process has computed; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def test_ctrl_c_while_images_are_decoded_ends_at_once(tmp_path: Path) -> None:
    process, _ = start_decoding(tmp_path / "photos", tmp_path / "r")
    start = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert time.monotonic() - start < 5
    assert (process.returncode, err) == (130, "error: interrupted by Ctrl-C\n")
    assert not (tmp_path / "r").exists()
    assert os.listdir(tmp_path / "photos" / ".fl-cache") == []


def test_a_decoder_that_is_killed_is_named(tmp_path: Path) -> None:
    process, workers = start_decoding(tmp_path / "photos", tmp_path / "r")
    os.kill(workers[0], signal.SIGKILL)
    _, err = process.communicate(timeout=120)
    message = f"error: {tmp_path}/photos: a process that decoded its images was killed\n"
    assert (process.returncode, err) == (1, message)
    assert os.listdir(tmp_path / "photos" / ".fl-cache") == []


def test_decoders_end_with_their_parent_and_let_go_of_the_cache(tmp_path: Path) -> None:
    process, _ = start_decoding(tmp_path / "photos", tmp_path / "r")
    time.sleep(0.5)
    process.kill()
    process.communicate()
    for _ in range(50):
        if not processes_of(tmp_path / "r"):
            break
        time.sleep(0.1)
    assert processes_of(tmp_path / "r") == []
    with used_alone(tmp_path / "photos" / ".fl-cache"):  # raises where the lock is still held
        pass


def sockets_of(pids: list[int]) -> set[str]:
    """The hexadecimal addresses at which the processes have a TCP or UDP socket."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                inodes.add(os.readlink(entry))
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in inodes:
                found.add(fields[1].split(":")[0])
    return found


def test_no_socket_is_open_on_another_address_than_loopback(
    finished_run: Path, tmp_path: Path
) -> None:
    process, ranks = start_long_run(finished_run, tmp_path / "r")
    addresses = sockets_of([process.pid, *ranks])
    process.kill()
    process.communicate()
    assert addresses == {"0100007F"}  # 127.0.0.1


def test_a_run_writes_in_its_own_places_only(finished_run: Path, tmp_path: Path) -> None:
    """Home, temporary folder and working folder are empty ones: what is there afterwards?"""
    places = {name: tmp_path / name for name in ("home", "tmp", "work")}
    for place in places.values():
        place.mkdir()
    environment = os.environ | {"HOME": str(places["home"]), "TMPDIR": str(places["tmp"])}
    places_of_libraries = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TORCH_HOME")
    for name in (*places_of_libraries, *(name for name in environment if name.startswith("COV"))):
        environment.pop(name, None)  # what measures the coverage would write too
    done = run_command(
        f"--config={finished_run / 'config.json'}", "--data_path=mine", "--output_dir=out",
        "--name=a b", cwd=places["work"], env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {path.name for path in places["work"].iterdir()} == {"mine", "out"}
    assert {path.name for path in (places["work"] / "mine").iterdir()} == {".fl-cache"}
    (run_dir,) = (places["work"] / "out").iterdir()
    assert run_dir.name.startswith("a b-")
    assert list(places["tmp"].iterdir()) == []
    assert {path.name for path in places["home"].iterdir()} <= {".cache", ".config"}
    libraries = {path.name for path in places["home"].glob(".c*/*")}
    assert libraries <= {"matplotlib", "fontconfig", "torch"}
