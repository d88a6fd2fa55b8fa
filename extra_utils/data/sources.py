"""Finds the data set of a config, and brings it into the cache."""

import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

from extra_utils.basics.errors import ConfigError, RunFailed, printable, say
from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.keys import Config
from extra_utils.data import image_folders
from extra_utils.data.official import OFFICIAL, Official, find_idx_files, load_official
from extra_utils.data.synthetic import make_synthetic
from extra_utils.my_dataset import Dataset, Split, find_or_build, make_cache_root, new_dataset
from extra_utils.processes.child import Unavailable, in_child
from extra_utils.utils import split_by_class

CIFAR_SIDE, PHOTO_SIDE = 32, 64
Task = Callable[[], object]
Source = tuple[Callable[[], dict[str, object]], Callable[[], Dataset]]  # as find_or_build takes it
VALIDATION_RATE = 0.2  # the article's, where there are no folders train/ and test/
FLOWERS = "https://download.tensorflow.org/example_images/flower_photos.tgz"
BANNER = """\
{line}
SYNTHETIC DATA: {wanted} was not to be had, so this run goes on with built-in images.
Why: {reason}
Its figures say nothing about {wanted}. {cure}
{line}"""


def _official_of(config: Config) -> Official:
    """What torchvision has under the config's type."""
    is_coarse = config.type == "cifar100" and config.coarse_labels
    return OFFICIAL["cifar100 coarse" if is_coarse else config.type]


def prepare_data(config: Config, meanwhile: Task = lambda: None) -> tuple[Path, str]:
    """Finds, reads and caches the data set once, for all ranks.

    ``meanwhile``: what this process does while another looks at a folder of images.
    Returns its folder, and what the user must know of it ("" for nothing). Raises ConfigError where
    it is not to be had and ``offline_data`` does not help out."""
    folder = None if config.type == "synthetic" else _find_images(config)
    root, seed = make_cache_root(Path(config.data_path)), config.seed
    synthetic = lambda: {"source": "synthetic", "seed": seed}, partial(make_synthetic, seed)
    if config.type == "synthetic":
        return find_or_build(root, *synthetic), ""
    try:
        source = _folder_source(config, folder, meanwhile) if folder else _official_source(config)
        return find_or_build(root, *source), ""
    except Unavailable as reason:
        wanted, cure = _official_of(config).title, _what_to_put_where(config)
        if config.offline_data is None:
            where = f"data_path: got {config.data_path}, where {wanted} was not to be had"
            raise ConfigError(f"{where}: {reason}. {cure}") from None
        shown = {"reason": printable(str(reason)), "cure": printable(cure)}
        notice = BANNER.format(line="=" * 88, wanted=wanted, **shown)
    return find_or_build(root, *synthetic), notice


def _what_to_put_where(config: Config) -> str:
    official, place = _official_of(config), config.data_path
    if not official.archive:
        return f"To use it, put its four idx files, packed or not, into {place}/."
    folders = f"{place}/{official.images}/train/<class>/ and .../test/<class>/"
    images = f"its images into {folders}, or " if official.images else ""
    return f"To use it, put {images}torchvision's {official.folder} into {place}/."


def _find_images(config: Config) -> Path | None:
    """The folder of classes, or of two parts; None where torchvision's files are to be read."""
    folder, is_official = Path(config.data_path), config.type in OFFICIAL
    if is_official:
        folder /= (images := _official_of(config).images)
        if not images or not folder.is_dir():
            return None
    elif not folder.is_dir():
        hint = f"; the flower photographs are at {FLOWERS}" if config.type == "flower" else ""
        must = f"must be a folder with one sub-folder of images for each class{hint}"
        raise ConfigError(f"data_path: got {config.data_path}, {must}")
    image_folders.check_layout(folder, is_parts=is_official)
    return folder


def _official_source(config: Config) -> Source:
    official, data_path = _official_of(config), Path(config.data_path)

    def made_from() -> dict[str, object]:
        sizes = {path: path.stat().st_size for path in find_idx_files(official, data_path)}
        whole = [image_folders.checksum_of(path, size, size) for path, size in sizes.items()]
        return {"source": "official", "name": official.title, "files": whole}

    return made_from, partial(load_official, official, data_path, download=config.download)


def _folder_source(config: Config, folder: Path, meanwhile: Task) -> Source:
    """The two parts as they are, else a seeded split of one folder of classes."""
    name, side, seed = folder.resolve().name, config.image_size or PHOTO_SIDE, config.seed
    if config.type in OFFICIAL:
        name, side = _official_of(config).title, CIFAR_SIDE
    try:
        parts = in_child(image_folders.scan_parts, folder, meanwhile=meanwhile)
    except Unavailable as error:  # it is there: no other images are to stand for it
        raise RunFailed(f"{folder}: {error}") from None
    names = set(image_folders.scan_class_names(folder)) - {part.folder.name for part in parts}
    if len(parts) > 1 and names:
        beside = ", ".join(sorted(str(folder / name) for name in names)[: image_folders.MOST_NAMED])
        say(f"note: {len(names)} folders are not used: {beside}")
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
    made_from |= {"seed": seed} if len(parts) == 1 else {}

    def read_folders() -> Dataset:
        splits = [image_folders.decode_folder(found, side) for found in parts]
        if len(parts) == 1:
            (whole,) = splits
            chosen = split_by_class(whole.labels, VALIDATION_RATE, stream(seed, Purpose.VALIDATION))
            splits = [Split(whole.images[own], whole.labels[own]) for own in chosen]
        return new_dataset(printable(name), False, list(map(printable, class_names)), splits)

    return lambda: made_from, read_folders
