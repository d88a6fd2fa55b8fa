"""The folder of one run: made anew and never written over, or opened again to go on."""

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from extra_utils.basics.errors import ConfigError, describe_os_error, show, take_told
from extra_utils.basics.files import PARTIAL, remove_partial_files, used_alone, write_json
from extra_utils.config.keys import Config, GivenConfig, to_json
from extra_utils.config.reader import Arguments, Places, Tables, read_config
from extra_utils.processes.launch import Job
from extra_utils.run.metrics import FILE_NAME, cut_metrics, read_metrics

PATHS = ("data_path", "output_dir")  # of the data their content counts, and not where they lie
# what the result does not depend on, nor that of the rounds before the last
FREE_KEYS = ("global_epochs", "world_size", "timeout_s", "checkpoint_every", *PATHS)


@contextlib.contextmanager
def run_folder(
    config: Config, data: dict[str, Any], arguments: Arguments, *, is_restart: bool
) -> Iterator[tuple[Path, Job | None]]:
    """The run's folder, held against other runs meanwhile, and what is to do; None where all is.

    ``data``: the fingerprint of its data set. The paths in its config are absolute from here on.
    Raises ConfigError, before it writes there, where it is in use or the run cannot go on."""
    from extra_utils.run.checkpoint import NAME, load_checkpoint

    known = arguments.resume or (arguments.run_dir if is_restart else None)
    is_resumed = known is not None and (Path(known) / "config.json").exists()
    run_dir = Path(known) if known and is_resumed else make_run_folder(config, arguments.run_dir)
    config = with_absolute_paths(config)
    job: Job | None = Job(config, run_dir, take_told())
    with used_alone(run_dir), contextlib.ExitStack() as at_end:
        if not is_resumed:
            check_empty(run_dir)  # once more: another run may have begun and ended meanwhile
        else:
            found = load_checkpoint(run_dir / NAME, identity(config, data))
            if is_finished(run_dir, config):
                job = None
            elif found:
                cut_metrics(run_dir, found.round_index)  # raises here, before any rank starts
            else:
                check_not_begun(run_dir)
        remove_partial_files(run_dir)
        write_json(run_dir / "config.json", to_json(config))
        at_end.callback(remove_partial_files, run_dir)
        yield run_dir, job


def make_run_folder(config: Config, run_dir: str | None) -> Path:
    """``run_dir``, or ``<output_dir>/<name>-<time>``. Raises ConfigError where it is in use."""
    where = f"output_dir: got {config.output_dir}"
    if run_dir is not None:
        where = f"command line: run_dir: got {run_dir}"
    try:
        folder = _dated_folder(config) if run_dir is None else Path(run_dir)
        folder.mkdir(parents=True, exist_ok=True)
        check_empty(folder)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be made: {describe_os_error(error)}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{where}: cannot be written: {folder}")
    return folder


def check_empty(folder: Path) -> None:
    """A ConfigError where a run has been here; one that was killed at once leaves nothing whole."""
    if any(not path.name.endswith(PARTIAL) for path in folder.iterdir()):
        got = f"got {folder}, which is not empty, must be a new folder"
        raise ConfigError(f"command line: run_dir: {got}")


def _dated_folder(config: Config) -> Path:
    """Two runs that start in the same second get two folders."""
    first = Path(config.output_dir, f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    folder, number = first, 1
    while True:
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder
        number += 1
        folder = Path(f"{first}-{number}")


def read_resumed(arguments: Arguments, tables: Tables) -> tuple[GivenConfig, Places]:
    """The run's own config with what may change changed. Raises ConfigError for all else."""
    assert arguments.resume is not None
    if arguments.config is not None or arguments.run_dir is not None:
        raise ConfigError("command line: resume: goes without config and run_dir, it has its own")
    path = Path(arguments.resume) / "config.json"
    if not path.is_file():
        got = f"got {arguments.resume}, which holds no config.json"
        raise ConfigError(f"command line: resume: {got}")
    stored, _ = read_config(Arguments(config=str(path)), tables)
    given, places = read_config(Arguments(str(path), overrides=arguments.overrides), tables)
    was, now = staying(stored), to_json(given)
    if key := next((key for key in was if now[key] != was[key]), None):
        new, old = now[key], was[key]
        if isinstance(new, dict) and isinstance(old, dict):
            inner = next(k for k in new | old if new.get(k) != old.get(k))
            key, new, old = f"{key}.{inner}", new.get(inner), old.get(inner)
        may = f"when a run goes on; only {', '.join(free_keys(stored))} may change"
        raise ConfigError(f"command line: {key}: got {show(new)}, must stay {show(old)} {may}")
    if given.global_epochs < stored.global_epochs:
        got = f"got {given.global_epochs}, must be at least the run's {stored.global_epochs}"
        raise ConfigError(f"command line: global_epochs: {got}")
    return given, places


def check_not_begun(run_dir: Path) -> None:
    """A ConfigError where rounds are done, of which a run without a checkpoint would lose all."""
    rows, _ = read_metrics(run_dir) if (run_dir / FILE_NAME).is_file() else ([], [])
    if done := max((row["round"] for row in rows if row["kind"] == "round"), default=0):
        lost = f"has no checkpoint.pth, so it cannot go on after round {done}"
        cure = f"a new run with its settings: python main.py --config {run_dir / 'config.json'}"
        raise ConfigError(f"{run_dir}: {lost}; {cure}")


def is_finished(run_dir: Path, config: Config) -> bool:
    """Whether all rounds are done and all but pictures is written."""
    if not (run_dir / "model.pth").is_file() or not (run_dir / FILE_NAME).is_file():
        return False
    rows, problems = read_metrics(run_dir)
    ends = [(row["kind"], row.get("round")) for row in rows[-2:]]
    return not problems and ends == [("round", config.global_epochs), ("summary", None)]


def with_absolute_paths(config: Config) -> Config:
    """So that they mean the same wherever the run goes on."""
    keys = PATHS if config.weights in (None, "imagenet") else (*PATHS, "weights")
    absolute: dict[str, Any] = {key: str(Path(getattr(config, key)).absolute()) for key in keys}
    return replace(config, **absolute)


def identity(config: Config, data: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint is kept with: all that the result depends on."""
    return {"config": staying(config), "data": data}


def staying(config: GivenConfig) -> dict[str, Any]:
    """The keys that may not change when a run goes on."""
    return {key: value for key, value in to_json(config).items() if key not in free_keys(config)}


def free_keys(config: GivenConfig) -> list[str]:
    """Those that may; the rates of a cosine over all rounds depend on how many they are."""
    is_fixed = config.schedule.name == "cosine_rounds"
    return [key for key in FREE_KEYS if not (is_fixed and key == "global_epochs")]
