"""The two ways to start the ranks: processes of our own, or those that torchrun has started.

Both take the same steps: the main process decides, one process on each machine finds the data,
and all ranks run the same function. torch is imported when the ranks start.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from extra_utils.basics.errors import RunFailed

if TYPE_CHECKING:
    from extra_utils.distributed_utils import Ranks


class Job(Protocol):
    """What the ranks are to do; the main process decides it for all."""

    def hint(self) -> str:
        """How to go on with the run when it has ended early; "" where that cannot be."""


RankFunction = Callable[["Ranks", Path, Any], None]  # ranks, this machine's data folder, the job


class Launcher(Protocol):
    """How this process takes part in starting the ranks."""

    @property
    def is_main(self) -> bool:
        """Whether this is the one process that speaks and has the run's folder."""

    @property
    def prepares_data(self) -> bool:
        """Whether this is the one process of its machine that finds the data."""

    @property
    def is_restart(self) -> bool:
        """Whether a group in which a rank died is started again."""

    @property
    def world_size(self) -> int | None:
        """From outside, where it beats the config's."""

    def start(
        self, function: RankFunction, data_folder: Path | None, job: Any,
        *, world_size: int, threads: int, timeout_s: float,
    ) -> None:  # fmt: skip
        """``function`` on all ranks; ``data_folder`` and ``job`` are known to who prepares them.

        Raises RunFailed where it ends early, KeyboardInterrupt with what is to be said.
        """


class OwnProcesses:
    """This process starts the ranks and watches over them."""

    is_main = prepares_data = True
    is_restart = False
    world_size: int | None = None

    def start(
        self, function: RankFunction, data_folder: Path | None, job: Any,
        *, world_size: int, threads: int, timeout_s: float,
    ) -> None:  # fmt: skip
        from extra_utils.processes.supervisor import start_ranks

        args = (data_folder, job)
        try:
            start_ranks(function, args, world_size=world_size, threads=threads, timeout_s=timeout_s)
        except RunFailed as error:
            raise RunFailed("\n".join(filter(None, [str(error), job.hint()]))) from None
        except KeyboardInterrupt:
            raise KeyboardInterrupt(job.hint()) from None


@dataclass(frozen=True)
class Torchrun:
    """This process is one of torchrun's ranks, on one machine or several."""

    rank: int
    local_rank: int  # on its machine
    world_size: int | None
    is_restart: bool

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    @property
    def prepares_data(self) -> bool:
        return self.local_rank == 0

    def start(
        self, function: RankFunction, data_folder: Path | None, job: Any,
        *, world_size: int, threads: int, timeout_s: float,
    ) -> None:  # fmt: skip
        from extra_utils.processes.torchrun import TorchrunRank

        first = self.rank - self.local_rank  # the rank that prepares this machine's data
        own = TorchrunRank(self.rank, first, world_size, timeout_s)
        own.run(threads, function, data_folder, job)


def find_launcher() -> Launcher:
    """From torchrun's environment; our own processes where main.py was started by itself."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return OwnProcesses()
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE")
    rank, local_rank, world_size = (int(os.environ[name]) for name in names)
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))
    return Torchrun(rank, local_rank, world_size, restarts > 0)
