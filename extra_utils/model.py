"""The models, and what is asked of every model: its last layer and its named values."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extra_utils.config import Config
from extra_utils.random_streams import Purpose, torch_seed


class Net(nn.Module):
    """The article's small network for 32 x 32 colour images: two convolutions, three full layers.

    Images [B, 3, 32, 32] in, logits [B, num_classes] out. Pooling before the ReLU gives the same
    numbers as after it, on a quarter of the values.
    """

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * 5 * 5, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(images), 2))  # [B, 6, 14, 14]
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # [B, 16, 5, 5]
        x = F.relu(self.fc1(x.flatten(1)))
        x = F.relu(self.fc2(x))
        logits: Tensor = self.fc3(x)  # [B, C]
        return logits


def build_model(config: Config, num_classes: int) -> nn.Module:
    """The model of a config, its weights drawn from the seed; the same on every rank."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(config.seed, Purpose.MODEL))
        model = Net(num_classes)
    # channels_last: convolutions on the CPU are faster with a pixel's channels side by side
    return model.to(memory_format=torch.channels_last)


def last_linear(model: nn.Module) -> nn.Linear:
    """The last layer that has parameters. Raises ValueError where it is not fully connected."""
    layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    if not layers or not isinstance(layers[-1], nn.Linear):
        found = type(layers[-1]).__name__ if layers else "no layer with parameters"
        raise ValueError(f"class means need a fully connected last layer, the model has {found}")
    return layers[-1]


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
