"""What is refused before a run starts: its config, its data, and the two together."""

from pathlib import Path

from extra_utils.basics.errors import tell
from extra_utils.config.keys import Config, GivenConfig
from extra_utils.config.reader import Places
from extra_utils.config.rules import check_classes, check_rules, check_sizes, idle_keys, resolve
from extra_utils.data.sources import prepare_data
from extra_utils.my_dataset import open_dataset
from extra_utils.processes.launch import ALONE, Launcher
from federal_defense.attacks.table import idle_attack, with_drawn_attackers
from federal_defense.rules.table import check_bounds, check_num_classes


def checked_config(given: GivenConfig, places: Places, launcher: Launcher = ALONE) -> Config:
    """The resolved config, after every check that needs no data; prints warnings."""
    config = resolve(given, launcher.world_size)
    with places.named():
        check_rules(config)
        check_bounds(config)
    warnings = idle_keys(config, places)
    config = with_drawn_attackers(config)
    if launcher.is_main:
        if launcher.world_size is not None:
            print(f"world_size: {launcher.world_size}, torchrun's")
        tell([], warnings)
    return config


def prepared_data(config: Config, places: Places, launcher: Launcher = ALONE) -> Path:
    """The cache folder of the data set, which has the classes and images that the config names.

    The model and its start weights are looked at as well, without computing; the main process says
    what a user should know of the run."""
    folder, notice = prepare_data(config, lambda: __import__("torch"))
    dataset = open_dataset(folder)
    with places.named():
        check_classes(config, dataset.info.class_names)
        check_num_classes(config.defense, dataset.num_classes)
        check_sizes(config, dataset.info.name, len(dataset.train), len(dataset.test))
    if notice and launcher.is_main:
        print(notice, flush=True)

    import torch  # from here on, since the ranks share it when they are forked

    from extra_utils.model import new_model
    from extra_utils.training.start_weights import prepare_weights
    from my_data_loader import make_shards

    with torch.device("meta"):  # shapes only: the parent must not compute before it forks
        model = new_model(config, dataset.num_classes, *dataset.image_shape)
    partition = make_shards(config, dataset)
    notes = [*prepare_weights(config, model), *partition.notes]
    if config.has_batch_norm and 1 in {config.batch_size, *map(len, partition.shards)}:
        notes.append("batch norm trains on single images, of which it learns little")
    labels = [dataset.train.labels[own] for own in partition.shards]
    if launcher.is_main:
        tell(notes, idle_attack(config, labels, dataset.num_classes, dataset.image_shape[1]))
    return folder
