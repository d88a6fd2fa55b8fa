"""A run that was killed goes on, and ends with the same bytes as one that never was."""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.helpers import (
    is_past_round,
    processes_of,
    read_rows,
    rows_without_times,
    run_main,
    start_main,
    write_config,
)

ATTACK = {"name": "label_flip", "clients": [1, 2], "source": "all"}
NUM_KILLS = 24


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, data_path: Path) -> Path:
    """Four clients, six rounds; FoolsGold's history counts in each, and the server's means."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = write_config(
        folder, data_path=str(data_path), attack=ATTACK, num_clients=4, clients_per_round=3,
        num_train=1200, global_epochs=6, partition="dirichlet", alpha=0.1, seed=1,
        defense={"name": "foolsgold"}, server={"name": "yogi"},
    )  # fmt: skip
    done = run_main(f"--config={config}", f"--run_dir={folder / 'run'}")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def assert_equal_runs(run_dir: Path, undisturbed: Path) -> None:
    assert (run_dir / "model.pth").read_bytes() == (undisturbed / "model.pth").read_bytes()
    assert rows_without_times(run_dir) == rows_without_times(undisturbed)
    assert {p.name for p in run_dir.iterdir()} == {p.name for p in undisturbed.iterdir()}


def wait_until_gone(run_dir: Path) -> None:
    for _ in range(100):
        if not processes_of(run_dir):
            return
        time.sleep(0.1)
    pytest.fail(f"processes are left: {processes_of(run_dir)}")


def stop_after_round(config: Path, run_dir: Path, number: int) -> None:
    """Starts a run and kills it all once the checkpoint of a round stands."""
    process = start_main(f"--config={config}", f"--run_dir={run_dir}", stdout=subprocess.DEVNULL)
    for _ in range(600):
        if is_past_round(run_dir, number):
            break
        time.sleep(0.02)
    for pid in processes_of(run_dir):
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    wait_until_gone(run_dir)


def test_a_run_goes_on_with_another_world_size(undisturbed: Path, tmp_path: Path) -> None:
    stop_after_round(undisturbed / "config.json", tmp_path / "r", 2)
    done = run_main(f"--resume={tmp_path / 'r'}", "--world_size=2", "--timeout_s=30")
    assert done.returncode == 0, done.stderr
    assert "round 0/" not in done.stdout
    assert_equal_runs(tmp_path / "r", undisturbed)
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert (config["world_size"], config["num_clients"]) == (2, 4)


@pytest.mark.slow
def test_a_run_goes_on_from_the_step_that_its_rule_remembers(
    tmp_path: Path, data_path: Path
) -> None:
    config = write_config(
        tmp_path, data_path=str(data_path), num_train=600, global_epochs=3, local_epochs=1,
        defense={"name": "centered_clipping", "tau": 0.5},
    )  # fmt: skip
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert run_main(f"--config={config}", f"--run_dir={whole}").returncode == 0
    assert (
        run_main(f"--config={config}", f"--run_dir={halves}", "--global_epochs=2").returncode == 0
    )
    assert run_main(f"--resume={halves}", "--global_epochs=3", "--world_size=2").returncode == 0
    assert_equal_runs(halves, whole)


@pytest.mark.slow
def test_a_finished_run_says_so_and_can_be_lengthened(undisturbed: Path, tmp_path: Path) -> None:
    short = tmp_path / "short"
    config = f"--config={undisturbed / 'config.json'}"
    assert run_main(config, f"--run_dir={short}", "--global_epochs=4").returncode == 0
    before = (short / "metrics.jsonl").read_bytes()
    done = run_main(f"--resume={short}")
    assert done.returncode == 0, done.stderr
    assert "the run has finished its 4 rounds" in done.stdout
    assert (short / "metrics.jsonl").read_bytes() == before
    assert run_main(f"--resume={short}", "--global_epochs=6").returncode == 0
    assert_equal_runs(short, undisturbed)


@pytest.mark.slow
def test_rows_after_the_checkpoint_are_written_again_and_cut_off_ones_too(
    undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "r"
    stop_after_round(undisturbed / "config.json", run_dir, 2)
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "point", "round": 9}\n{"kind": "client", "ro')
    (run_dir / ".model.pth.1.partial").touch()
    done = run_main(f"--resume={run_dir}")
    assert done.returncode == 0, done.stderr
    assert_equal_runs(run_dir, undisturbed)


def assert_needs_a_checkpoint(run_dir: Path, *options: str) -> None:
    before = {path: path.read_bytes() for path in run_dir.iterdir()}
    done = run_main(f"--resume={run_dir}", *options)
    assert done.returncode == 2
    assert re.fullmatch(
        rf"error: {run_dir}: has no checkpoint.pth, so it cannot go on after round \d; a new run "
        rf"with its settings: python main.py --config {run_dir}/config.json\n",
        done.stderr,
    )
    assert {path: path.read_bytes() for path in run_dir.iterdir()} == before


def test_rounds_without_a_checkpoint_are_not_wiped(undisturbed: Path, tmp_path: Path) -> None:
    """Lost, or never kept; in no case the run begins again in its folder."""
    run_dir = tmp_path / "r"
    stop_after_round(undisturbed / "config.json", run_dir, 1)
    (run_dir / "checkpoint.pth").unlink()
    assert_needs_a_checkpoint(run_dir)
    kept, none = write_config(tmp_path, eval_points=0, checkpoint_every=0), tmp_path / "none"
    assert run_main(f"--config={kept}", f"--run_dir={none}").returncode == 0
    assert run_main(f"--resume={none}").returncode == 0  # draws the pictures again
    assert_needs_a_checkpoint(none, "--global_epochs=2")


def test_a_run_that_fails_without_checkpoints_does_not_say_to_resume(tmp_path: Path) -> None:
    config = write_config(tmp_path, eval_points=0, checkpoint_every=0)
    done = run_main(f"--config={config}", f"--run_dir={tmp_path / 'r'}", "--lr=1000000")
    assert done.returncode == 1
    assert re.fullmatch(r"error: [^\n]* diverged[^\n]*\n", done.stderr)


def test_a_run_killed_before_its_first_round_begins_again(
    undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "r"
    run_dir.mkdir()
    shutil.copy(undisturbed / "config.json", run_dir)
    rows = (undisturbed / "metrics.jsonl").read_text().splitlines()[:2]  # the run, and round 0
    (run_dir / "metrics.jsonl").write_text("\n".join([*rows, '{"kind": "poi']))
    assert run_main(f"--resume={run_dir}").returncode == 0
    assert_equal_runs(run_dir, undisturbed)


def test_a_run_killed_before_its_first_checkpoint_is_due_goes_on(
    undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "r"
    config = f"--config={undisturbed / 'config.json'}"
    process = start_main(config, f"--run_dir={run_dir}", "--checkpoint_every=4")
    while not is_past_round(run_dir, 1):
        time.sleep(0.02)
    process.kill()
    process.communicate()
    wait_until_gone(run_dir)
    assert len(read_rows(run_dir, "round")) < 5
    assert run_main(f"--resume={run_dir}").returncode == 0
    assert_equal_runs(run_dir, undisturbed)


def test_rows_that_the_checkpoint_counts_on_are_missed_before_anything_starts(
    undisturbed: Path, tmp_path: Path
) -> None:
    run_dir = tmp_path / "r"
    shutil.copytree(undisturbed, run_dir)
    (run_dir / "metrics.jsonl").unlink()
    done = run_main(f"--resume={run_dir}")
    message = f"error: {run_dir}/metrics.jsonl: lacks round 6, which the checkpoint has\n"
    assert (done.returncode, done.stderr) == (2, message)


WRONG = {
    "another seed": (["--seed=5"], "seed: got 5, must stay 1 when a run goes on"),
    "another attack": (["--attack.target=5"], "attack.target: got 5, must stay 4 when a run"),
    "threads": (["--threads_per_process=2"], "threads_per_process: got 2, must stay 1"),
    "fewer rounds": (["--global_epochs=2"], "global_epochs: got 2, must be at least the run's 6"),
    "unknown": (["--sed=5"], 'unknown key "sed"'),
    "config": (["--config=configs/cifar.json"], "resume: goes without config and run_dir"),
}


@pytest.mark.parametrize(("options", "message"), WRONG.values(), ids=WRONG)
def test_what_would_change_the_result_is_refused_by_name(
    options: list[str], message: str, undisturbed: Path
) -> None:
    before = {path: path.read_bytes() for path in undisturbed.iterdir()}
    done = run_main(f"--resume={undisturbed}", *options)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert {path: path.read_bytes() for path in undisturbed.iterdir()} == before


def test_folders_that_cannot_be_resumed_are_refused(undisturbed: Path, tmp_path: Path) -> None:
    done = run_main(f"--resume={tmp_path}")
    assert (done.returncode, "holds no config.json" in done.stderr) == (2, True)
    run_dir = tmp_path / "r"
    stop_after_round(undisturbed / "config.json", run_dir, 2)
    content = (run_dir / "checkpoint.pth").read_bytes()
    (run_dir / "checkpoint.pth").write_bytes(content[: len(content) // 2])
    before = (run_dir / "config.json").read_bytes()
    done = run_main(f"--resume={run_dir}", "--global_epochs=7")
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]+checkpoint.pth: is no whole checkpoint[^\n]+\n", done.stderr)
    assert (run_dir / "config.json").read_bytes() == before


@pytest.mark.slow
def test_two_runs_cannot_work_in_one_folder(undisturbed: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    config = f"--config={undisturbed / 'config.json'}"
    first = start_main(config, f"--run_dir={run_dir}", "--global_epochs=100000")
    while not (run_dir / "checkpoint.pth").exists():
        time.sleep(0.05)
    second = run_main(f"--resume={run_dir}", timeout=60)
    first.send_signal(signal.SIGINT)
    _, err = first.communicate(timeout=20)
    assert second.returncode == 2
    assert "another run is at work in it" in second.stderr
    assert first.returncode == 130
    assert f"resume with: python main.py --resume {run_dir}" in err


def kill_at_random(process: subprocess.Popen[str], run_dir: Path, draws: random.Random) -> str:
    """Waits a random time and kills a rank, rank 0, the parent, or all; says which."""
    victim = draws.choice(["a rank", "rank 0", "the parent", "all"])
    delay = draws.uniform(0.3, 6.0)
    end = time.monotonic() + delay
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    others = [pid for pid in processes_of(run_dir) if pid != process.pid]
    targets = {
        "a rank": draws.sample(others, 1) if others else [process.pid],
        "rank 0": others[:1] or [process.pid],
        "the parent": [process.pid],
        "all": [*others, process.pid],
    }[victim]
    if process.poll() is not None:
        return "too late"
    for pid in targets:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return f"{victim} after {delay:.2f} s"


@pytest.mark.slow
@pytest.mark.parametrize("change_world_size", [False, True])
def test_killed_at_random_moments_it_ends_with_the_same_bytes(
    change_world_size: bool, undisturbed: Path, tmp_path: Path
) -> None:
    """Stories of up to four kills each, until there were enough; seeds are printed."""
    kills = 0
    story = 100 * change_world_size
    while kills < NUM_KILLS // 2:
        story += 1
        draws = random.Random(story)
        run_dir = tmp_path / f"story{story}"
        for attempt in range(50):
            begun = (run_dir / "config.json").exists()
            options = [f"--resume={run_dir}"] if begun else [
                f"--config={undisturbed / 'config.json'}", f"--run_dir={run_dir}"
            ]  # fmt: skip
            if change_world_size:
                options.append(f"--world_size={draws.randint(1, 4)}")
            process = start_main(*options, stdout=subprocess.DEVNULL)
            if attempt < 4:
                how = kill_at_random(process, run_dir, draws)
                print(f"story {story}, attempt {attempt}: {how}")
                kills += how != "too late"
            _, err = process.communicate(timeout=60)
            wait_until_gone(run_dir)
            assert process.returncode in (0, 1, -signal.SIGKILL), err
            if process.returncode == 1:
                assert "was killed by SIGKILL" in err
                assert f"resume with: python main.py --resume {run_dir}" in err
            if process.returncode == 0:
                break
        assert_equal_runs(run_dir, undisturbed)
        assert not list(run_dir.glob(".*"))


def test_what_a_rule_remembers_counts_in_the_rounds_after_a_resume(undisturbed: Path) -> None:
    """Else the tests above would pass with a memory that is lost."""
    rows = read_rows(undisturbed, "client")
    for number in (3, 4, 5):
        weights = {row["weight"] for row in rows if row["round"] == number}
        assert len(weights) > 1, number
    assert (undisturbed / "detection.png").is_file()


@pytest.mark.slow
def test_a_run_without_a_rule_goes_on_too(data_path: Path, tmp_path: Path) -> None:
    keys = {"num_clients": 5, "clients_per_round": 4, "num_train": 500, "global_epochs": 4}
    config = write_config(tmp_path, data_path=str(data_path), partition="dirichlet", **keys)
    whole = tmp_path / "whole"
    assert run_main(f"--config={config}", f"--run_dir={whole}").returncode == 0
    stop_after_round(config, tmp_path / "r", 2)
    done = run_main(f"--resume={tmp_path / 'r'}", "--world_size=2")
    assert done.returncode == 0, done.stderr
    assert_equal_runs(tmp_path / "r", whole)
