"""The other side of rules.py: byzfl's rules on a stacked float32 matrix.

python tests/benchmarks/byzfl_rules.py 20 11173962    # in an environment with byzfl 0.0.11

Reads a line a request, a list of classes with their parameters, and answers with a line: the
seconds of one aggregation by two threads, or why there is none.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from typing import Any

import byzfl  # type: ignore[import-not-found, import-untyped, unused-ignore]
import torch
from torch import Tensor

THREADS = 2
MOST_MEMORY = 10 * 2**30  # bytes; a rule that wants more gets an answer instead


def aggregation(calls: list[tuple[str, dict[str, Any]]], matrix: Tensor) -> float:
    """Seconds of one."""
    rules = [getattr(byzfl, name)(**parameters) for name, parameters in calls]
    found = matrix.clone()  # of which Clipping shortens the rows in place
    start = time.perf_counter()
    for rule in rules:
        found = rule(found)
    return time.perf_counter() - start


def main() -> None:
    n, size = map(int, sys.argv[1:])
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    matrix = 0.01 * torch.randn(n, size)
    for line in sys.stdin:
        try:
            answer: Any = aggregation(json.loads(line), matrix)
        except RuntimeError as error:  # torch's, for memory as well
            short = "allocate memory" in str(error)
            answer = "more than 10 GiB" if short else str(error).splitlines()[0]
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
