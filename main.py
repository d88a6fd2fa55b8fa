"""Federated learning on one machine: read the config, start the ranks, run the rounds, draw.

    python main.py --config configs/cifar.json
    python main.py --help

torch is imported where it is first needed: a wrong config is refused without waiting for it.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from extra_utils.basics.errors import ENDINGS, ConfigError, RunFailed, report
from extra_utils.basics.files import remove_partial_files, used_alone
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
from extra_utils.data.sources import known_classes, prepare_data
from extra_utils.my_dataset import open_dataset
from extra_utils.processes.machine import available_cores
from extra_utils.processes.torchrun import Place, torchrun_place
from extra_utils.run.folder import check_empty, make_run_folder, save_config
from extra_utils.run.resume import is_finished, read_resumed
from federal_defense.attacks import ATTACKS, with_drawn_attackers
from federal_defense.rules.table import DEFENSES, check_bounds, check_num_classes, warn_of_attackers

if TYPE_CHECKING:
    from torch import nn

    from extra_utils.aggregation.updates import State
    from extra_utils.distributed_utils import Ranks

BELOW_THE_BARS = "\n\n" if sys.stderr.isatty() else ""


def main(argv: list[str]) -> int:
    """The whole command; returns its exit status."""
    try:
        if "--help" in argv or "-h" in argv:
            print_help()
        elif place := torchrun_place():
            join_torchrun(parse_arguments(argv), place)
        else:
            federate(parse_arguments(argv))
    except ENDINGS as error:
        return report(error, "" if isinstance(error, ConfigError) else BELOW_THE_BARS)
    except KeyboardInterrupt as error:
        print(f"{BELOW_THE_BARS}error: interrupted by Ctrl-C{error}", file=sys.stderr)
        return 130
    return 0


def federate(arguments: Arguments) -> None:
    """From the command line to the finished run folder."""
    config, given = checked_config(arguments)

    # the data set, found and cached once for all ranks
    data_folder = checked_data(config, given)
    config = with_drawn_attackers(config)

    # the model, and the imports that the ranks share when they are forked
    check_model(config, data_folder)

    # the run's folder, a new one or that of the run that goes on
    resumed = Path(arguments.resume) if arguments.resume else None
    run_dir = resumed or make_run_folder(config, arguments.run_dir)
    if advice := advise_on_cores(config, available_cores()):
        print(f"note: {advice}")
    with used_alone(run_dir):
        if not resumed:
            check_empty(run_dir)  # once more: another run may have begun and ended meanwhile
        remove_partial_files(run_dir)
        save_config(run_dir, config)

        # the ranks, and in them the rounds
        if arguments.resume and is_finished(run_dir, config):
            print(f"the run has finished its {config.global_epochs} rounds")
        else:
            start(config, data_folder, run_dir, bool(arguments.resume))

        # the pictures
        draw(run_dir, config, data_folder)


def start(config: Config, data_folder: Path, run_dir: Path, is_resumed: bool) -> None:
    """Runs all rounds on processes of our own; what ends them early says how to go on."""
    from extra_utils.processes.supervisor import start_ranks
    from extra_utils.run.checkpoint import NAME, load_checkpoint

    if is_resumed:
        load_checkpoint(run_dir / NAME)  # refused before any process starts
    hint = f"resume with: python main.py --resume {run_dir}"
    try:
        start_ranks(
            run,
            (config, data_folder, run_dir, is_resumed),
            world_size=config.world_size,
            threads=config.threads_per_process,
            timeout_s=config.timeout_s,
        )
    except RunFailed as error:
        raise RunFailed(f"{error}\n{hint}" if run_dir.is_dir() else str(error)) from None
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"; {hint}") from None
    finally:
        remove_partial_files(run_dir)


def join_torchrun(arguments: Arguments, place: Place) -> None:
    """The same as one of torchrun's ranks; each machine has its own data folder."""
    config, given = checked_config(arguments, place)
    data_folder = checked_data(config, given) if place.local_rank == 0 else Path()
    config = with_drawn_attackers(config)

    from extra_utils.distributed_utils import process_group
    from extra_utils.processes.heartbeat import Heartbeats
    from extra_utils.processes.machine import process_context

    heartbeat = Heartbeats(process_context(), 1).writer(0)
    threads = config.threads_per_process
    with process_group(place.rank, place.world_size, "env://", threads, heartbeat) as ranks:
        first = place.rank - place.local_rank  # the rank that prepared this machine's data
        data_folder = Path(ranks.all_gather(str(data_folder))[first])
        run_dir, is_resumed = Path(), False
        if ranks.is_main:
            check_model(config, data_folder)
            run_dir, is_resumed = torchrun_folder(config, arguments, place)
            save_config(run_dir, config)
        run_dir, is_resumed = ranks.broadcast((run_dir, is_resumed))
        run(ranks, config, data_folder, run_dir, is_resumed)
    if place.rank == 0:
        draw(run_dir, config, data_folder)


