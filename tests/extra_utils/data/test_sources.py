"""Where CIFAR-10 is looked for, and what happens where it is not."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from extra_utils.basics.errors import ConfigError, RunFailed
from extra_utils.data import image_folders
from extra_utils.data.official import OFFICIAL
from extra_utils.data.sources import prepare_data
from extra_utils.my_dataset import open_dataset
from extra_utils.processes.child import Unavailable
from tests.helpers import ROOT, make_config, make_dataset

CONFIG = make_config(type="cifar", download=False)


def write_folders(root: Path, class_names: tuple[str, ...] = ("b", "a")) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for class_name in class_names:
            folder = root / "cifar10" / split / class_name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = generator.integers(256, size=(32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")


def test_image_folders_come_first_in_alphabetical_order(tmp_path: Path) -> None:
    write_folders(tmp_path)
    config = replace(CONFIG, data_path=str(tmp_path))
    dataset = open_dataset(prepare_data(config)[0])
    assert dataset.info.name == "CIFAR-10"
    assert dataset.info.class_names == ["a", "b"]
    assert not dataset.info.synthetic
    assert dataset.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    path = tmp_path / "cifar10" / "train" / "b" / "1.png"
    assert np.array_equal(dataset.train.images[4], np.asarray(Image.open(path)))


def test_a_changed_image_is_read_again(tmp_path: Path) -> None:
    write_folders(tmp_path)
    config = replace(CONFIG, data_path=str(tmp_path))
    before = prepare_data(config)[0]
    assert prepare_data(config)[0] == before
    Image.new("RGB", (32, 32)).save(tmp_path / "cifar10" / "test" / "a" / "0.png")
    after = prepare_data(config)[0]
    assert after != before
    assert open_dataset(after).test.images[0].max() == 0


@pytest.mark.parametrize("side", [32, 600])  # of a few kilobytes, and of a megabyte
def test_changed_pixels_are_seen_though_name_size_and_time_are_the_same(
    side: int, tmp_path: Path
) -> None:
    write_folders(tmp_path)
    path = tmp_path / "cifar10" / "test" / "a" / "0.bmp"
    path.with_suffix(".png").unlink()
    config = replace(CONFIG, data_path=str(tmp_path))
    seen = []
    for color in ("black", "white"):
        Image.new("RGB", (side, side), color).save(path)
        os.utime(path, (1, 1))
        folder, _ = prepare_data(config)
        seen.append(int(open_dataset(folder).test.images[0].max()))
    assert seen == [0, 255]


def test_a_file_that_is_no_image_is_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_folders(tmp_path)
    (tmp_path / "cifar10" / "train" / "a" / "note.txt").write_text("no image")
    dataset = open_dataset(prepare_data(replace(CONFIG, data_path=str(tmp_path)))[0])
    assert len(dataset.train) == 6
    out = capsys.readouterr().out
    assert "1 files are no usable images" in out
    assert "note.txt: UnidentifiedImageError" in out


@pytest.mark.parametrize("names", ["a b c", "a c"], ids=["one more", "another name"])
def test_folders_with_different_classes_are_refused(names: str, tmp_path: Path) -> None:
    write_folders(tmp_path)
    shutil.rmtree(tmp_path / "cifar10" / "test")
    for name in names.split():
        (tmp_path / "cifar10" / "test" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match="which does not hold the same classes as"):
        prepare_data(replace(CONFIG, data_path=str(tmp_path)))


def test_missing_data_is_an_error_that_says_what_to_put_where(tmp_path: Path) -> None:
    config = replace(CONFIG, data_path=str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        prepare_data(config)
    message = str(caught.value)
    assert f"{tmp_path}/cifar10/train/<class>/" in message
    assert "download is false" in message
    assert "\n" not in message
    assert list((tmp_path / ".fl-cache").iterdir()) == []


PARTS = {"train": "train", "Val": "Val", "train/cat": "train", ".": "no folder", "cat": "cat"}


@pytest.mark.parametrize("instead", [None, "synthetic"])
@pytest.mark.parametrize(("name", "found"), PARTS.items(), ids=PARTS)
def test_a_folder_of_images_that_lacks_a_part_is_refused(
    name: str, found: str, instead: Literal["synthetic"] | None, tmp_path: Path
) -> None:
    """It is not passed over: no other images are to stand for it."""
    (tmp_path / "cifar10" / name).mkdir(parents=True)
    config = replace(CONFIG, data_path=str(tmp_path), offline_data=instead)
    message = f"got {tmp_path}/cifar10 with {found}; must be train/ beside one of test/, testing/"
    with pytest.raises(ConfigError, match=re.escape(message)):
        prepare_data(config)


def test_missing_data_can_be_replaced_by_synthetic_images_with_a_banner(tmp_path: Path) -> None:
    data, notice = prepare_data(replace(CONFIG, data_path=str(tmp_path), offline_data="synthetic"))
    assert "SYNTHETIC DATA: CIFAR-10 was not to be had" in notice
    folder = f"{tmp_path}/cifar-10-batches-py"
    assert f"\nWhy: {folder} is not there, and download is false\n" in notice
    assert "say nothing about CIFAR-10. " in notice
    assert f"{tmp_path}/cifar10/train/<class>/" in notice
    assert open_dataset(data).info.synthetic


def test_a_data_path_that_cannot_be_made_goes_on_with_synthetic_images(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = str(tmp_path / "file" / "data")
    data, notice = prepare_data(
        replace(CONFIG, download=True, data_path=path, offline_data="synthetic")
    )
    assert "SYNTHETIC DATA" in notice
    assert open_dataset(data).info.synthetic


def test_a_cache_that_cannot_be_made_is_temporary_and_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").touch()
    config = make_config(type="synthetic", data_path=str(tmp_path / "data"))
    data, _ = prepare_data(config)
    assert "fl-cache-" in str(data)
    assert f"the cache is in {data.parent}, for this run only" in capsys.readouterr().err


FAILED_DOWNLOAD = """
import sys, time
from pathlib import Path
from typing import Literal
from extra_utils.data.official import OFFICIAL, Unavailable, load_official
start = time.monotonic()
try:
    load_official(OFFICIAL["cifar"], Path(sys.argv[1]), download=True)
