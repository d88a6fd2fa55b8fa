"""The runs of a sweep: checked all before the first begins, then carried out side by side."""

import contextlib
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from extra_utils.basics.errors import TOLD, ConfigError, ending, printable, say, take_told
from extra_utils.basics.files import used_alone, write_json
from extra_utils.config.keys import Config, GivenConfig, to_json
from extra_utils.config.reader import COMMAND_LINE, Arguments, Places, Tables, read_choice
from extra_utils.config.sweep import FILE_NAME, Sweep
from extra_utils.config.values import read_json
from extra_utils.processes.child import available_cores, side_by_side
from extra_utils.processes.launch import hint
from extra_utils.run import metrics
from extra_utils.run.folder import is_finished, staying, with_absolute_paths

Check = Callable[[GivenConfig, Places], Config]
Prepare = Callable[[Config, Places], Path]
Runner = Callable[[Config, Path, Arguments], None]


class Planned(NamedTuple):
    """A run that has passed every check."""

    name: str  # of its folder
    config: Config
    data: Path
    told: list[str]  # its notes and warnings


def plan_runs(sweep: Sweep, tables: Tables, check: Check, prepare: Prepare) -> list[Planned]:
    """All runs. Raises ConfigError where one is wrong, and says which; says each note once."""
    checked: list[tuple[str, Config, Places, list[str]]] = []
    runs, heard = [], Counter[tuple[bool, str]]()
    for name, choice, _ in sweep.combinations:
        with _heard(heard, name):
            given, places = read_choice(sweep.path, choice, sweep.where, tables)
            config = with_absolute_paths(check(given, places))
        if twin := next((other for other, known, *_ in checked if known == config), None):
            place = [*sweep.where.values()][-1]
            raise ConfigError(f"{place}: {twin} and {name} are the same run, must differ")
        checked.append((name, config, places, take_told()))
    for name, config, places, told in checked:
        with _heard(heard, name):
            data = prepare(config, places)
        # the result does not depend on the number of processes, but for what all step together
        alone = config if config.syncBN else replace(config, world_size=1)
        runs.append(Planned(name, alone, data, [*told, *take_told()]))
    for (is_warning, line), number in heard.items():
        some = "" if number == len(runs) else f" (in {number} of {len(runs)} runs)"
        print(line + some, file=sys.stderr if is_warning else sys.stdout, flush=True)
    return runs


@contextlib.contextmanager
def sweep_folder(sweep: Sweep, runs: list[Planned], arguments: Arguments) -> Iterator[Path]:
    """The sweep's folder, held against others. ConfigError where it holds something else."""
    # without run_dir its name is made from all settings, so that the same command finds it again
    first = runs[0].config
    text = json.dumps([[run.name, run.config.global_epochs, staying(run.config)] for run in runs])
    own_name = f"{first.name}-sweep-{sha256(text.encode()).hexdigest()[:8]}"
    folder = Path(arguments.resume or arguments.run_dir or Path(first.output_dir, own_name))
    if folder.is_dir() and any(folder.iterdir()) and not (folder / FILE_NAME).is_file():
        got = f"got {folder}, which holds something else than a sweep"
        raise ConfigError(f"{COMMAND_LINE}: run_dir: {got}, must be a new folder")
    for run in runs:
        _check_same(folder / run.name, run.config)
    folder.mkdir(parents=True, exist_ok=True)
    with used_alone(folder):
        write_json(folder / FILE_NAME, sweep.to_json())
        yield folder


def carry_out_all(sweep: Sweep, runs: list[Planned], folder: Path, carry_out: Runner) -> list[str]:
    """Every run that is not at its end yet, side by side; why some failed, in the sweep's order."""
    drawn = [run for run in runs if (folder / run.name / "report.html").is_file()]  # written last
    whole = {run.name for run in drawn if is_finished(folder / run.name, run.config)}
    todo = {run.name: run for run in runs if run.name not in whole}
    now = metrics.versions()
    if changed := [text for run in runs if (text := _changes(folder / run.name, now))]:
        say(f"note: made with other sources or versions: {'; '.join(changed)}")
    threads = max(run.config.world_size * run.config.threads_per_process for run in runs)
    jobs = sweep.jobs or max(1, available_cores() // threads)
    tasks = {name: partial(_alone, carry_out, run, folder / name) for name, run in todo.items()}
    failures: dict[str, str] = {}
    done = len(runs) - len(todo)
    tqdm.monitor_interval = 0  # its thread would be forked
    try:
        with tqdm(total=len(runs), initial=done, unit="run", smoothing=0, disable=None) as bar:
            for number, ended in enumerate(side_by_side(tasks, jobs), start=done + 1):
                if ended.status:
                    said = ended.said.rpartition("error: ")[2].strip()
                    failures[ended.name] = said or f"ended with exit status {ended.status}"
                    shown = f"failed: {failures[ended.name]}"
                else:
                    shown = metrics.round_text(metrics.read_metrics(folder / ended.name)[0][-1])
                tqdm.write(printable(f"run {number}/{len(runs)}  {ended.name}  {shown}"))
                bar.update()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(hint(folder)) from None
    return [f"{name}: {failures[name]}" for name in todo if name in failures]


def _alone(carry_out: Runner, run: Planned, folder: Path) -> int:
    """One run, from its beginning or from its checkpoint on; its exit status."""
    TOLD.extend(run.told)
    is_begun = (folder / "config.json").exists()
    how = Arguments(resume=str(folder)) if is_begun else Arguments(run_dir=str(folder))
    return ending(lambda: carry_out(run.config, run.data, how))


def _check_same(folder: Path, config: Config) -> None:
    """A ConfigError where the folder has a run of another config, which has the same name."""
    from extra_utils.run.checkpoint import first_change

    path, new = folder / "config.json", staying(config)
    stored = read_json(path) if path.is_file() else to_json(config)
    change = first_change({key: stored.get(key) for key in new}, new)
    if (was := stored.get("global_epochs", 0)) > config.global_epochs:
        change = f"global_epochs: was {was}, is {config.global_epochs}"
    if change:
        raise ConfigError(f"{path}: is of another run: {change}; run_dir must be a new folder")


def _changes(folder: Path, now: dict[str, str]) -> str:
    """The run and what it was made with that is different now; "" for nothing."""
    rows = metrics.read_metrics(folder)[0] if (folder / metrics.FILE_NAME).is_file() else []
    was: dict[str, str] = next((row["versions"] for row in rows if "versions" in row), {})
    changed = [f"{key} {value}" for key, value in was.items() if now.get(key) != value]
    return f"{folder.name} ({', '.join(changed)})" if changed else ""


@contextlib.contextmanager
def _heard(counts: Counter[tuple[bool, str]], name: str) -> Iterator[None]:
    """Counts the lines that are said of a run, on standard error or not; its errors name it."""
    texts = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(texts[0]), contextlib.redirect_stderr(texts[1]):
            yield
    except ConfigError as error:
        raise ConfigError(f"{error} (in the run {name})") from None
    for is_warning, text in enumerate(texts):
        counts.update({(bool(is_warning), line): 1 for line in text.getvalue().splitlines()})
