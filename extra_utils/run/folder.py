"""The folder of one run: made anew, never written over."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from extra_utils.basics.errors import ConfigError, describe_os_error
from extra_utils.basics.files import PARTIAL, write_whole
from extra_utils.config.keys import Config
from extra_utils.config.rules import to_json


def make_run_folder(config: Config, run_dir: str | None) -> Path:
    """``run_dir``, or ``<output_dir>/<name>-<time>``. Raises ConfigError where it is in use."""
    where = f"command line: run_dir: got {run_dir}"
    if run_dir is None:
        where = f"output_dir: got {config.output_dir}"
    try:
        folder = _exact_folder(Path(run_dir)) if run_dir is not None else _dated_folder(config)
    except OSError as error:
        raise ConfigError(f"{where}: cannot be made: {describe_os_error(error)}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{where}: cannot be written: {folder}")
    return folder


def save_config(run_dir: Path, config: Config) -> None:
    """The resolved config, usable again with ``--config``."""
    text = json.dumps(to_json(config), indent=2, ensure_ascii=False) + "\n"
    write_whole(run_dir / "config.json", text.encode())


def _exact_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    check_empty(folder)
    return folder


def check_empty(folder: Path) -> None:
    """A ConfigError where a run has been here; one that was killed at once leaves nothing whole."""
    if any(not path.name.endswith(PARTIAL) for path in folder.iterdir()):
        raise ConfigError(
            f"command line: run_dir: got {folder}, which is not empty, must be a new folder"
        )


def _dated_folder(config: Config) -> Path:
    """Two runs that start in the same second get two folders."""
    parent, stem = Path(config.output_dir), f"{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    parent.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = parent / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            number += 1
