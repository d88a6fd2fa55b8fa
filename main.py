"""Federated learning on one machine: read the config, start the ranks, run the rounds, draw.

    python main.py --config configs/cifar.json
    python main.py --help

torch is imported where it is first needed: a wrong config is refused without waiting for it.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extra_utils.config import Config
from extra_utils.config_reader import Arguments, Given, parse_arguments, read_config
from extra_utils.config_rules import (
    check_arguments,
    check_classes,
    check_rules,
    check_sizes,
    idle_keys,
    resolve,
)
from extra_utils.data_sources import known_classes, prepare_data
from extra_utils.errors import ConfigError, RunFailed
from extra_utils.files import remove_partial_files
from extra_utils.my_dataset import open_dataset
from extra_utils.run_folder import make_run_folder, save_config
from federal_defense.attacks import ATTACKS, with_drawn_attackers
from federal_defense.rules import DEFENSES

BELOW_THE_BARS = "\n\n" if sys.stderr.isatty() else ""

if TYPE_CHECKING:
    from extra_utils.distributed_utils import Ranks


def main(argv: list[str]) -> int:
    """The whole command; returns its exit status."""
    try:
        if "--help" in argv or "-h" in argv:
            print_help()
        else:
            federate(parse_arguments(argv))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunFailed as error:
        print(f"{BELOW_THE_BARS}error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{BELOW_THE_BARS}error: interrupted by Ctrl-C", file=sys.stderr)
        return 130
    return 0


def federate(arguments: Arguments) -> None:
    """From the command line to the finished run folder."""
    config, given = checked_config(arguments)

    # the data set, found and cached once for all ranks
    check_classes(config, given, known_classes(config))
    data = prepare_data(config)
    dataset = open_dataset(data.folder)
    check_sizes(config, given, len(dataset.train), len(dataset.test))

    # the run's folder
    run_dir = make_run_folder(config, arguments.run_dir)
    save_config(run_dir, config)
    if data.notice:
        print(data.notice, flush=True)

    # the ranks, forked after the imports that they share, and in them the rounds
    import client
    from extra_utils.supervisor import start_ranks
    from my_data_loader import make_shards

    if num_moved := make_shards(config, dataset).num_moved:
        print(f"note: {num_moved} clients had drawn no image; one image was moved to each of them")
    try:
        start_ranks(
            run,
            (config, data.folder, run_dir),
            world_size=config.world_size,
            threads=config.threads_per_process,
            timeout_s=config.timeout_s,
        )
    finally:
        remove_partial_files(run_dir)

    # the pictures
    from extra_utils.plots import draw_run
    from extra_utils.utils import draw_samples

    draw_run(run_dir)
    title = f"{config.name}: {dataset.info.name}, labels trained on"
    rows = client.sample_rows(config, dataset)
    draw_samples(run_dir / "samples.png", rows, dataset.info.class_names, title)
    print(f"run folder: {run_dir}")


def run(ranks: Ranks, config: Config, data_folder: Path, run_dir: Path) -> None:
    """All rounds, as one rank sees them. All ranks call this."""
    from client import Clients
    from extra_utils.evaluation import evaluate_together
    from extra_utils.model import build_model
    from extra_utils.progress import Observer, choose_display
    from extra_utils.recorder import choose_recorder
    from get_weight_matrix import RoundSum, apply_result
    from my_data_loader import TestLoader, choose_test_images, share_out

    # the same on every rank
    dataset = open_dataset(data_folder)
    test_loader = TestLoader(dataset.test, choose_test_images(config, dataset), dataset.info)
    model = build_model(config, dataset.num_classes)

    # rank 0 alone writes and speaks
    display = choose_display(ranks.is_main, config.global_epochs)
    recorder = choose_recorder(ranks, config, run_dir, display)
    observer = Observer(ranks.marks, display)
    clients = Clients(config, dataset, observer)

    # round 0: the untrained model
    recorder.start(dataset, model, clients.class_counts())
    evaluation = evaluate_together(ranks, model, test_loader, observer.eval_batch)
    recorder.lap("evaluate")
    recorder.end_round(0, model, evaluation, None)

    for round_index in range(1, config.global_epochs + 1):
        # every client trains a copy of the global model on its own shard
        samples = clients.draw(round_index)
        round_sum = RoundSum(samples, clients.num_points)
        for client_id in share_out(samples, ranks.world_size)[ranks.rank]:
            client = clients.make(client_id, round_index)
            round_sum.add(client.local_train(model, round_index))
        recorder.lap("train")

        # one all_reduce, after which every rank moves its global model by the same step
        result = round_sum.reduce(ranks, model)
        apply_result(model, result)
        recorder.lap("aggregate")

        # the new global model on the whole test set, dealt out to the ranks
        evaluation = evaluate_together(ranks, model, test_loader, observer.eval_batch)
        recorder.lap("evaluate")
        recorder.end_round(round_index, model, evaluation, result)

    recorder.finish(model, evaluation)


def checked_config(arguments: Arguments) -> tuple[Config, Given]:
    """The resolved config, after every check that needs no data; prints warnings."""
    check_arguments(arguments)
    config, given = read_config(arguments, ATTACKS, DEFENSES)
    config = resolve(config)
    check_rules(config, given)
    for warning in idle_keys(config, given):
        print(f"warning: {warning}", file=sys.stderr)
    return with_drawn_attackers(config), given


def print_help() -> None:
    from extra_utils.config_help import help_text

    print(help_text(ATTACKS, DEFENSES))


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the ranks are ended too
    sys.exit(main(sys.argv[1:]))
