"""The models, and what is asked of every model: its last layer, and what of it can change.

A model takes images [B, channels, side, side] and gives logits [B, num_classes]. Batch norm over
all ranks is here since torch's own SyncBatchNorm refuses CPU tensors.
"""

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from extra_utils.basics.random_streams import Purpose, torch_seed
from extra_utils.config.keys import Config
from extra_utils.distributed_utils import Ranks
from extra_utils.my_dataset import Dataset
from extra_utils.training.start_weights import load_weights

SMALL_SIDE = 64  # smaller images lose too much in a ResNet's usual first layers


class Net(nn.Module):
    """The article's small network: two convolutions, three full layers; the last is `fc3`.

    Its layers are assumed, all but the last, to be those of PyTorch's own tutorial. Pooling before
    the ReLU gives the same numbers as after it, on a quarter of the values."""

    def __init__(self, num_classes: int = 10, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        left = ((side - 4) // 2 - 4) // 2  # pixels a side after both convolutions and poolings
        self.conv1 = nn.Conv2d(channels, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.fc1 = nn.Linear(16 * left * left, 120)
        self.fc2 = nn.Linear(120, 84)
        self.fc3 = nn.Linear(84, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(conv_max_pool2d(self.conv1, images))  # [B, 6, 14, 14] of 32 x 32
        x = F.relu(conv_max_pool2d(self.conv2, x))  # [B, 16, 5, 5]
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc3(F.relu(self.fc2(x)))  # [B, C]


class MnistNet(nn.Module):
    """A small network for 28 x 28 grey images, with dropout before its last layer."""

    def __init__(self, num_classes: int = 10, channels: int = 1, side: int = 28) -> None:
        super().__init__()
        left = ((side - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(channels, 10, 5)
        self.conv2 = nn.Conv2d(10, 20, 5)
        self.fc1 = nn.Linear(20 * left * left, 50)
        self.fc2 = nn.Linear(50, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(conv_max_pool2d(self.conv1, images))  # [B, 10, 12, 12] of 28 x 28
        x = F.relu(conv_max_pool2d(self.conv2, x))  # [B, 20, 4, 4]
        x = F.relu(self.fc1(x.flatten(1)))
        return self.fc2(F.dropout(x, 0.5, self.training))  # [B, C]


class Cnn(nn.Module):
    """The network of McMahan et al., AISTATS 2017: 1,663,370 parameters for 28 x 28 grey images."""

    def __init__(self, num_classes: int = 10, channels: int = 3, side: int = 32) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 32, 5, padding=2)
        self.conv2 = nn.Conv2d(32, 64, 5, padding=2)
        self.fc1 = nn.Linear(64 * (side // 4) ** 2, 512)
        self.fc2 = nn.Linear(512, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.conv1(images), 2))  # [B, 32, 16, 16] of 32 x 32
        x = F.relu(F.max_pool2d(self.conv2(x), 2))  # [B, 64, 8, 8]
        return self.fc2(F.relu(self.fc1(x.flatten(1))))  # [B, C]


def conv_max_pool2d(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """``F.max_pool2d(conv(x), 2)``, faster in a test; x [B, C, H, W], ``conv`` without padding.

    Without gradients, two shifted copies of the kernel give two rows of pixels as channels of one:
    with twice the channels the processor's wide instructions are fuller, and columns are pooled
    before rows as they lie in memory. For `Net` on CIFAR-10 that makes 23 us per image of 42."""
    if torch.is_grad_enabled():
        return F.max_pool2d(conv(x), 2)
    assert conv.bias is not None
    copies = torch.cat([F.pad(conv.weight, (0, 0, down, 1 - down)) for down in (0, 1)])
    kernels = copies.contiguous(memory_format=torch.channels_last)  # [2 O, C, K + 1, K]
    pixels = F.conv2d(x, kernels, conv.bias.repeat(2), stride=(2, 1))  # [B, 2 O, H / 2, W]
    upper, lower = torch.maximum(pixels[..., :-1:2], pixels[..., 1::2]).chunk(2, dim=1)
    return torch.maximum(upper, lower)


def build_model(config: Config, dataset: Dataset, ranks: Ranks | None = None) -> nn.Module:
    """The start model, the same on every rank; with syncBN ``ranks`` share its batch statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(config.seed, Purpose.MODEL))
        model = new_model(config, dataset.num_classes, *dataset.image_shape, ranks)
    if config.weights is not None:
        load_weights(model, config)
    if config.freeze_layers:  # only the last layer learns; batch norms keep their statistics
        model.requires_grad_(False)
        last_linear(model).requires_grad_(True)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
    # channels_last: convolutions on the CPU are faster with a pixel's channels side by side
    return model.to(memory_format=torch.channels_last)


def new_model(
    config: Config, num_classes: int, channels: int, side: int, ranks: Ranks | None = None
) -> nn.Module:
    """The config's model with fresh weights, for images [channels, side, side]."""
    if own := OWN_MODELS.get(config.model_name):
        return own(num_classes, channels, side)
    import torchvision.models  # the other models have no use for its start-up

    norm: Any = NORMS[config.norm]
    if config.syncBN and config.norm == "batch" and ranks is not None:
        norm = partial(SharedBatchNorm2d, ranks=ranks)
    model: Any = getattr(torchvision.models, config.model_name)(norm_layer=norm)
    stem = config.stem or ("cifar" if side < SMALL_SIDE else "imagenet")
    if stem == "cifar":
        model.maxpool = nn.Identity()
    if stem == "cifar" or channels != 3:  # another first layer, drawn as torchvision draws it
        size, stride = (3, 1) if stem == "cifar" else (7, 2)
        model.conv1 = nn.Conv2d(channels, 64, size, stride, padding=size // 2, bias=False)
        nn.init.kaiming_normal_(model.conv1.weight, mode="fan_out", nonlinearity="relu")
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


OWN_MODELS: dict[str, type[Net | MnistNet | Cnn]] = {"net": Net, "mnist_net": MnistNet, "cnn": Cnn}
# groups: Wu and He, ECCV 2018; Hsieh et al., ICML 2020, for federated learning
NORMS = {"batch": nn.BatchNorm2d, "group": partial(nn.GroupNorm, 32)}


def last_linear(model: nn.Module) -> nn.Linear:
    """The last layer that has parameters. Raises ValueError where it is not fully connected."""
    layers = [m for m in model.modules() if any(True for _ in m.parameters(recurse=False))]
    if not layers or not isinstance(layers[-1], nn.Linear):
        found = type(layers[-1]).__name__ if layers else "no layer with parameters"
        raise ValueError(f"class means need a fully connected last layer, the model has {found}")
    return layers[-1]


def is_frozen(model: nn.Module) -> bool:
    return not all(parameter.requires_grad for parameter in model.parameters())


def num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


class SumOverRanks(torch.autograd.Function):
    """Values [K] summed over all ranks, in rank order. All ranks call it, forward and backward."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.sum_in_order(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # every rank's loss depends on every rank's values
        return ctx.ranks.sum_in_order(gradient), None


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the joint batch of all ranks; in evaluation mode the usual one."""

    def __init__(self, num_features: int, ranks: Ranks) -> None:
        super().__init__(num_features)
        self.ranks = ranks

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        own = torch.full((1,), input.numel() / self.num_features)
        sums = SumOverRanks.apply(torch.cat([input.sum(dim=(0, 2, 3)), own]), self.ranks)
        count = sums[-1].detach()  # values per channel, of all ranks
        mean = sums[:-1] / count  # [C]
        squares = (input - mean[:, None, None]).square().sum(dim=(0, 2, 3))
        variance = SumOverRanks.apply(squares, self.ranks) / count  # biased
        with torch.no_grad():
            unbiased = variance * count / (count - 1).clamp(min=1)
            statistics: Any = (self.running_mean, mean), (self.running_var, unbiased)
            for running, new in statistics:
                running.lerp_(new.to(running.dtype), self.momentum)
        scale = torch.rsqrt(variance + self.eps)
        normalized = (input - mean[:, None, None]) * scale[:, None, None]
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]
