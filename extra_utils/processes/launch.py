"""The two ways to start the ranks: processes of our own, or those that torchrun has started.

Both take the same steps: the main process decides, one process on each machine finds the data,
and all ranks run the same function. torch is imported when the ranks start.
"""

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from extra_utils.basics.errors import ConfigError, RunFailed, printable, show
from extra_utils.config.keys import Config


class Job(NamedTuple):
    """What the ranks are to do, as the main process has decided it."""

    config: Config
    run_dir: Path
    told: list[str]  # the warnings before it began

    def hint(self) -> str:
        """How to go on; nothing where the folder is gone, or no checkpoint was to be kept."""
        return hint(self.run_dir) if self.run_dir.is_dir() and self.config.checkpoint_every else ""


def hint(folder: Path) -> str:
    script = sys.argv[0] if sys.argv[0].endswith(".py") else "main.py"
    return f"resume with: {printable(shlex.join(['python', script, '--resume', str(folder)]))}"


class Launcher(NamedTuple):
    """How this process takes part: it starts the ranks and watches over them, or is torchrun's."""

    rank: int = 0
    local_rank: int = 0  # on its machine, of which 0 finds the data
    world_size: int | None = None  # torchrun's, which beats the config's
    is_restart: bool = False  # a group in which a rank died is started again

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that speaks and has the run's folder."""
        return self.rank == 0

    def start(self, run: Callable[..., None], config: Config, data: Path, job: Job | None) -> None:
        """``run(ranks, data, job)`` on all ranks; ``data`` is this machine's folder.

        A rank of torchrun's that did not prepare data or job is given the others'. Raises RunFailed
        where it ends early, and KeyboardInterrupt, both with ``job.hint()``."""
        from extra_utils.processes.supervisor import TorchrunRank, start_ranks

        if self.world_size is not None:
            rank = TorchrunRank(self.rank, self.local_rank, self.world_size, config)
            return rank.run(run, data, job)
        assert job is not None, "this process is the main one"
        sizes = {"world_size": config.world_size, "threads": config.threads_per_process}
        try:
            start_ranks(run, (data, job), **sizes, timeout_s=config.timeout_s)
        except RunFailed as error:
            raise RunFailed("\n".join(filter(None, [str(error), job.hint()]))) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(job.hint()) from None


ALONE = Launcher()  # which starts its ranks by itself


def find_launcher() -> Launcher:
    """From torchrun's environment; our own processes where main.py was started by itself."""
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    if not {"TORCHELASTIC_RUN_ID", *names} <= os.environ.keys():
        return Launcher()
    texts = {name: os.environ.get(name, "0") for name in (*names, "TORCHELASTIC_RESTART_COUNT")}
    if key := next((name for name, text in texts.items() if not text.isdecimal()), None):
        raise ConfigError(f"environment: {key}: got {show(texts[key])}, must be a whole number")
    rank, local_rank, world_size, restarts = map(int, texts.values())
    return Launcher(rank, local_rank, world_size, restarts > 0)
