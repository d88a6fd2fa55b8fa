"""Weights to start from: a .pth file of the user's, or torchvision's for ImageNet."""

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import Config
from extra_utils.processes.child import Unavailable, in_child

IMAGENET = "imagenet"
AROUND = ("model", "state_dict", "model_state_dict")  # in a file that holds more than weights


def prepare_weights(config: Config, model: nn.Module) -> list[str]:
    """Fetches weights if need be; notes on what does not fit, ConfigError if they are no use."""
    if config.weights is None:
        return []
    if config.weights == IMAGENET:
        _fetch_imagenet(*imagenet_file(config), config.download)
    state = _read_state(config)
    own, left_out = model.state_dict(), []
    for name, value in state.items():
        if name not in own:
            left_out.append(f"{name}: the model has no such value")
        elif (shape := list(value.shape)) != (needed := list(own[name].shape)):
            left_out.append(f"{name}: has shape {shape}, the model {needed}")
    if len(left_out) == len(state):
        which = f"of which nothing fits {config.model_name}"
        raise ConfigError(f"weights: got {config.weights}, {which}")
    left_out += [f"{name}: is not in the file" for name in own if name not in state]
    title = "of the weights these do not fit and are left out:"
    return [title, *(f"  {line}" for line in left_out)] if left_out else []


def load_weights(model: nn.Module, config: Config) -> None:
    """Copies what fits into the model; the rest keeps its fresh values."""
    own, state = model.state_dict(), _read_state(config)
    fits = {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}
    model.load_state_dict(fits, strict=False)


def imagenet_file(config: Config) -> tuple[str, Path]:
    """The file's URL, and where torchvision keeps it."""
    import torchvision.models

    url = str(torchvision.models.get_model_weights(config.model_name)["DEFAULT"].url)
    return url, Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


def _fetch_imagenet(url: str, path: Path, download: bool) -> None:
    """torchvision's file where it is missing, through a child that can be ended when it hangs."""
    if path.is_file():
        return
    reason = "download is false"
    if download:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f'Downloading: "{url}" to {path}')
        # torch writes to a temporary name, looks at the checksum in the file's name, and renames
        fetch, checksum = torch.hub.download_url_to_file, path.stem.rsplit("-", 1)[1]
        try:
            in_child(fetch, url, str(path), checksum, False, growing=path.parent)
            return
        except Unavailable as error:
            reason = f"downloading it failed: {error}"
    got = f'got "{IMAGENET}", whose file {path} is not there'
    raise ConfigError(f"weights: {got}, and {reason}; fetch {url} and put it there")


def _read_state(config: Config) -> dict[str, Tensor]:
    """The state dict in the file, or in what is around it there, or of DataParallel's model."""
    assert config.weights is not None
    path = imagenet_file(config)[1] if config.weights == IMAGENET else Path(config.weights)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"weights: got {path}: cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "cut off"
        raise ConfigError(f"weights: got {path}, which holds no weights: {reason}") from None
    outer = content if isinstance(content, dict) else {}
    state = next((outer[key] for key in AROUND if isinstance(outer.get(key), dict)), content)
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"weights: got {path}, must hold a state dict of tensors by name")
    return {name.removeprefix("module."): value for name, value in state.items()}
