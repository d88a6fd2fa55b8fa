"""Defaults that depend on other keys, what must hold between keys, and what has no effect."""

from extra_utils.basics.errors import WrongKey, show
from extra_utils.config.keys import AttackConfig, Config, DefenseConfig, GivenConfig
from extra_utils.config.reader import Places

LONGEST_NAME = 100
DEFAULT_POINTS, MOST_CLIENTS_WITH_POINTS = 5, 10
SMALLEST_SIDE = 16  # of an image that net and mnist_net can take
MODEL_OF = {"mnist": "mnist_net", "fashion_mnist": "mnist_net", "flower": "resnet34"}


def resolve(given: GivenConfig, world_size: int | None = None) -> Config:
    """The config with all defaults filled in; ``world_size``, torchrun's, goes before the key."""
    processes = world_size or given.world_size
    num_clients = given.num_clients or processes
    points = DEFAULT_POINTS if num_clients <= MOST_CLIENTS_WITH_POINTS else 0
    filled = {
        "name": given.name or "",  # the reader puts the file's name there; "" is refused below
        "world_size": processes,
        "num_clients": num_clients,
        "clients_per_round": given.clients_per_round or num_clients,
        "eval_points": points if given.eval_points is None else given.eval_points,
        "model_name": given.model_name or MODEL_OF.get(given.type, "net"),
    }
    return Config(**(vars(given) | filled))


def check_rules(config: Config) -> None:
    """A WrongKey where a config's keys contradict each other."""
    name = config.name
    safe = name.isprintable() and not set(name) & set('/\\:*?"<>|') and name.strip(". ") == name
    if not safe or not 1 <= len(name) <= LONGEST_NAME:
        right = 'printable characters, without / \\ : * ? " < > | or a dot at an end'
        raise WrongKey("name", f"got {show(name)}, must be 1 to {LONGEST_NAME} {right}")
    clients, drawn, processes = config.num_clients, config.clients_per_round, config.world_size
    if drawn > clients:
        raise WrongKey("clients_per_round", f"got {drawn}, must be at most num_clients, {clients}")
    model, side = config.model_name, config.image_size or SMALLEST_SIDE
    is_small = not model.startswith("resnet")
    if is_small and side < SMALLEST_SIDE:
        raise WrongKey("image_size", f"got {side}, must be at least {SMALLEST_SIDE} for {model}")
    if is_small and config.weights == "imagenet":
        right = f"must be a .pth file or null for {model}, of which torchvision has none"
        raise WrongKey("weights", f'got "imagenet", {right}')
    if config.syncBN and not processes == clients == drawn:
        got = f"got true with {clients} clients, {drawn} of them a round, on {processes} processes"
        right = "must be one client for each process every round, since all step together"
        raise WrongKey("syncBN", f"{got}; {right}")
    if config.secure_aggregation and (config.neighbours or 0) % 2:
        text = f"got {config.neighbours}, must be even, half on each side of a client on the ring"
        raise WrongKey("neighbours", text)
    if config.secure_aggregation and drawn < 2:
        raise WrongKey("secure_aggregation", "got true with 1 client a round, whose sum is its own")
    for attack in config.attacks:
        _check_attack(attack, clients)


def check_classes(config: Config, class_names: list[str]) -> None:
    """A WrongKey where the attack names a class that is not there, or clients hold too few."""
    last = len(class_names) - 1
    for parameters in [attack.parameters for attack in config.attacks]:
        for key in ("source",) if parameters.get("source") == "all" else ("source", "target"):
            number = parameters.get(key)
            if isinstance(number, int) and number > last:
                right = f"from 0 ({class_names[0]}) to {last} ({class_names[-1]})"
                text = f"got {number}, must be a class of the data set, {right}"
                raise WrongKey(f"attack.{key}", text)
    each, classes = config.classes_per_client, len(class_names)
    if config.partition == "classes" and not classes / config.num_clients <= each <= classes:
        right = f"{classes} at most, and with {config.num_clients} clients enough for all {classes}"
        raise WrongKey("classes_per_client", f"got {each}, must be {right} classes of the data set")


