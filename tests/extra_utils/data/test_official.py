"""The four idx files of the two mnists, as people have them."""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extra_utils.my_dataset import open_dataset
from tests.helpers import read_rows, run_main, run_tiny, write_config


def write_idx(folder: Path, name: str, array: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    """An idx file as MNIST has them, gzipped where the name says so."""
    content = bytes([0, 0, 8, array.ndim])
    content += b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()
    (folder / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "model_name", "packed"),
    [("mnist", "net", True), ("fashion_mnist", "mnist_net", False)],
)
def test_idx_files_in_the_data_folder_are_read(
    kind: str, model_name: str, packed: bool, tmp_path: Path
) -> None:
    data_path = tmp_path / "data"
    data_path.mkdir()
    generator = np.random.default_rng(0)
    for name, size in (("train", 60), ("t10k", 20)):
        images = generator.integers(256, size=(size, 28, 28), dtype=np.uint8)
        labels = np.arange(size, dtype=np.uint8) % 10
        end = ".gz" if packed else ""
        write_idx(data_path, f"{name}-images-idx3-ubyte{end}", images)
        write_idx(data_path, f"{name}-labels-idx1-ubyte{end}", labels)
    keys = {"type": kind, "model_name": model_name, "num_train": 60, "num_test": 20}
    run_dir = run_tiny(tmp_path, data_path, **keys, eval_points=0)
    (run,) = read_rows(run_dir, "run")
    assert run["dataset"] == {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}[kind]
    assert not run["synthetic"]
    assert (run["num_train"], run["num_test"]) == (60, 20)
    dataset = open_dataset(next((data_path / ".fl-cache").iterdir()))
    assert dataset.train.images.shape == (60, 28, 28, 1)
    assert np.array_equal(dataset.test.images[..., 0], images)


def cut_off(content: bytes) -> bytes:
    return content[: len(content) * 2 // 3]


def change(content: bytes) -> bytes:
    packed = gzip.compress(content)
    return packed[:15] + b"!!" + packed[17:]


DAMAGED = {
    "cut off": ("train-images-idx3-ubyte", cut_off),
    "packed and cut off": ("train-images-idx3-ubyte.gz", lambda c: cut_off(gzip.compress(c))),
    "packed and changed": ("t10k-labels-idx1-ubyte.gz", change),
    "not packed at all": ("t10k-labels-idx1-ubyte.gz", lambda c: c),
    "text": ("train-labels-idx1-ubyte", lambda _: b"<html>not found</html>"),
    "empty": ("train-labels-idx1-ubyte", lambda _: b""),
    "a label too many": ("t10k-labels-idx1-ubyte", lambda c: c[:-1] + b"\x0a"),
    "a byte too many": ("train-images-idx3-ubyte.gz", lambda c: gzip.compress(c + b"\0")),
    "of another kind": ("train-images-idx3-ubyte", lambda c: b"\0\0\x0d" + c[3:]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "damage"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_idx_file_is_named(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    generator = np.random.default_rng(0)
    for split in ("train", "t10k"):
        images = generator.integers(256, size=(20, 28, 28), dtype=np.uint8)
        write_idx(tmp_path, f"{split}-images-idx3-ubyte", images)
        write_idx(tmp_path, f"{split}-labels-idx1-ubyte", np.arange(20, dtype=np.uint8) % 10)
    plain = tmp_path / name.removesuffix(".gz")
    content = plain.read_bytes()
    plain.unlink()
    (tmp_path / name).write_bytes(damage(content))
    config = write_config(tmp_path, type="mnist", data_path=str(tmp_path), download=False)
    done = run_main(f"--config={config}", f"--output_dir={tmp_path / 'runs'}")
    assert done.returncode == 2
    message = f"MNIST was not to be had: {tmp_path / name} is damaged: "
    assert re.fullmatch(rf"error: data_path: got [^\n]+{message}[^\n]+\n", done.stderr), done.stderr
    assert list((tmp_path / ".fl-cache").iterdir()) == []
