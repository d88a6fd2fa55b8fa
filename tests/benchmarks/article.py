"""The article's loop as it is written: images one by one through PIL, a collective per tensor."""

from __future__ import annotations

import copy
import multiprocessing
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler
from torchvision import transforms

from extra_utils.my_dataset import Dataset, open_dataset
from tests.benchmarks.plain import PlainNet


class Images(torch.utils.data.Dataset[Any]):
    """The training images as torchvision's data sets give them."""

    def __init__(self, dataset: Dataset, size: int) -> None:
        self.dataset = dataset
        self.order = np.random.default_rng(0).permutation(len(dataset.train))[:size]
        self.change = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
            ]
        )

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Any:
        number = self.order[index]
        image = Image.fromarray(np.array(self.dataset.train.images[number]))
        return self.change(image), int(self.dataset.train.labels[number])


def train(model: nn.Module, loader: DataLoader[Any], rank: int) -> nn.Module:
    """One local epoch, rank 2's labels flipped one by one."""
    local = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam(local.parameters(), lr=0.001)
    for images, target in loader:
        if rank == 2:
            for place in range(len(target)):
                if target[place] == 1:
                    target[place] = 4
        optimizer.zero_grad()
        loss = nn.CrossEntropyLoss()(local(images), target)
        loss.backward()
        optimizer.step()
    return local


def average(model: nn.Module, local: nn.Module, world_size: int) -> None:
    """A collective and a barrier for each tensor."""
    for name, value in local.state_dict().items():
        diff = value - model.state_dict()[name]
        dist.all_reduce(diff, op=dist.ReduceOp.SUM)
        dist.barrier()
        model.state_dict()[name].add_(diff / world_size)


def one_rank(
    rank: int,
    world_size: int,
    folder: str,
    init_file: str,
    seconds: Any,
    size: int,
    threads: int | None,
) -> None:
    """A round as one rank runs it; rank 0 reports its seconds."""
    if threads is not None:
        torch.set_num_threads(threads)
    images = Images(open_dataset(Path(folder)), size)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=init_file, rank=rank, world_size=world_size)
    sampler: DistributedSampler[Any] = DistributedSampler(images, world_size, rank)
    loader: DataLoader[Any] = DataLoader(images, batch_size=64, sampler=sampler)
    model = PlainNet()
    for value in model.state_dict().values():
        dist.broadcast(value, 0)
    dist.barrier()
    start = time.perf_counter()
    local = train(model, loader, rank)
    dist.barrier()
    average(model, local, world_size)
    if rank == 0:
        seconds.put(time.perf_counter() - start)
    dist.destroy_process_group()


def article(folder: Path, size: int, threads: int | None = None, world_size: int = 3) -> float:
    """Seconds of a round of the article's loop, local evaluation off; it has no global test.

    ``threads``: of each process; None leaves them to torch, as the article does.
    """
    context = multiprocessing.get_context("spawn")
    seconds = context.Queue()
    with tempfile.TemporaryDirectory() as private:
        arguments = (world_size, str(folder), f"file://{private}/ranks", seconds, size, threads)
        processes = [
            context.Process(target=one_rank, args=(r, *arguments)) for r in range(world_size)
        ]
        for process in processes:
            process.start()
        figure: float = seconds.get(timeout=1200)
        for process in processes:
            process.join()
    return figure