def check_sizes(config: Config, name: str, num_train: int, num_test: int) -> None:
    """A WrongKey where the data set of this name has too few images for what is asked."""
    if not num_test:
        right = "must have a test part, or a class of two images"
        text = f"got {config.data_path}, which leaves no image for the test; {right}"
        raise WrongKey("data_path", text)
    for key, available in (("num_train", num_train), ("num_test", num_test)):
        wanted = getattr(config, key) or 0
        if wanted > available:
            raise WrongKey(key, f"got {wanted}, must be at most the {available} of {name}")
    clients, images = config.num_clients, config.num_train or num_train
    right = f"must be at most the {images} training images"
    if clients > images:
        raise WrongKey("num_clients", f"got {clients}, {right}, one for each client")
    shards = config.shards_per_client
    if config.partition == "shards" and clients * shards > images:
        product = f"num_clients x shards_per_client = {clients * shards}"
        raise WrongKey("shards_per_client", f"got {shards}, {product} {right}")


def idle_keys(config: Config, places: Places) -> list[str]:
    """A warning for each key that was given, is not at its default, and changes nothing."""
    is_resnet = config.model_name.startswith("resnet")
    is_own, is_made = config.type in ("flower", "folder"), config.type == "synthetic"
    dealt, schedule = f"partition is {config.partition}", config.schedule.name
    is_short = schedule == "cosine_local" and config.local_epochs == 1
    flat = "with one local epoch the rate stays at lr" if is_short else f"schedule is {schedule}"
    never = f"{'your own' if is_own else 'synthetic'} images are never fetched nor replaced"
    idle = {
        "neighbours": (not config.secure_aggregation, "secure_aggregation is false"),
        "coarse_labels": (config.type != "cifar100", "the data set is not cifar100"),
        "alpha": (config.partition not in ("dirichlet", "quantity"), dealt),
        "shards_per_client": (config.partition != "shards", dealt),
        "classes_per_client": (config.partition != "classes", dealt),
        "lrf": (not schedule.startswith("cosine") or is_short, flat),
        **dict.fromkeys(("eval_size", "only_0"), (config.eval_points == 0, "eval_points is 0")),
        "image_size": (not is_own, f"{config.type} has its own size"),
        **dict.fromkeys(("stem", "norm"), (not is_resnet, "the model is no ResNet")),
        "syncBN": (not config.has_batch_norm, "no batch norm is trained"),
        **dict.fromkeys(("download", "offline_data"), (is_own or is_made, never)),
    }
    found = {
        key: reason
        for key, (holds, reason) in idle.items()
        if holds and key in places.where and getattr(config, key) != getattr(GivenConfig, key)
    } | places.idle
    if config.optimizer.parameters.get("nesterov") and not config.optimizer.parameters["momentum"]:
        found["optimizer.nesterov"] = "optimizer.momentum is 0"
    for key, pre in (("pre_f", "nnm"), ("pre_s", "bucketing")):
        own, usual = getattr(config.defense, key), getattr(DefenseConfig, key)
        if own != usual and config.defense.pre != pre:
            found[f"defense.{key}"] = f"pre is {show(config.defense.pre)}"
    for attack in config.attacks:
        found |= _idle_of_attack(attack, config.num_clients)
    texts = {key: f"has no effect here: {reason}" for key, reason in found.items()}
    if any(attack.start_round > config.global_epochs for attack in config.attacks):
        texts["attack.start_round"] = "comes after the last round"
    return [f"{places.of(key)}: {key}: {text}" for key, text in texts.items()]


def _idle_of_attack(attack: AttackConfig, num_clients: int) -> dict[str, str]:
    """Its keys without effect, and why."""
    found = {}
    if attack.fraction and round(attack.fraction * num_clients) == 0:
        found["attack.fraction"] = f"{attack.fraction} of {num_clients} clients is nobody"
    if attack.sample_clients and attack.fraction is None:
        found["attack.sample_clients"] = "the clients are named"
    if attack.parameters.get("factor") == 1 and attack.name == "scaling":
        found["attack.factor"] = "1 is as long as it is"
    return found


def _check_attack(attack: AttackConfig, num_clients: int) -> None:
    clients, last = attack.clients, num_clients - 1
    if strange := [client for client in clients if client > last and attack.fraction is None]:
        raise WrongKey("attack.clients", f"got {strange[0]}, must be a client, from 0 to {last}")
    if len(set(clients)) < len(clients):
        raise WrongKey("attack.clients", f"got a client twice in {show(clients)}")
    source, target = attack.parameters.get("source"), attack.parameters.get("target")
    if attack.end_round is not None and attack.end_round < attack.start_round:
        text = f"got {attack.end_round}, must not come before start_round, {attack.start_round}"
        raise WrongKey("attack.end_round", text)
    if source is not None and source == target:
        raise WrongKey("attack.target", f"got {target}, must be another class than attack.source")
