"""Going on with a run from its folder."""

from pathlib import Path
from typing import Any

from extra_utils.basics.errors import ConfigError, show
from extra_utils.config.keys import Config, GivenConfig, to_json
from extra_utils.config.reader import Arguments, Places, Tables, read_config
from extra_utils.run.metrics import FILE_NAME, read_metrics

FREE_KEYS = ("global_epochs", "world_size", "timeout_s", "checkpoint_every")  # not in the result


def read_resumed(arguments: Arguments, tables: Tables) -> tuple[GivenConfig, Places]:
    """The run's own config with what may change changed. Raises ConfigError for all else."""
    assert arguments.resume is not None
    if arguments.config is not None or arguments.run_dir is not None:
        raise ConfigError("command line: resume: goes without config and run_dir, it has its own")
    path = Path(arguments.resume) / "config.json"
    if not path.is_file():
        raise ConfigError(
            f"command line: resume: got {arguments.resume}, which holds no config.json"
        )
    stored, _ = read_config(Arguments(config=str(path)), tables)
    changed = Arguments(config=str(path), overrides=arguments.overrides)
    given, places = read_config(changed, tables)
    for key, old in vars(stored).items():
        new = getattr(given, key)
        if new != old and key not in FREE_KEYS:
            raise ConfigError(
                f"command line: {key}: got {show_value(new)}, must stay {show_value(old)} when a "
                f"run goes on; only {', '.join(FREE_KEYS)} may change"
            )
    if given.global_epochs < stored.global_epochs:
        raise ConfigError(
            f"command line: global_epochs: got {given.global_epochs}, must be at least the run's "
            f"{stored.global_epochs}"
        )
    return given, places


def show_value(value: object) -> str:
    """A key's value for a message; an attack or a rule by its name."""
    return show(getattr(value, "name", value))


def is_finished(run_dir: Path, config: Config) -> bool:
    """Whether all rounds are done and all but pictures is written."""
    if not (run_dir / "model.pth").is_file() or not (run_dir / FILE_NAME).is_file():
        return False
    rows, problems = read_metrics(run_dir)
    if problems or not rows or rows[-1]["kind"] != "summary":
        return False
    return [row["round"] for row in rows if row["kind"] == "round"][-1:] == [config.global_epochs]


def identity(config: Config) -> dict[str, Any]:
    """What a checkpoint is kept with: all that the result depends on."""
    keys = to_json(config)
    return {"config": {key: value for key, value in keys.items() if key not in FREE_KEYS}}


def check_checkpoint(run_dir: Path, config: Config) -> None:
    """Raises ConfigError where the run cannot go on, before any process starts."""
    from extra_utils.run.checkpoint import NAME, load_checkpoint

    load_checkpoint(run_dir / NAME, identity(config))
