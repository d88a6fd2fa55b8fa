"""What must hold between keys, what this version cannot do yet, and what has no effect."""

from __future__ import annotations

from dataclasses import fields, replace

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import AttackConfig, Config
from extra_utils.config.reader import Given, Json
from extra_utils.config.values import show

LONGEST_NAME = 100
DEFAULT_POINTS, MOST_CLIENTS_WITH_POINTS = 5, 10
SMALLEST_SIDE = 16  # of an image that net and mnist_net can take
MODEL_OF = {"mnist": "mnist_net", "fashion_mnist": "mnist_net", "flower": "resnet34"}


def resolve(config: Config) -> Config:
    """Fills in the defaults that depend on other keys."""
    num_clients = config.num_clients or config.world_size
    return replace(
        config,
        num_clients=num_clients,
        clients_per_round=config.clients_per_round or num_clients,
        eval_points=resolve_points(config.eval_points, num_clients),
        model_name=config.model_name or MODEL_OF.get(config.type, "net"),  # type: ignore[arg-type]
    )


def resolve_points(eval_points: int | None, num_clients: int) -> int:
    if eval_points is not None:
        return eval_points
    return DEFAULT_POINTS if num_clients <= MOST_CLIENTS_WITH_POINTS else 0


def check_rules(config: Config, given: Given) -> None:
    """A ConfigError when a resolved config's keys contradict each other."""
    _check_name(config, given)
    _check_clients(config, given)
    _check_model(config, given)
    if config.attack is not None:
        _check_attack(config.attack, config, given)


def check_classes(config: Config, given: Given, class_names: list[str]) -> None:
    """A ConfigError when the attack names a class that the data set lacks."""
    parameters = config.attack.parameters if config.attack else {}
    for key in ("source",) if parameters.get("source") == "all" else ("source", "target"):
        number = parameters.get(key)
        if isinstance(number, int) and number >= len(class_names):
            place = given.where.get(f"attack.{key}", given.where["attack"])
            raise ConfigError(
                f"{place}: attack.{key}: got {number}, must be a class of the "
                f"data set, from 0 ({class_names[0]}) to {len(class_names) - 1} ({class_names[-1]})"
            )


def check_sizes(config: Config, given: Given, name: str, num_train: int, num_test: int) -> None:
    """A ConfigError when the data set of this name has too few images for what is asked."""
    for key, available in (("num_train", num_train), ("num_test", num_test)):
        wanted = getattr(config, key)
        if wanted is not None and wanted > available:
            right = f"must be at most the {available} of {name}"
            raise ConfigError(f"{given.where[key]}: {key}: got {wanted}, {right}")
    images = config.num_train or num_train
    assert config.num_clients is not None
    if config.num_clients > images:
        where = given.where.get("num_clients") or given.where.get("world_size") or "default"
        raise ConfigError(
            f"{where}: num_clients: got {config.num_clients}, must be at most the {images} "
            "training images, one for each client"
        )
    num_runs = config.num_clients * config.shards_per_client
    if config.partition == "shards" and num_runs > images:
        where = given.where.get("shards_per_client") or given.where["partition"]
        raise ConfigError(
            f"{where}: shards_per_client: got {config.shards_per_client}, num_clients x "
            f"shards_per_client = {num_runs} must be at most the {images} training images"
        )


def idle_keys(config: Config, given: Given) -> list[str]:
    """A warning for each key that was given, is not at its default, and changes nothing."""
    is_resnet = (config.model_name or "").startswith("resnet")
    idle = {
        "alpha": (config.partition != "dirichlet", 'partition is not "dirichlet"'),
        "shards_per_client": (config.partition != "shards", 'partition is not "shards"'),
        "lrf": (config.local_epochs == 1, "with one local epoch the rate stays at lr"),
        "eval_size": (config.eval_points == 0, "eval_points is 0"),
        "only_0": (config.eval_points == 0, "eval_points is 0"),
        "image_size": (config.type not in ("flower", "folder"), f"{config.type} has its own size"),
        "stem": (not is_resnet, "the model is no ResNet"),
        "syncBN": (not is_resnet or config.freeze_layers, "no batch norm is trained"),
        "download": (config.type == "synthetic", "synthetic images are made, not loaded"),
        "offline_data": (config.type == "synthetic", "synthetic images are never missing"),
    }
    defaults = {f.name: f.default for f in fields(Config)}
    warnings = [
        f"{given.where[key]}: {key}: has no effect here: {reason}"
        for key, (holds, reason) in idle.items()
        if holds and key in given.values and getattr(config, key) != defaults[key]
    ]
    fraction = config.attack.fraction if config.attack else None
    assert config.num_clients is not None
    if fraction and round(fraction * config.num_clients) == 0:
        few = f"{fraction} of {config.num_clients} clients is nobody"
        warnings.append(f"{given.where['attack']}: attack.fraction: has no effect here: {few}")
    if config.attack and config.attack.start_round > config.global_epochs:
        warnings.append(f"{given.where['attack']}: attack.start_round: comes after the last round")
    return warnings


