"""Federated learning on one machine: read the config, start the ranks, run the rounds, draw.

    python main.py                             # the main job, configs/cifar.json
    python main.py --config configs/cifar.json --lr=0.0005
    python main.py --help

torch is imported where it is first needed: a wrong config is refused without waiting for it.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from extra_utils.basics.errors import ENDINGS, ConfigError, prepare_process, report, say, tell
from extra_utils.config.help import help_text
from extra_utils.config.keys import Config
from extra_utils.config.reader import Arguments, Places, parse_arguments, read_config
from extra_utils.config.rules import check_classes, check_rules, check_sizes, idle_keys, resolve
from extra_utils.data.sources import known_classes, prepare_data
from extra_utils.my_dataset import fingerprint, open_dataset
from extra_utils.processes.launch import Job, Launcher, find_launcher
from extra_utils.processes.machine import advise_on_cores, available_cores
from extra_utils.run.folder import identity, read_resumed, run_folder
from federal_defense.attacks import idle_attack, with_drawn_attackers
from federal_defense.rules.table import TABLES, check_bounds, check_num_classes, warn_of_attackers

if TYPE_CHECKING:
    from extra_utils.distributed_utils import Ranks

BELOW_THE_BARS = "\n\n" if sys.stderr and sys.stderr.isatty() else ""


def main(argv: list[str]) -> int:
    """The whole command; returns its exit status."""
    try:
        if "--help" in argv or "-h" in argv:
            print(help_text(TABLES))
        else:
            federate(parse_arguments(argv), find_launcher())
    except ENDINGS as error:
        return report(error, "" if isinstance(error, ConfigError) else BELOW_THE_BARS)
    except KeyboardInterrupt as interrupt:
        hint = f"; {interrupt}" if str(interrupt) else ""
        print(f"{BELOW_THE_BARS}error: interrupted by Ctrl-C{hint}", file=sys.stderr)
        return 130
    return 0


def federate(arguments: Arguments, launcher: Launcher) -> None:
    """From the command line to the finished run folder."""
    config, places = checked_config(arguments, launcher)

    # the data set and the start weights, found and cached once on each machine
    data_folder = prepared_data(config, places, launcher) if launcher.prepares_data else Path()

    # the ranks, and in them the rounds; the main process has the run's folder and decides for all
    if not launcher.is_main:
        launcher.start(run, config, data_folder, None)
        return
    known = fingerprint(data_folder)
    with run_folder(config, known, arguments, is_restart=launcher.is_restart) as (run_dir, job):
        if advice := advise_on_cores(config, available_cores()):
            say(f"note: {advice}")
        if job is None:
            print(f"the run has finished its {config.global_epochs} rounds")
        else:
            launcher.start(run, config, data_folder, job)

        # the pictures
        draw(run_dir, config, data_folder)
    say(f"run folder: {run_dir}")


def run(ranks: "Ranks", data_folder: Path, job: Job) -> None:
    """All rounds, as one rank sees them. All ranks call this."""
    from client import Clients
    from extra_utils.model import build_model
    from extra_utils.run.checkpoint import checksum_of, restore
    from extra_utils.run.recorder import MainRecorder, SilentRecorder
    from get_weight_matrix import apply_result
    from my_data_loader import global_test

    # the same on every rank; the model of round 0, or of the last round of a run that goes on
    config, dataset = job.config, open_dataset(data_folder)
    model = build_model(config, dataset, ranks)
    ranks.check_equal((known := fingerprint(data_folder)) | {"start weights": checksum_of(model)})
    done, rule_state = restore(ranks, model, job.run_dir, whose := identity(config, known))

    # rank 0 alone writes and speaks
    recorder: MainRecorder | SilentRecorder = SilentRecorder(ranks)
    if ranks.is_main:
        recorder = MainRecorder(ranks, job, done, whose)
    observer = recorder.observer
    clients = Clients(config, dataset, model, observer, rule_state)
    test = global_test(ranks, config, dataset, observer.eval_batch)
    recorder.begin(dataset, model, clients.class_counts(), evaluation := test(model))

    for round_index in range((done or 0) + 1, config.global_epochs + 1):
        # every client trains a copy of the global model on its own shard
        aggregation = clients.train_share(ranks, model, round_index)
        recorder.lap("train")

        # brought together, after which every rank moves its global model by the same step
        result = aggregation.reduce(ranks)
        apply_result(model, result)
        recorder.lap("aggregate")

        # the new global model on the whole test set, dealt out to the ranks
        evaluation = test(model)
        recorder.lap("evaluate")
        recorder.end_round(round_index, model, evaluation, result)

    recorder.finish(model, evaluation)


def draw(run_dir: Path, config: Config, data_folder: Path) -> None:
    """Every picture of a finished run, and its report."""
    from client import sample_rows
    from extra_utils.plots.curves import ATTACKER
    from extra_utils.plots.draw import draw_run
    from extra_utils.plots.report import write_report
    from extra_utils.plots.run_data import readable
    from extra_utils.plots.style import save
    from extra_utils.utils import draw_samples

    dataset = open_dataset(data_folder)
    draw_run(run_dir)
    title = f"{config.name}: {dataset.info.name}, labels trained on"
    rows = sample_rows(config, dataset)
    names = [readable(name) for name in dataset.info.class_names]
    save(draw_samples(rows, names, title, ATTACKER), run_dir / "samples.png")
    say(f"report: {write_report(run_dir)}")


def checked_config(arguments: Arguments, launcher: Launcher) -> tuple[Config, Places]:
    """The resolved config, after every check that needs no data; prints warnings."""
    read = read_resumed if arguments.resume else read_config
    given, places = read(arguments, TABLES)
    config = resolve(given, launcher.world_size)
    with places.named():
        check_rules(config)
        check_bounds(config)
    warnings = idle_keys(config, places)
    config = with_drawn_attackers(config)
    if launcher.is_main:
        if arguments.notice:
            say(arguments.notice)
        if launcher.world_size is not None:
            print(f"world_size: {launcher.world_size}, torchrun's")
        tell([], filter(None, [*warnings, warn_of_attackers(config)]))
    return config, places


def prepared_data(config: Config, places: Places, launcher: Launcher) -> Path:
    """The cache folder of the data set, which has the classes and images that the config names.

    The model and its start weights are looked at as well, without computing; the main process says
    what a user should know of the run.
    """
    with places.named():
        check_classes(config, known_classes(config))
    folder, notice = prepare_data(config)
    dataset = open_dataset(folder)
    with places.named():
        check_num_classes(config, dataset.num_classes)
        check_sizes(config, dataset.info.name, len(dataset.train), len(dataset.test))
    if notice and launcher.is_main:
        print(notice, flush=True)

    import torch  # from here on, since the ranks share it when they are forked

    from extra_utils.model import new_model
    from extra_utils.training.start_weights import prepare_weights
    from my_data_loader import check_last_batches, make_shards

    with torch.device("meta"):  # shapes only: the parent must not compute before it forks
        model = new_model(config, dataset.num_classes, *dataset.image_shape)
    partition = make_shards(config, dataset)
    with places.named():
        check_last_batches(config, model, partition.shards, dataset.image_shape[1])
    notes = [*prepare_weights(config, model), *partition.notes()]
    labels = [dataset.train.labels[own] for own in partition.shards]
    if launcher.is_main:
        tell(notes, idle_attack(config, labels, dataset.num_classes, dataset.image_shape[1]))
    return folder


if __name__ == "__main__":
    prepare_process()
    sys.exit(main(sys.argv[1:]))
