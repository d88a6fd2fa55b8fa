"""One config on one to four processes, or with other options, each in a folder of its own."""

from __future__ import annotations

import sys
from pathlib import Path

from torch import Tensor, nn

import extra_utils.model
import main


class NormNet(nn.Module):
    """A small network with batch norm, whose running statistics and counters are sent too."""

    def __init__(self, num_classes: int, channels: int, side: int) -> None:
        super().__init__()
        assert side == 32
        self.conv = nn.Conv2d(channels, 8, 5, stride=4)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 7 * 7, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.last(self.norm(self.conv(images)).relu().flatten(1))
        return logits


def run_all(model: str, config: str, folder: str, *runs: str) -> None:
    """``model``: "norm" for the one above, else the config's. ``runs``: a folder's name and its
    options, with spaces between; without pictures. A folder that is there is gone on with."""
    if model == "norm":
        extra_utils.model.OWN_MODELS["net"] = NormNet  # type: ignore[assignment]
    main.draw = lambda *_: None
    for run in runs or [f"on{size} --world_size={size}" for size in (1, 2, 3, 4)]:
        name, *options = run.split()
        run_dir = Path(folder, name)
        if run_dir.exists():
            assert main.main([f"--resume={run_dir}", *options]) == 0
        else:
            assert main.main([f"--config={config}", f"--run_dir={run_dir}", *options]) == 0


if __name__ == "__main__":
    run_all(*sys.argv[1:])
