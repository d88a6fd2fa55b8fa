"""The models."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from extra_utils.aggregation.flat_model import FlatModel
from extra_utils.model import (
    MnistNet,
    Net,
    build_model,
    is_frozen,
    last_linear,
    new_model,
    num_parameters,
)
from tests.helpers import make_config, make_dataset

CONFIG = make_config(type="synthetic", model_name="net")
RESNET = replace(CONFIG, model_name="resnet18")


def test_net_is_the_articles() -> None:
    model = Net()
    assert num_parameters(model) == 62_006
    assert last_linear(model) is model.fc3
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_net_pools_after_the_relu_as_the_tutorial_does() -> None:
    """By its numbers: it pools before, which gives the same."""
    torch.manual_seed(0)
    model, x = Net(), torch.randn(4, 3, 32, 32)
    images = x
    for conv in (model.conv1, model.conv2):
        x = F.max_pool2d(F.relu(conv(x)), 2)
    x = F.relu(model.fc2(F.relu(model.fc1(x.flatten(1)))))
    assert torch.equal(model(images), model.fc3(x))


def test_mnist_net_drops_half_of_what_goes_into_its_last_layer_while_it_trains() -> None:
    torch.manual_seed(0)
    model, seen = MnistNet(), []
    model.fc2.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = torch.randn(200, 1, 28, 28)
    for is_training in (False, True):
        model.train(is_training)(images)
    whole, dropped = seen
    is_left = dropped != 0
    assert 0.4 < is_left.float().sum() / (whole != 0).float().sum() < 0.6
    assert torch.allclose(dropped[is_left], 2 * whole[is_left], atol=1e-5)


def test_a_models_weights_are_the_seeds_and_leave_the_global_stream_alone() -> None:
    state = torch.get_rng_state()
    dataset = make_dataset()
    first, again, other = (build_model(replace(CONFIG, seed=s), dataset) for s in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    pairs = zip(first.parameters(), again.parameters(), other.parameters(), strict=True)
    for one, same, different in pairs:
        assert torch.equal(one, same)
        assert not torch.equal(one, different)


@pytest.mark.parametrize("name", ["net", "mnist_net", "cnn", "resnet18", "resnet34", "resnet101"])
@pytest.mark.parametrize(("channels", "side"), [(1, 28), (3, 32), (3, 64)])
def test_every_model_takes_every_kind_of_image(name: str, channels: int, side: int) -> None:
    model = new_model(replace(CONFIG, model_name=name), 7, channels, side).eval()  # type: ignore[arg-type]
    with torch.inference_mode():
        assert model(torch.zeros(1, channels, side, side)).shape == (1, 7)
    assert last_linear(model).out_features == 7


def test_cnn_is_mcmahans() -> None:
    """Its size on MNIST stands in the paper; on CIFAR-10 3 x 32 x 32 images, worked out here."""
    assert num_parameters(new_model(replace(CONFIG, model_name="cnn"), 10, 1, 28)) == 1_663_370
    convolutions = (25 * 3 + 1) * 32 + (25 * 32 + 1) * 64
    layers = (64 * 8 * 8 + 1) * 512 + (512 + 1) * 10
    model = new_model(replace(CONFIG, model_name="cnn"), 10, 3, 32)
    assert num_parameters(model) == convolutions + layers
    assert [m.kernel_size for m in model.modules() if isinstance(m, nn.Conv2d)] == [(5, 5)] * 2


def test_group_norm_looks_at_each_image_by_itself() -> None:
    images = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    alike = {}
    for norm in ("batch", "group"):
        model = build_model(replace(RESNET, norm=norm), make_dataset()).train()
        alone = torch.cat([model(images[i : i + 1]) for i in range(3)])
        alike[norm] = torch.allclose(model(images), alone, atol=1e-4)
        groups = [m.num_groups for m in model.modules() if isinstance(m, nn.GroupNorm)]
        assert groups == ([32] * 20 if norm == "group" else [])
    assert alike == {"batch": False, "group": True}
    values = FlatModel(model)
    assert values.num_statistics == len(values.counters) == 0


@pytest.mark.parametrize(
    ("side", "stem", "stride"),
    [(32, None, 1), (64, None, 2), (64, "cifar", 1), (32, "imagenet", 2)],
)
def test_small_images_get_the_cifar_stem_unless_told_otherwise(
    side: int, stem: str | None, stride: int
) -> None:
    model = new_model(replace(RESNET, stem=stem), 10, 3, side)  # type: ignore[arg-type]
    assert isinstance(model.conv1, nn.Conv2d)
    assert model.conv1.stride == (stride, stride)
    assert isinstance(model.maxpool, nn.Identity if stride == 1 else nn.MaxPool2d)


def test_with_the_imagenet_stem_a_resnet_is_torchvisions_own() -> None:
    import torchvision

    torch.manual_seed(0)
    ours = new_model(RESNET, 10, 3, 224)
    theirs = torchvision.models.resnet18(num_classes=10)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }


def test_the_last_layer_is_found_by_what_it_is() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Linear(4, 3), nn.Softmax(dim=1))
    assert last_linear(model) is model[2]
    with pytest.raises(ValueError, match="the model has Conv2d"):
        last_linear(nn.Sequential(nn.Linear(2, 2), nn.Conv2d(1, 1, 1)))
    with pytest.raises(ValueError, match="no layer with parameters"):
        last_linear(nn.Sequential(nn.ReLU()))


def test_a_frozen_model_learns_in_its_last_layer_only() -> None:
    model = build_model(replace(RESNET, freeze_layers=True), make_dataset())
    assert is_frozen(model)
    assert len(FlatModel(model)) == 512 * 10 + 10
    assert len(FlatModel(model).counters) == 0
    before = copy.deepcopy(model.state_dict())
    model(torch.randn(4, 3, 32, 32)).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        "fc.weight", "fc.bias",
    ]  # fmt: skip
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name
