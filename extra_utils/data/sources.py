"""Finds the data set of a config, and brings it into the cache."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from extra_utils.basics.errors import ConfigError, RunFailed, printable, say
from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.keys import Config
from extra_utils.data import image_folders
from extra_utils.data.cache import Source, find_or_build, make_cache_root
from extra_utils.data.official import OFFICIAL, Official, find_idx_files, load_official
from extra_utils.data.synthetic import CLASS_NAMES, make_synthetic
from extra_utils.my_dataset import Dataset, DatasetInfo, Split, describe_pixels
from extra_utils.processes.child import Unavailable, in_child
from extra_utils.utils import split_by_class

CIFAR_SIDE, PHOTO_SIDE = 32, 64
MOST_NAMED = 10  # of what is left aside; the others are counted
Task = Callable[[], object]
VALIDATION_RATE = 0.2  # the article's, where there are no folders train/ and test/
FLOWERS = "https://download.tensorflow.org/example_images/flower_photos.tgz"
BANNER = """\
{line}
SYNTHETIC DATA: {wanted} was not to be had, so this run goes on with built-in images.
Why: {reason}
Its figures say nothing about {wanted}. {cure}
{line}"""


def known_classes(config: Config) -> list[str]:
    """The class names, before any image is read. Raises ConfigError where there are none."""
    if config.type == "synthetic":
        return CLASS_NAMES
    if folder := _folder_of_images(config):
        first, *_ = image_folders.find_parts(folder) or [folder]
        return list(map(printable, image_folders.scan_class_names(first)))
    return official_of(config).class_names


def official_of(config: Config) -> Official:
    """What torchvision has under the config's type."""
    is_coarse = config.type == "cifar100" and config.coarse_labels
    return OFFICIAL["cifar100 coarse" if is_coarse else config.type]


def prepare_data(config: Config, meanwhile: Task = lambda: None) -> tuple[Path, str]:
    """Finds, reads and caches the data set once, for all ranks.

    ``meanwhile``: what this process does while another looks at a folder of images.
    Returns its folder, and what the user must know of it ("" for nothing). Raises ConfigError where
    it is not to be had and ``offline_data`` does not help out.
    """
    root, passed_over = make_cache_root(Path(config.data_path)), _passed_over(config)
    try:
        found = find_or_build(root, _find_source(config, meanwhile))
        if passed_over:
            say(f"note: {passed_over}; it is not used")
        return found, ""
    except Unavailable as error:
        reason = f"{passed_over}; {error}" if passed_over else str(error)
        wanted, cure = official_of(config).title, _cure(config)
        if config.offline_data is None:
            where = f"data_path: got {config.data_path}, where {wanted} was not to be had"
            raise ConfigError(f"{where}: {reason}. {cure}") from None
        shown = {"reason": printable(reason), "cure": printable(cure)}
        notice = BANNER.format(line="=" * 88, wanted=wanted, **shown)
    return find_or_build(root, _find_source(replace(config, type="synthetic"))), notice


def _passed_over(config: Config) -> str:
    """Why an official data set's folder of images is there and not used, else ""."""
    folder = _official_images(config)
    if not folder or image_folders.find_parts(folder):
        return ""
    names = ", ".join(image_folders.scan_class_names(folder)) or "no folder"
    return f"{folder} holds {names}; must hold train/ and test/"


def _cure(config: Config) -> str:
    """What to put where."""
    official, place = official_of(config), config.data_path
    if not official.archive:
        return f"To use it, put its four idx files, packed or not, into {place}/."
    folders = f"{place}/{official.images}/train/<class>/ and .../test/<class>/"
    images = f"its images into {folders}, or " if official.images else ""
    return f"To use it, put {images}torchvision's {official.folder} into {place}/."


def _official_images(config: Config) -> Path | None:
    """A folder of images in place of torchvision's files, where it is there."""
    images = official_of(config).images if config.type in OFFICIAL else ""
    folder = Path(config.data_path) / images
    return folder if images and folder.is_dir() else None


def _folder_of_images(config: Config) -> Path | None:
    """The folder that holds the classes, or two parts; None for torchvision's files."""
    data_path = Path(config.data_path)
    if config.type in OFFICIAL:
        folder = _official_images(config)
        return folder if folder and image_folders.find_parts(folder) else None
    if not data_path.is_dir():
        hint = f"; the flower photographs are at {FLOWERS}" if config.type == "flower" else ""
        must = f"must be a folder with one sub-folder of images for each class{hint}"
        raise ConfigError(f"data_path: got {config.data_path}, {must}")
    image_folders.check_layout(data_path)
    return data_path


def _find_source(config: Config, meanwhile: Task = lambda: None) -> Source:
    if config.type == "synthetic":
        made_from = {"source": "synthetic", "seed": config.seed}
        return Source(lambda: made_from, lambda: make_synthetic(config.seed))
    if folder := _folder_of_images(config):
        name, side = folder.resolve().name, config.image_size or PHOTO_SIDE
        if config.type in OFFICIAL:
            name, side = official_of(config).title, CIFAR_SIDE
        return _folder_source(name, folder, side, config.seed, meanwhile)
    official, data_path = official_of(config), Path(config.data_path)

    def made_from_files() -> dict[str, object]:
        sizes = {path: path.stat().st_size for path in find_idx_files(official, data_path)}
        whole = [image_folders.checksum_of(path, size, size) for path, size in sizes.items()]
        return {"source": "official", "name": official.title, "files": whole}

    build = partial(load_official, official, data_path, download=config.download)
    return Source(made_from_files, build)


def _folder_source(name: str, folder: Path, side: int, seed: int, meanwhile: Task) -> Source:
    """The two parts as they are, else a seeded split of one folder of classes."""
    try:
        parts = in_child(image_folders.scan_parts, folder, meanwhile=meanwhile)
    except Unavailable as error:  # it is there: no other images are to stand for it
        raise RunFailed(f"{folder}: {error}") from None
    if unused := sorted(path for part in parts for path in part.unused):
        more = f" and {len(unused) - MOST_NAMED} more" if len(unused) > MOST_NAMED else ""
        say(f"note: {len(unused)} folders are not used: {', '.join(unused[:MOST_NAMED])}{more}")
    class_names = parts[0].class_names
    for found in parts:
        got, number = f"data_path: got {found.folder}", len(found.class_names)
        if number < 2:
            must = "must have one for each of at least two classes"
            raise ConfigError(f"{got} with {number} sub-folders, {must}")
        if found.class_names != class_names:
            raise ConfigError(f"{got}, which does not hold the same classes as {parts[0].folder}")
    stamps = repr([(found.class_names, found.labels, found.stamps) for found in parts])
    digest = hashlib.blake2b(stamps.encode("utf-8", "surrogateescape")).hexdigest()
    made_from = {"source": "folder", "name": name, "side": side, "files": digest}
    if len(parts) == 1:
        made_from["seed"] = seed

    def read_folders() -> Dataset:
        splits = [image_folders.decode_folder(found, side) for found in parts]
        if len(parts) == 1:
            (whole,) = splits
            chosen = split_by_class(whole.labels, VALIDATION_RATE, stream(seed, Purpose.VALIDATION))
            splits = [Split(whole.images[own], whole.labels[own]) for own in chosen]
        mean, std = describe_pixels(splits[0].images)
        info = DatasetInfo(printable(name), False, list(map(printable, class_names)), mean, std)
        return Dataset(info, *splits)

    return Source(lambda: made_from, read_folders)