def advise_on_cores(config: Config, cores: int) -> str:
    """A line for a run that leaves cores idle or whose threads must take turns; "" for neither."""
    threads = config.world_size * config.threads_per_process
    assert config.clients_per_round is not None
    use = f"world_size x threads_per_process = {threads} on {cores} cores"
    if threads > cores and config.threads_per_process > 1:
        return f"{use}: they take turns; threads_per_process 1 would be faster"
    if threads > cores and config.world_size < config.clients_per_round:
        return f"{use}: they take turns; world_size {cores} would be faster, with the same result"
    if threads < cores and config.world_size < config.clients_per_round:
        best = min(cores // config.threads_per_process, config.clients_per_round)
        if best > config.world_size:
            return f"{use}: some are idle; world_size {best} would be faster, with the same result"
    if threads < cores:
        return f"{use}: some are idle; more clients on more processes would use them"
    return f"{use}: they take turns" if threads > cores else ""


def to_json(config: Config) -> Json:
    """The config as the JSON object that it is read from; `attack` and `defense` flat."""
    values = {f.name: getattr(config, f.name) for f in fields(Config)}
    for key in ("attack", "defense"):
        nested = values[key]
        if nested is not None:
            own = {f.name: getattr(nested, f.name) for f in fields(nested)}
            values[key] = _without_empty(own | own.pop("parameters"))
    return values


def _without_empty(values: Json) -> Json:
    return {
        key: value for key, value in values.items() if value is not None and key != "parameters"
    }


def _check_name(config: Config, given: Given) -> None:
    name = config.name or ""
    safe = name.isprintable() and not set(name) & set('/\\:*?"<>|') and name.strip(". ") == name
    if not name or not safe or len(name) > LONGEST_NAME:
        raise ConfigError(
            f"{given.where.get('name', 'config file')}: name: got {show(name)}, must be 1 to "
            f'{LONGEST_NAME} printable characters, without / \\ : * ? " < > | or a dot at an end'
        )


def _check_clients(config: Config, given: Given) -> None:
    assert config.num_clients is not None
    assert config.clients_per_round is not None
    if config.clients_per_round > config.num_clients:
        raise ConfigError(
            f"{given.where['clients_per_round']}: clients_per_round: got "
            f"{config.clients_per_round}, must be at most num_clients, {config.num_clients}"
        )


def _check_model(config: Config, given: Given) -> None:
    is_resnet = (config.model_name or "").startswith("resnet")
    if not is_resnet and (config.image_size or SMALLEST_SIDE) < SMALLEST_SIDE:
        raise ConfigError(
            f"{given.where['image_size']}: image_size: got {config.image_size}, must be at least "
            f"{SMALLEST_SIDE} for {config.model_name}"
        )
    if config.weights == "imagenet" and not is_resnet:
        raise ConfigError(
            f'{given.where["weights"]}: weights: got "imagenet", must be a .pth file or null for '
            f"{config.model_name}, of which torchvision has none"
        )
    one_each = config.world_size == config.num_clients == config.clients_per_round
    if config.syncBN and not one_each:
        raise ConfigError(
            f"{given.where['syncBN']}: syncBN: got true with {config.num_clients} clients, "
            f"{config.clients_per_round} of them a round, on {config.world_size} processes; must "
            "be one client for each process every round, since all step together"
        )


def _check_attack(attack: AttackConfig, config: Config, given: Given) -> None:
    where = given.where.get("attack.clients", given.where["attack"])
    assert config.num_clients is not None
    last = config.num_clients - 1
    strange = [client for client in attack.clients if client > last]
    if strange and attack.fraction is None:
        raise ConfigError(
            f"{where}: attack.clients: got {strange[0]}, must be a client, from 0 to {last}"
        )
    if len(set(attack.clients)) < len(attack.clients):
        raise ConfigError(f"{where}: attack.clients: got a client twice in {show(attack.clients)}")
    source, target = attack.parameters.get("source"), attack.parameters.get("target")
    where = given.where.get("attack.target", given.where["attack"])
    if source is not None and source == target:
        raise ConfigError(
            f"{where}: attack.target: got {target}, must be another class than attack.source"
        )
