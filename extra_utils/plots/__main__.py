"""Draws a run's folder, or compares several; reads config.json and metrics.jsonl only.

python -m extra_utils.plots runs/a                      # redraw one run
python -m extra_utils.plots runs/a runs/b ...           # compare them in one figure and one table
python -m extra_utils.plots --watch runs/a              # redraw one whenever a round has ended
python -m extra_utils.plots --format=png,pdf,svg runs/a # for the screen, for print
"""

import sys
import time
from pathlib import Path

from extra_utils.basics.errors import ConfigError, ending, prepare_process, say, show
from extra_utils.config.reader import COMMAND_LINE
from extra_utils.plots.comparison import compare_runs
from extra_utils.plots.draw import draw_run, report_run
from extra_utils.plots.run_data import say_once
from extra_utils.plots.style import FORMATS
from extra_utils.run.metrics import FILE_NAME

POLL_S = 1.0


def main(argv: list[str]) -> int:
    """Exit status 2 where a folder is not that of a run, 130 where Ctrl-C ends the watch."""
    if not argv or "-h" in argv or "--help" in argv:
        print(__doc__)
        return 0 if argv else 2
    return ending(lambda: draw(argv))


def draw(argv: list[str]) -> None:
    """What the command line says; ConfigError with what is wrong with it."""
    folders, formats, is_watch, rest = [], ["png"], False, list(argv)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word == "--watch" and not equals:
            is_watch = True
        elif word == "--format":
            value = value if equals or not rest else rest.pop(0)
            formats = list(dict.fromkeys(value.split(",")))
        elif word.startswith("-"):
            raise wrong("option", word, "--format=png,pdf,svg or --watch")
        else:
            folders.append(Path(word + equals + value))
    for form in formats:
        if form not in FORMATS:
            raise wrong("format", form, f"some of {', '.join(FORMATS)} with commas between them")
    if not folders or (is_watch and len(folders) > 1):
        number = "one folder, that of the run" if is_watch else "the folders of runs"
        raise wrong("folders", [str(folder) for folder in folders], number)
    if is_watch:
        watch(folders[0], formats)
    elif len(folders) == 1:
        draw_run(folders[0], formats)
        report_run(folders[0])
    else:
        print(compare_runs(folders, formats))


def wrong(key: str, got: object, right: str) -> ConfigError:
    return ConfigError(f"{COMMAND_LINE}: {key}: got {show(got)}, must be {right}")


def watch(folder: Path, formats: list[str]) -> None:
    """Draws the run whenever it has written rows, until it has ended."""
    path, drawn = folder / FILE_NAME, b""
    while True:
        rows = path.read_bytes() if path.is_file() else b""
        if not rows and not drawn:
            say_once(f"note: {path}: has no rows yet; waiting for them")
        if rows != drawn and rows.endswith(b"\n"):  # else a row is being written
            run, drawn = draw_run(folder, formats), rows
            report_run(folder)
            if run.summary:
                say(f"{folder}: drawn at the end")
                return
            say(f"{folder}: drawn after round {run.rounds[-1]['round'] if run.rounds else 0}")
        time.sleep(POLL_S)


if __name__ == "__main__":
    prepare_process()
    sys.exit(main(sys.argv[1:]))
