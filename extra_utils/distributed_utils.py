"""The process group: the one module that knows how ranks meet and speak to each other."""

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from extra_utils.basics.errors import RunFailed
from extra_utils.basics.heartbeat import Heartbeats, RankHeartbeat

FOREVER = timedelta(days=20)  # the parent ends a run that hangs; poll() takes at most 24 days


@dataclass
class Ranks:
    """A rank's view of the process group, which may be of one; all ranks call what communicates."""

    rank: int
    world_size: int
    heartbeat: RankHeartbeat
    store: Any = None  # torch's Store, where the ranks have met
    num_bytes: int = 0  # put on the wire by this rank so far

    @property
    def is_main(self) -> bool:
        """Whether this rank is the server, which alone writes files and speaks."""
        return self.rank == 0

    def all_reduce(self, values: Tensor) -> None:
        """Replaces int64 ``values`` by their sum over all ranks. All ranks call this."""
        assert values.dtype == torch.int64, "floating-point sums depend on their order"
        self.num_bytes += values.nbytes
        with self.heartbeat.waiting():
            dist.all_reduce(values)

    def all_gather(self, value: Any) -> list[Any]:
        """Every rank's value, by rank. All ranks call this."""
        values = [None] * self.world_size
        with self.heartbeat.waiting():
            dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: Any) -> Any:
        """What rank 0 passes, on every rank. All ranks call this."""
        values = [value]
        with self.heartbeat.waiting():
            dist.broadcast_object_list(values)
        return values[0]

    def sum_in_order(self, values: Tensor) -> Tensor:
        """The sum of floats over the ranks, added in their order. All ranks call this."""
        self.num_bytes += values.nbytes
        gathered = [torch.empty_like(values) for _ in range(self.world_size)]
        with self.heartbeat.waiting():
            dist.all_gather(gathered, values.contiguous())
        return torch.stack(gathered).sum(dim=0)

    def all_to_all(self, values: Tensor, sizes: list[int], into: Tensor, taken: list[int]) -> None:
        """Sends each rank its piece of ``values`` and takes one of each. All ranks call this."""
        self.num_bytes += (values.numel() - sizes[self.rank]) * values.element_size()
        with self.heartbeat.waiting():
            dist.all_to_all_single(into, values, taken, sizes)

    def check_equal(self, known: dict[str, Any]) -> None:
        """Compares what all ranks must have alike, by name. All ranks call this.

        Raises RunFailed on rank 0, with what the first other rank has that differs."""
        for rank, found in enumerate(self.all_gather(known)):
            for name, value in found.items():
                if self.is_main and value != known[name]:
                    has = f"rank {rank} has {name} {value!r} and rank 0 {known[name]!r}"
                    raise RunFailed(f"the ranks must train on the same, but {has}")

    def __deepcopy__(self, memo: object) -> "Ranks":
        """A copied model speaks to the same ranks."""
        return self


def to_bits(values: Tensor) -> Tensor:
    """float64 as the int64 of the same bits, which a sum with all other ranks' 0 leaves as is."""
    return values.contiguous().view(torch.int64)


def from_bits(bits: Tensor) -> Tensor:
    return bits.contiguous().view(torch.float64)


@contextlib.contextmanager
def process_group(
    rank: int, heartbeats: Heartbeats, file: str | None, threads: int
) -> Iterator[Ranks]:
    """Joins the group of all ranks over gloo; where all are on this machine, on loopback only.

    They meet in ``file``, or, without one, as torchrun's environment says. All ranks call this."""
    torch.set_num_threads(threads)
    size, heartbeat = len(heartbeats), heartbeats[rank]
    heartbeat.pid = os.getpid()
    restarts = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    if file is not None or os.environ.get("LOCAL_WORLD_SIZE") == str(size):
        os.environ["GLOO_SOCKET_IFNAME"] = "lo0" if sys.platform == "darwin" else "lo"
    with heartbeat.waiting():
        if file is None:
            store, _, _ = next(rendezvous("env://", rank, size))
        else:  # as rendezvous does, which would cut the file's name at a ? or #
            store = dist.FileStore(file, size)  # type: ignore[attr-defined]
        # torchrun's store outlives a restart, and with it the addresses of the ranks that died
        store = dist.PrefixStore(f"attempt {restarts}", store)  # type: ignore[attr-defined]
        dist.init_process_group("gloo", store=store, rank=rank, world_size=size, timeout=FOREVER)
    yield Ranks(rank, size, heartbeat, store)
    dist.destroy_process_group()
