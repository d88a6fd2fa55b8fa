"""Weights to start from: a .pth file of the user's, or torchvision's for ImageNet."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import Config
from extra_utils.processes.child import Unavailable, in_child

IMAGENET = "imagenet"


def prepare_weights(config: Config, model: nn.Module) -> list[str]:
    """Fetches the weights if need be, and checks them against a model; a note on what does not fit.

    Raises ConfigError where they are not to be had, are no weights, or nothing of them fits.
    """
    if config.weights is None:
        return []
    if config.weights == IMAGENET and not imagenet_file(config).is_file():
        _fetch_imagenet(config)
    state = _read_state(config)
    fitting = fitting_values(state, model)
    left_out = [_explain(name, state, model) for name in state if name not in fitting]
    if not fitting:
        raise ConfigError(
            f"weights: got {config.weights}, of which nothing fits {config.model_name}"
        )
    missing = [name for name in model.state_dict() if name not in state]
    left_out += [f"{name}: is not in the file" for name in missing]
    title = "of the weights these do not fit and are left out:"
    return ["\n  ".join([title, *left_out])] if left_out else []


def load_weights(model: nn.Module, config: Config) -> None:
    """Copies what fits into the model; the rest keeps its fresh values."""
    model.load_state_dict(fitting_values(_read_state(config), model), strict=False)


def fitting_values(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The values of the model's names and shapes."""
    own = model.state_dict()
    return {k: v for k, v in state.items() if k in own and v.shape == own[k].shape}


def imagenet_file(config: Config) -> Path:
    """Where torchvision keeps the file."""
    return Path(torch.hub.get_dir()) / "checkpoints" / _imagenet_url(config).rsplit("/", 1)[1]


def _imagenet_url(config: Config) -> str:
    import torchvision.models

    return str(torchvision.models.get_model_weights(config.model_name)["DEFAULT"].url)


def _fetch_imagenet(config: Config) -> None:
    """torchvision's file, through a child that can be ended when the network hangs."""
    url, path = _imagenet_url(config), imagenet_file(config)
    reason = "download is false"
    if config.download:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            in_child(_download, url, path, growing=path.parent)
            return
        except Unavailable as error:
            reason = f"downloading it failed: {error}"
    raise ConfigError(
        f'weights: got "{IMAGENET}", whose file {path} is not there, and {reason}; '
        f"fetch {url} and put it there"
    )


def _download(url: str, path: Path) -> None:
    """torch writes to a temporary name, looks at the checksum in the file's name, and renames."""
    torch.hub.load_state_dict_from_url(
        url, str(path.parent), check_hash=True, weights_only=True, progress=False
    )


def _read_state(config: Config) -> dict[str, Tensor]:
    """The state dict in the file: model.pth's own, or the one in a checkpoint.pth."""
    assert config.weights is not None
    path = imagenet_file(config) if config.weights == IMAGENET else Path(config.weights)
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ConfigError(f"weights: got {path}: cannot be read: {error.strerror}") from None
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, LookupError) as error:
        reason = str(error).strip().splitlines()[0][:120] if str(error).strip() else "cut off"
        raise ConfigError(f"weights: got {path}, which holds no weights: {reason}") from None
    state = content.get("model", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ConfigError(f"weights: got {path}, must hold a state dict of tensors by name")
    return state


def _explain(name: str, state: dict[str, Tensor], model: nn.Module) -> str:
    own = model.state_dict().get(name)
    if own is None:
        return f"{name}: the model has no such value"
    return f"{name}: has shape {list(state[name].shape)}, the model {list(own.shape)}"
