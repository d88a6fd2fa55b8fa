"""Weights to start from."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import Config
from extra_utils.model import Net, new_model
from extra_utils.training.start_weights import imagenet_file, load_weights, prepare_weights
from tests.helpers import make_config


def config_of(path: Path | str, model_name: str = "net") -> Config:
    return make_config(type="synthetic", model_name=model_name, weights=str(path))


def test_what_fits_is_loaded_and_the_rest_is_listed(tmp_path: Path) -> None:
    saved, model = Net(), Net(num_classes=7)
    state = {**saved.state_dict(), "strange": torch.zeros(1)}
    del state["conv2.bias"]
    torch.save(state, tmp_path / "w.pth")
    config = config_of(tmp_path / "w.pth")
    before = model.fc3.weight.clone()
    title, *left_out = (line.strip() for line in prepare_weights(config, model))
    assert title == "of the weights these do not fit and are left out:"
    assert left_out == [
        "fc3.weight: has shape [10, 84], the model [7, 84]",
        "fc3.bias: has shape [10], the model [7]",
        "strange: the model has no such value",
        "conv2.bias: is not in the file",
    ]
    load_weights(model, config)
    assert torch.equal(model.conv1.weight, saved.conv1.weight)
    assert torch.equal(model.fc3.weight, before)


def test_a_checkpoints_model_can_be_started_from(tmp_path: Path) -> None:
    saved, model = Net(), Net()
    torch.save({"format": 1, "model": saved.state_dict()}, tmp_path / "c.pth")
    assert prepare_weights(config_of(tmp_path / "c.pth"), model) == []


@pytest.mark.parametrize("around", ["", "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_what_others_put_around_the_weights_is_taken_off(
    around: str, prefix: str, tmp_path: Path
) -> None:
    saved, model = Net(), Net()
    state = {prefix + name: value for name, value in saved.state_dict().items()}
    torch.save({around: state, "epoch": 3} if around else state, tmp_path / "w.pth")
    config = config_of(tmp_path / "w.pth")
    assert prepare_weights(config, model) == []
    load_weights(model, config)
    assert torch.equal(model.fc3.weight, saved.fc3.weight)


class Payload:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {MARKER}",)


MARKER = "/tmp/payload-was-run"


def test_a_pickle_with_a_payload_does_not_run(tmp_path: Path) -> None:
    Path(MARKER).unlink(missing_ok=True)
    torch.save({"fc3.bias": Payload()}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds no weights"):
        prepare_weights(config_of(tmp_path / "w.pth"), Net())
    assert not Path(MARKER).exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read: No such file"),
        (b"", "holds no weights"),
        (b"PK\x03\x04 cut off", "holds no weights"),
        (pickle.dumps([1, 2], protocol=2), "holds no weights"),
    ],
)
def test_a_file_without_weights_is_refused(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "w.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        prepare_weights(config_of(path), Net())
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(2)}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="of which nothing fits net"):
        prepare_weights(config_of(tmp_path / "w.pth"), Net())
    torch.save({"fc3.bias": [1.0]}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="must hold a state dict of tensors"):
        prepare_weights(config_of(tmp_path / "w.pth"), Net())


def test_missing_imagenet_weights_say_what_to_fetch_and_where_to_put_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    config = config_of("imagenet", "resnet34")
    with pytest.raises(ConfigError) as caught:
        prepare_weights(config, new_model(config, 10, 3, 64))
    message = str(caught.value)
    assert f"{tmp_path}/hub/checkpoints/resnet34-" in message
    assert "fetch https://download.pytorch.org/models/resnet34-" in message
    assert "Connection refused" in message
    assert "\n" not in message
    assert list((tmp_path / "hub" / "checkpoints").iterdir()) == []


def test_imagenet_weights_at_hand_are_loaded_but_for_the_last_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    config = config_of("imagenet", "resnet18")
    theirs = new_model(config, 1000, 3, 224)
    _, path = imagenet_file(config)
    path.parent.mkdir(parents=True)
    torch.save(theirs.state_dict(), path)
    model = new_model(config, 5, 3, 64)
    lines = prepare_weights(config, model)[1:]
    assert [line.strip().split(":")[0] for line in lines] == ["fc.weight", "fc.bias"]
    load_weights(model, config)
    assert torch.equal(model.state_dict()["conv1.weight"], theirs.state_dict()["conv1.weight"])
