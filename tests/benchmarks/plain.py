"""The limit: plain PyTorch training of the same steps, one process per core, no federation."""

from __future__ import annotations

import copy
import multiprocessing
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extra_utils.my_dataset import Dataset, open_dataset
from extra_utils.processes.child import available_cores


class PlainNet(nn.Module):
    """The article's network as it is usually written: pooling after the ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(400, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, 10)
        self.pool = nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Any:
        x = self.pool(F.relu(self.conv1(x)))
        x = self.pool(F.relu(self.conv2(x)))
        x = torch.flatten(x, 1)
        x = F.relu(self.fc1(x))
        return self.fc3(F.relu(self.fc2(x)))


def load_tensors(dataset: Dataset, size: int) -> tuple[Tensor, Tensor]:
    """The first images of a shuffled training set as float tensors [N, 3, 32, 32] in memory."""
    order = np.random.default_rng(0).permutation(len(dataset.train))[:size]
    mean, std = torch.tensor(dataset.info.mean), torch.tensor(dataset.info.std)
    pixels = torch.from_numpy(dataset.train.images[order])
    images = ((pixels - mean) / std).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(dataset.train.labels[order])


def train_plainly(images: Tensor, labels: Tensor, client_sizes: list[int], batch_size: int) -> None:
    """One epoch of each client in turn, from the same weights, with a new Adam each."""
    model = PlainNet()
    start = 0
    for size in client_sizes:
        local = copy.deepcopy(model)
        optimizer = torch.optim.Adam(local.parameters(), lr=0.001)
        loss_function = nn.CrossEntropyLoss()
        order = start + torch.randperm(size)
        for begin in range(0, size, batch_size):
            batch = order[begin : begin + batch_size]
            optimizer.zero_grad()
            loss = loss_function(local(images[batch]), labels[batch])
            loss.backward()
            optimizer.step()
        start += size


def share_evenly(client_sizes: list[int], num_processes: int) -> list[list[int]]:
    """The clients' images over the processes; one client is cut where they do not come out even."""
    total = sum(client_sizes)
    bounds = [total * number // num_processes for number in range(num_processes + 1)]
    shares: list[list[int]] = [[] for _ in range(num_processes)]
    start = 0
    for size in client_sizes:
        for number in range(num_processes):
            inside = min(start + size, bounds[number + 1]) - max(start, bounds[number])
            if inside > 0:
                shares[number].append(inside)
        start += size
    return shares


def _worker(
    folder: Path, client_sizes: list[int], batch_size: int, barrier: Any, done: Any
) -> None:
    torch.set_num_threads(1)
    images, labels = load_tensors(open_dataset(folder), sum(client_sizes))
    train_plainly(images[:640], labels[:640], [640], 64)  # warm
    barrier.wait()
    start = time.perf_counter()
    train_plainly(images, labels, client_sizes, batch_size)
    done.put(time.perf_counter() - start)


def limit(folder: Path, client_sizes: list[int], batch_size: int = 64) -> float:
    """Seconds until the slowest of one process per core has trained its share of the clients."""
    context = multiprocessing.get_context("spawn")
    shares = share_evenly(client_sizes, available_cores())
    barrier, done = context.Barrier(len(shares)), context.Queue()
    processes = [
        context.Process(target=_worker, args=(folder, share, batch_size, barrier, done))
        for share in shares
    ]
    for process in processes:
        process.start()
    seconds = max(done.get(timeout=600) for _ in processes)
    for process in processes:
        process.join()
    return seconds
