"""One config on one to four processes, each in a folder of its own, without pictures."""

from __future__ import annotations

import sys

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


def run_all(model: str, config: str, folder: str) -> None:
    """``model``: "norm" for the one above, else the config's."""
    if model == "norm":
        extra_utils.model.OWN_MODELS["net"] = NormNet  # type: ignore[assignment]
    main.draw = lambda *_: None
    for world_size in (1, 2, 3, 4):
        options = [f"--config={config}", f"--run_dir={folder}/on{world_size}"]
        assert main.main([*options, f"--world_size={world_size}"]) == 0


if __name__ == "__main__":
    run_all(*sys.argv[1:])
