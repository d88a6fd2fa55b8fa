"""The command that draws runs."""

import sys
from pathlib import Path

from extra_utils.basics.errors import ENDINGS, prepare_process, report
from extra_utils.plots.comparison import compare_runs
from extra_utils.plots.draw import draw_run
from extra_utils.plots.report import write_report

USAGE = """\
Draws a run's folder, or compares several; reads config.json and metrics.jsonl only.

python -m extra_utils.plots runs/a              # redraw one run
python -m extra_utils.plots runs/a runs/b ...   # compare them in one figure and one table
"""


def main(argv: list[str]) -> int:
    """Exit status 2 where a folder is not that of a run."""
    folders = [Path(name) for name in argv]
    if not folders or argv[0] in ("-h", "--help"):
        print(USAGE)
        return 0 if folders else 2
    try:
        if len(folders) == 1:
            draw_run(folders[0])
            write_report(folders[0])
        else:
            print(compare_runs(folders))
    except ENDINGS as error:
        return report(error)
    return 0


if __name__ == "__main__":
    prepare_process()
    sys.exit(main(sys.argv[1:]))
