"""The folder of one run: made anew, never written over."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from extra_utils.basics.errors import ConfigError, describe_os_error
from extra_utils.basics.files import PARTIAL, remove_partial_files, used_alone, write_whole
from extra_utils.config.keys import Config, to_json
from extra_utils.config.reader import Arguments


@contextlib.contextmanager
def run_folder(
    config: Config, arguments: Arguments, *, is_restart: bool
) -> Iterator[tuple[Path, bool]]:
    """The run's folder, held against other runs meanwhile, and whether a run goes on in it.

    It goes on where the user asks for it, and where torchrun starts a group again. Raises
    ConfigError where the folder is in use.
    """
    known = arguments.resume or (arguments.run_dir if is_restart else None)
    is_resumed = known is not None and (Path(known) / "config.json").exists()
    run_dir = Path(known) if known and is_resumed else make_run_folder(config, arguments.run_dir)
    with used_alone(run_dir):
        if not is_resumed:
            check_empty(run_dir)  # once more: another run may have begun and ended meanwhile
        remove_partial_files(run_dir)
        save_config(run_dir, config)
        try:
            yield run_dir, is_resumed
        finally:
            remove_partial_files(run_dir)


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
