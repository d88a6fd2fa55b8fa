"""Federated learning on one machine: read the config, start the ranks, run the rounds, draw.

    python main.py --config configs/cifar.json
    python main.py --help

torch is imported where it is first needed: a wrong config is refused without waiting for it.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from extra_utils.basics.errors import ENDINGS, ConfigError, report
from extra_utils.config.keys import Config
from extra_utils.config.reader import Arguments, Given, parse_arguments, read_config
from extra_utils.config.rules import (
    advise_on_cores,
    check_classes,
    check_rules,
    check_sizes,
    idle_keys,
    resolve,
)
from extra_utils.data.partition import Partition
from extra_utils.data.sources import known_classes, prepare_data
from extra_utils.my_dataset import fingerprint, open_dataset
from extra_utils.processes.launch import Launcher, OwnProcesses, Torchrun, find_launcher
from extra_utils.processes.machine import available_cores
from extra_utils.run.folder import run_folder
from extra_utils.run.resume import check_checkpoint, is_finished, read_resumed
from federal_defense.attacks import ATTACKS, with_drawn_attackers
from federal_defense.rules.table import DEFENSES, check_bounds, check_num_classes, warn_of_attackers

if TYPE_CHECKING:
    from torch import nn

    from extra_utils.aggregation.updates import State
    from extra_utils.distributed_utils import Ranks

BELOW_THE_BARS = "\n\n" if sys.stderr.isatty() else ""


@dataclass(frozen=True)
class Job:
    """What the ranks are to do, as the main process has decided it."""

    config: Config
    run_dir: Path
    is_resumed: bool

    def hint(self) -> str:
        """How to go on; nothing where the folder is gone."""
        is_there = self.run_dir.is_dir()
        return f"resume with: python main.py --resume {self.run_dir}" if is_there else ""


def main(argv: list[str]) -> int:
    """The whole command; returns its exit status."""
    try:
        if "--help" in argv or "-h" in argv:
            print_help()
        else:
            federate(parse_arguments(argv), find_launcher())
    except ENDINGS as error:
        return report(error, "" if isinstance(error, ConfigError) else BELOW_THE_BARS)
    except KeyboardInterrupt as interrupt:
        hint = f"; {interrupt}" if str(interrupt) else ""
        print(f"{BELOW_THE_BARS}error: interrupted by Ctrl-C{hint}", file=sys.stderr)
        return 130
    return 0


def federate(arguments: Arguments, launcher: OwnProcesses | Torchrun) -> None:
    """From the command line to the finished run folder."""
    config, given = checked_config(arguments, launcher)

    # the data set and the start weights, found and cached once on each machine
    data_folder = prepared_data(config, given, launcher) if launcher.prepares_data else None
    config = with_drawn_attackers(config)

    # the ranks, and in them the rounds; the main process has the run's folder and decides for all
    if not launcher.is_main:
        launcher.start(run, config, data_folder, None)
        return
    with run_folder(config, arguments, is_restart=launcher.is_restart) as (run_dir, is_resumed):
        if is_resumed and is_finished(run_dir, config):
            print(f"the run has finished its {config.global_epochs} rounds")
        else:
            if is_resumed:
                check_checkpoint(run_dir)
            launcher.start(run, config, data_folder, Job(config, run_dir, is_resumed))

        # the pictures
        assert data_folder is not None
        draw(run_dir, config, data_folder)


def run(ranks: Ranks, data_folder: Path, job: Job) -> None:
    """All rounds, as one rank sees them. All ranks call this."""
    from client import Clients
    from extra_utils.distributed_utils import check_equal
    from extra_utils.model import build_model
    from extra_utils.run.checkpoint import checksum
    from extra_utils.run.progress import Observer, choose_display
    from extra_utils.run.recorder import choose_recorder
    from get_weight_matrix import apply_result
    from my_data_loader import global_test

    # the same on every rank; the model of round 0, or of the last round of a run that goes on
    config, dataset = job.config, open_dataset(data_folder)
    model = build_model(config, dataset, ranks)
    check_equal(ranks, fingerprint(data_folder) | {"start weights": checksum(model.state_dict())})
    done, rule_state = restore(ranks, model, job.run_dir) if job.is_resumed else (None, {})

    # rank 0 alone writes and speaks
    display = choose_display(ranks.is_main, config.global_epochs, done or 0)
    recorder = choose_recorder(ranks, config, job.run_dir, display)
    observer = Observer(ranks.heartbeat, display)
    clients = Clients(config, dataset, observer, rule_state)
    test = global_test(ranks, config, dataset, observer.eval_batch)
    evaluation = test(model)
    recorder.begin(dataset, model, clients.class_counts(), evaluation, done)

    for round_index in range((done or 0) + 1, config.global_epochs + 1):
        # every client trains a copy of the global model on its own shard
        aggregation = clients.train_share(ranks, model, round_index)
        recorder.lap("train")

        # brought together, after which every rank moves its global model by the same step
        result = aggregation.reduce(ranks, model)
        apply_result(model, result)
        recorder.lap("aggregate")

        # the new global model on the whole test set, dealt out to the ranks
        evaluation = test(model)
        recorder.lap("evaluate")
        recorder.end_round(round_index, model, evaluation, result)

    recorder.finish(model, evaluation)


def restore(ranks: Ranks, model: nn.Module, run_dir: Path) -> tuple[int | None, State]:
    """Loads rank 0's checkpoint into every rank's model; its round, and what the rule remembers.

    The round is None where there is no checkpoint.
    """
    from extra_utils.run.checkpoint import NAME, load_checkpoint

    checkpoint = ranks.broadcast(load_checkpoint(run_dir / NAME) if ranks.is_main else None)
    if checkpoint is None:
        return None, {}
    model.load_state_dict(checkpoint.model)
    return checkpoint.round_index, checkpoint.rule


def draw(run_dir: Path, config: Config, data_folder: Path) -> None:
    """Every picture of a finished run."""
    from client import sample_rows
    from extra_utils.plots.draw import draw_run
    from extra_utils.utils import draw_samples

    dataset = open_dataset(data_folder)
    draw_run(run_dir)
    title = f"{config.name}: {dataset.info.name}, labels trained on"
    rows = sample_rows(config, dataset)
    draw_samples(run_dir / "samples.png", rows, dataset.info.class_names, title)
    print(f"run folder: {run_dir}")


def checked_config(arguments: Arguments, launcher: Launcher) -> tuple[Config, Given]:
    """The resolved config, after every check that needs no data; prints warnings."""
    read = read_resumed if arguments.resume else read_config
    config, given = read(arguments, ATTACKS, DEFENSES)
    config = resolve(replace(config, world_size=launcher.world_size or config.world_size))
    check_rules(config, given)
    check_bounds(config, given)
    if launcher.is_main:
        if launcher.world_size is not None:
            print(f"world_size: {launcher.world_size}, torchrun's")
        for warning in idle_keys(config, given):
            print(f"warning: {warning}", file=sys.stderr)
    return config, given


def prepared_data(config: Config, given: Given, launcher: Launcher) -> Path:
    """The cache folder of the data set, which has the classes and images that the config names.

    The model and its start weights are looked at as well, without computing; the main process says
    what a user should know of the run.
    """
    check_classes(config, given, known_classes(config))
    data = prepare_data(config)
    dataset = open_dataset(data.folder)
    check_classes(config, given, dataset.info.class_names)
    check_num_classes(config, given, dataset.num_classes)
    check_sizes(config, given, dataset.info.name, len(dataset.train), len(dataset.test))
    if data.notice and launcher.is_main:
        print(data.notice, flush=True)

    import torch  # from here on, since the ranks share it when they are forked

    from extra_utils.model import new_model
    from extra_utils.training.start_weights import prepare_weights
    from my_data_loader import make_shards

    with torch.device("meta"):  # shapes only: the parent must not compute before it forks
        model = new_model(config, dataset.num_classes, *dataset.image_shape)
    left_out = prepare_weights(config, model) if config.weights is not None else []
    if launcher.is_main:
        print_notes(config, left_out, make_shards(config, dataset))
    return data.folder


def print_notes(config: Config, left_out: list[str], found: Partition) -> None:
    """What a user should know of the run before it starts."""
    notes = []
    if left_out:
        notes += ["\n  ".join(["of the weights these do not fit and are left out:", *left_out])]
    if found.num_moved:
        notes += [f"{found.num_moved} clients had drawn no image; each was given one of another"]
    if found.num_cut:
        notes += [f"syncBN: {found.num_cut} images are left out, so that all take equal steps"]
    notes += filter(None, [advise_on_cores(config, available_cores())])
    for note in notes:
        print(f"note: {note}")
    if warning := warn_of_attackers(config):
        print(f"warning: {warning}", file=sys.stderr)


def print_help() -> None:
    from extra_utils.config.help import help_text

    print(help_text(ATTACKS, DEFENSES))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the ranks are ended too
    sys.exit(main(sys.argv[1:]))