except Unavailable as reason:
    print(time.monotonic() - start < 30, reason)
"""


def test_a_failed_download_fails_in_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    blocked = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    command = [sys.executable, "-c", FAILED_DOWNLOAD, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, env=blocked, timeout=60
    )
    assert done.stdout.startswith(f"True {tmp_path}/cifar-10-batches-py is not there"), done.stderr
    assert "downloading it failed: [Errno 111] Connection refused" in done.stdout
    assert list(tmp_path.iterdir()) == []


SILENT_SERVER = """
import sys, time
from pathlib import Path
from typing import Literal
from extra_utils.data import official as official_data
from extra_utils.processes import child
child.PATIENCE_S = 0.5
official_data._read_torchvision = lambda *_: time.sleep(3600)
try:
    official_data.load_official(official_data.OFFICIAL["cifar"], Path(sys.argv[1]), download=True)
except official_data.Unavailable as reason:
    print(reason)
"""


def test_a_download_that_brings_nothing_is_ended(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SILENT_SERVER, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "downloading it failed: nothing came for 0 seconds" in done.stdout
    assert list(tmp_path.iterdir()) == []


def write_official(root: Path) -> dict[str, str]:
    """Files laid out as torchvision's, five images in each; their checksums by name."""
    folder = root / OFFICIAL["cifar"].folder
    folder.mkdir(parents=True)
    dataset = make_dataset(num_train=25, num_test=5)
    images = np.concatenate([dataset.train.images, dataset.test.images])
    labels = np.concatenate([dataset.train.labels, dataset.test.labels])
    sums = {}
    names = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    for place, name in enumerate(names):
        part = slice(5 * place, 5 * place + 5)
        data = images[part].transpose(0, 3, 1, 2).reshape(5, -1)
        content = pickle.dumps({"data": data, "labels": labels[part].tolist()})
        (folder / name).write_bytes(content)
        sums[name] = hashlib.md5(content).hexdigest()
    content = pickle.dumps({"label_names": OFFICIAL["cifar"].class_names})
    (folder / "batches.meta").write_bytes(content)
    sums["batches.meta"] = hashlib.md5(content).hexdigest()
    return sums


READ_OFFICIAL = """
import json, sys
from pathlib import Path
from typing import Literal
from torchvision.datasets import CIFAR10
sums = json.loads(sys.argv[2])
CIFAR10.train_list = [[name, sums[name]] for name in sums if name.startswith("data")]
CIFAR10.test_list = [["test_batch", sums["test_batch"]]]
CIFAR10.meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}
CIFAR10.tgz_md5 = sums.get("archive")
from extra_utils.data.official import OFFICIAL, Unavailable, load_official
try:
    dataset = load_official(OFFICIAL["cifar"], Path(sys.argv[1]), download=False)
    print(dataset.info.name, dataset.train.images.sum(), dataset.test.labels.tolist())
except Unavailable as reason:
    print(reason)
"""


@pytest.mark.slow
def test_official_files_are_read_and_their_checksums_are_looked_at(tmp_path: Path) -> None:
    sums = write_official(tmp_path)
    command = [sys.executable, "-c", READ_OFFICIAL, str(tmp_path), json.dumps(sums)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    total = make_dataset(num_train=25, num_test=5).train.images.sum()
    assert done.stdout == f"CIFAR-10 {total} [0, 1, 2, 3, 4]\n", done.stderr
    (tmp_path / OFFICIAL["cifar"].folder / "data_batch_3").write_bytes(b"broken")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "cifar-10-batches-py does not pass its checksums" in done.stdout


@pytest.mark.slow
def test_an_archive_at_hand_is_unpacked_without_a_network_unless_it_is_cut_off(
    tmp_path: Path,
) -> None:
    sums = write_official(tmp_path)
    archive = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(tmp_path / "cifar-10-batches-py", "cifar-10-batches-py")
    shutil.rmtree(tmp_path / "cifar-10-batches-py")
    sums["archive"] = hashlib.md5(archive.read_bytes()).hexdigest()
    command = [sys.executable, "-c", READ_OFFICIAL, str(tmp_path), json.dumps(sums)]
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    reason = f"{archive} does not pass its checksum, and download is false\n"
    assert done.stdout == reason, done.stderr
    assert list(tmp_path.iterdir()) == [archive]
    archive.write_bytes(whole)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith("CIFAR-10 "), done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {archive.name, "cifar-10-batches-py"}


def test_a_folder_that_cannot_be_looked_at_is_no_folder_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run ends and names it; synthetic images do not take its place."""

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(image_folders, "scan_parts", refuse)
    for part in ("train", "test"):
        (tmp_path / "cifar10" / part / "cat").mkdir(parents=True)
    config = make_config(type="cifar", data_path=str(tmp_path), offline_data="synthetic")
    with pytest.raises(RunFailed, match=r"cifar10: .*Permission denied: '.*cifar10'$") as caught:
        prepare_data(config)
    assert not isinstance(caught.value, Unavailable)