def torchrun_folder(config: Config, arguments: Arguments, place: Place) -> tuple[Path, bool]:
    """The run's folder, and whether to go on in it: asked for, or restarted by torchrun."""
    if arguments.resume:
        return Path(arguments.resume), True
    before = Path(arguments.run_dir) if place.is_restart and arguments.run_dir else None
    if before is not None and (before / "config.json").exists():
        remove_partial_files(before)
        return before, True
    run_dir = make_run_folder(config, arguments.run_dir)
    remove_partial_files(run_dir)
    return run_dir, False


def run(ranks: Ranks, config: Config, data_folder: Path, run_dir: Path, is_resumed: bool) -> None:
    """All rounds, as one rank sees them. All ranks call this."""
    from client import Clients
    from extra_utils.model import build_model
    from extra_utils.run.progress import Observer, choose_display
    from extra_utils.run.recorder import choose_recorder
    from get_weight_matrix import apply_result
    from my_data_loader import global_test

    # the same on every rank; the model of round 0, or of the last round of a run that goes on
    dataset = open_dataset(data_folder)
    model = build_model(config, dataset, ranks)
    done, rule_state = restore(ranks, model, run_dir) if is_resumed else (None, {})

    # rank 0 alone writes and speaks
    display = choose_display(ranks.is_main, config.global_epochs, done or 0)
    recorder = choose_recorder(ranks, config, run_dir, display)
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


def checked_config(arguments: Arguments, place: Place | None = None) -> tuple[Config, Given]:
    """The resolved config, after every check that needs no data; prints warnings."""
    read = read_resumed if arguments.resume else read_config
    config, given = read(arguments, ATTACKS, DEFENSES)
    if place is not None:
        config = replace(config, world_size=place.world_size)
    config = resolve(config)
    check_rules(config, given)
    check_bounds(config, given)
    if place is not None and place.rank == 0:
        print(f"world_size: {place.world_size}, torchrun's")
    if place is None or place.rank == 0:
        for warning in idle_keys(config, given):
            print(f"warning: {warning}", file=sys.stderr)
    return config, given


def checked_data(config: Config, given: Given) -> Path:
    """The cache folder of the data set, which has the classes and images that the config names."""
    check_classes(config, given, known_classes(config))
    data = prepare_data(config)
    dataset = open_dataset(data.folder)
    check_classes(config, given, dataset.info.class_names)
    check_num_classes(config, given, dataset.num_classes)
    check_sizes(config, given, dataset.info.name, len(dataset.train), len(dataset.test))
    if data.notice:
        print(data.notice, flush=True)
    return data.folder


def check_model(config: Config, data_folder: Path) -> None:
    """Looks at the model and its weights without computing; says what a user should know of the
    run, by torchrun as well."""
    import torch

    from extra_utils.model import new_model
    from extra_utils.training.start_weights import prepare_weights
    from my_data_loader import make_shards

    dataset = open_dataset(data_folder)
    with torch.device("meta"):  # shapes only: the parent must not compute before it forks
        model = new_model(config, dataset.num_classes, *dataset.image_shape)
    if config.weights is not None and (left_out := prepare_weights(config, model)):
        print("note: of the weights these do not fit and are left out:", *left_out, sep="\n  ")
    found = make_shards(config, dataset)
    if found.num_moved:
        print(f"note: {found.num_moved} clients had drawn no image; each was given one of another")
    if found.num_cut:
        print(f"note: syncBN: {found.num_cut} images are left out, so that all take equal steps")
    if warning := warn_of_attackers(config):
        print(f"warning: {warning}", file=sys.stderr)


def print_help() -> None:
    from extra_utils.config.help import help_text

    print(help_text(ATTACKS, DEFENSES))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the ranks are ended too
    sys.exit(main(sys.argv[1:]))
