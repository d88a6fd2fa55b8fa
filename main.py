"""Federated learning on one machine: read the config, start the ranks, run the rounds, draw.

    python main.py                             # the main job, configs/cifar.json
    python main.py --config configs/cifar.json --lr=0.0005
    python main.py --help

torch is imported where it is first needed: a wrong config is refused without waiting for it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from extra_utils.basics.errors import ConfigError, RunFailed, ending, prepare_process, say
from extra_utils.config.help import help_text
from extra_utils.config.keys import Config
from extra_utils.config.reader import DEFAULT_CONFIG, Arguments, parse_arguments, read_config
from extra_utils.config.sweep import Sweep, baseline_of, read_sweep
from extra_utils.my_dataset import fingerprint, open_dataset
from extra_utils.processes.launch import ALONE, Job, Launcher, find_launcher, hint
from extra_utils.run.folder import identity, read_resumed, run_folder
from federal_defense.checks import checked_config, prepared_data
from federal_defense.rules.table import TABLES

if TYPE_CHECKING:
    from extra_utils.distributed_utils import Ranks


def main(argv: list[str]) -> int:
    """The whole command; returns its exit status."""
    if "--help" in argv or "-h" in argv:
        print(help_text(TABLES))
        return 0
    return ending(lambda: federate(parse_arguments(argv), find_launcher()))


def federate(arguments: Arguments, launcher: Launcher) -> None:
    """One run; or, where a key has several values, one of each combination and a comparison."""
    if sweep := read_sweep(arguments):
        compare_all(sweep, arguments, launcher, lambda _: "")
        return
    if launcher.is_main and arguments.config is None and arguments.resume is None:
        say(f"config: {DEFAULT_CONFIG}, as none was given")
    given, places = (read_resumed if arguments.resume else read_config)(arguments, TABLES)
    config = checked_config(given, places, launcher)

    # the data set and the start weights, found and cached once on each machine
    data_folder = prepared_data(config, places, launcher) if launcher.local_rank == 0 else Path()
    carry_out(config, data_folder, arguments, launcher)


def compare_all(
    sweep: Sweep, arguments: Arguments, launcher: Launcher, more: Callable[[Path], str]
) -> None:
    """All runs of a sweep, side by side, and then in one table and figure, and what is ``more``."""
    from extra_utils.plots.comparison import compare_sweep
    from extra_utils.run.sweep import carry_out_all, plan_runs, sweep_folder

    if launcher.world_size is not None:
        raise ConfigError("sweep: goes without torchrun, it starts its runs by itself")
    baseline = baseline_of(sweep, arguments.baseline)
    runs = plan_runs(sweep, TABLES, checked_config, prepared_data)
    with sweep_folder(sweep, runs, arguments) as folder:
        failures = carry_out_all(sweep, runs, folder, carry_out)
        texts = compare_sweep(folder, sweep.combinations, baseline), more(folder)
        print(*filter(None, texts), sep="\n\n")
    say(f"report: {folder / 'report.html'}")
    say(f"run folder: {folder}")
    if failures:
        raise RunFailed("\n".join([*failures, hint(folder)]))


def carry_out(
    config: Config, data_folder: Path, arguments: Arguments, launcher: Launcher = ALONE
) -> None:
    """The run in its folder, new or gone on with: all rounds, and the pictures."""
    # the ranks, and in them the rounds; the main process has the run's folder and decides for all
    if not launcher.is_main:
        launcher.start(run, config, data_folder, None)
        return
    known = fingerprint(data_folder)
    with run_folder(config, known, arguments, is_restart=launcher.is_restart) as (run_dir, job):
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
    from extra_utils.aggregation.server import Server
    from extra_utils.model import build_model
    from extra_utils.run.checkpoint import checksum_of, restore
    from extra_utils.run.recorder import MainRecorder, SilentRecorder
    from my_data_loader import global_test

    # the same on every rank; the model of round 0, or of the last round of a run that goes on
    config, dataset = job.config, open_dataset(data_folder)
    model = build_model(config, dataset, ranks)
    ranks.check_equal((known := fingerprint(data_folder)) | {"start weights": checksum_of(model)})
    done, state = restore(ranks, model, job.run_dir, whose := identity(config, known))

    # rank 0 alone writes and speaks
    recorder: MainRecorder | SilentRecorder = SilentRecorder(ranks)
    if ranks.is_main:
        recorder = MainRecorder(ranks, job, done, whose)
    observer = recorder.observer
    server = Server(config.server, state)
    clients = Clients(config, dataset, model, observer, state)
    test = global_test(ranks, config, dataset, observer.heartbeat.beat)
    recorder.begin(dataset, model, clients.class_counts(), evaluation := test(model))

    for round_index in range((done or 0) + 1, config.global_epochs + 1):
        # every client trains a copy of the global model on its own shard
        aggregation = clients.train_share(ranks, model, round_index)
        recorder.lap("train")

        # brought together, after which every rank moves its global model by the same step
        result = server.apply(model, aggregation.reduce(ranks))
        recorder.lap("aggregate")

        # the new global model on the whole test set, dealt out to the ranks
        evaluation = test(model)
        recorder.lap("evaluate")
        recorder.end_round(round_index, model, evaluation, result)

    recorder.finish(model, evaluation)


def draw(run_dir: Path, config: Config, data_folder: Path) -> None:
    """Every picture of a finished run: most of them in another process."""
    from client import sample_rows
    from extra_utils.plots.draw import draw_run, report_run
    from extra_utils.plots.run_data import read_run
    from extra_utils.plots.style import ATTACKER, add_head, in_lines, save
    from extra_utils.processes.child import Unavailable, in_child
    from extra_utils.utils import LETTERS, NAME, draw_samples

    def draw_labels() -> None:
        drawn, rows = read_run(run_dir), sample_rows(config, open_dataset(data_folder))
        names = [in_lines(name, NAME, LETTERS, " _-") for name in drawn.run["class_names"]]
        figure = draw_samples(rows, names, ATTACKER)
        add_head(figure, f"{drawn.title}, labels trained on", drawn.setting)
        save(figure, run_dir / "samples.png")

    try:
        in_child(draw_run, run_dir, meanwhile=draw_labels)
    except Unavailable:  # it was killed, or what is wrong is said by this process
        draw_run(run_dir)
    say(f"report: {report_run(run_dir)}")


if __name__ == "__main__":
    prepare_process()
    sys.exit(main(sys.argv[1:]))
