"""Every key of a run's config: its type and range, its default, and what it means.

The docstring under a field is the key's text in ``--help`` and in docs/keys.md. Nothing
here needs torch, so that a wrong config costs no waiting.
"""

from dataclasses import dataclass, field, is_dataclass
from typing import Annotated, Any, Literal, get_type_hints

from extra_utils.basics.random_streams import Purpose, stream
from extra_utils.config.values import Count, CountOrZero, Fraction, NotNegative, Positive, Range

DATA_TYPES = Literal["cifar", "cifar100", "mnist", "fashion_mnist", "flower", "folder", "synthetic"]
MODELS = Literal["net", "mnist_net", "cnn", "resnet18", "resnet34", "resnet101"]
PARTITIONS = Literal["iid", "dirichlet", "shards", "classes", "quantity"]


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig:
    """A key such as `defense`: the name of a function, and that function's own parameters."""

    name: str
    """which one"""
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AttackConfig(ChoiceConfig):
    """The key `attack`: who attacks, and from when on."""

    clients: list[CountOrZero] = field(default_factory=lambda: [2])
    """the attackers' client numbers; [] for none, the baseline to stand beside"""
    fraction: Fraction | None = None
    """instead of `clients`: this share of all clients attacks, drawn from the seed"""
    sample_clients: Literal["each_round"] | None = None
    """`fraction`: whether they are drawn anew in each round (null: once)"""
    start_round: Count = 1
    """the first round that is attacked"""
    end_round: Count | None = None
    """the last one (null: the run's)"""
    every: Count | None = None
    """from the first on, 2 attacks every other round, 3 every third one (null: all)"""


@dataclass(frozen=True, kw_only=True)
class DefenseConfig(ChoiceConfig):
    """The key `defense`: the rule, and what is done to the differences before it sees them."""

    pre: Literal["nnm", "bucketing"] | None = None
    """in front of the rule: "nnm", each difference becomes the mean of its nearest; "bucketing",
    several at a time become their mean, in an order drawn from the seed (null: nothing)"""
    pre_f: CountOrZero = 1
    """`nnm`: how many attackers are assumed; n - f are near, itself included"""
    pre_s: Count = 2
    """`bucketing`: how many become one"""


STEPS = ("optimizer", "schedule", "server")  # keys of an unused choice are warned of
KINDS: dict[str, type] = {
    "attack": AttackConfig,
    "defense": DefenseConfig,
    **dict.fromkeys(STEPS, ChoiceConfig),
}


@dataclass(frozen=True, kw_only=True)
class GivenConfig:
    """A run's settings as the user gives them; None where the default depends on other keys."""

    name: str | None = None
    """names the run folder; by default the config file's name without its ending"""
    comment: str | None = None
    """a note for people, such as where the data come from; changes nothing"""
    type: DATA_TYPES
    """the data set"""
    data_path: str = "data"
    """where the data set is, or is downloaded to"""
    download: bool = True
    """let torchvision fetch what is missing"""
    coarse_labels: bool = False
    """the twenty classes of `cifar100`, of torchvision's files, in place of its hundred"""
    offline_data: Literal["synthetic"] | None = None
    """null: missing data is an error; "synthetic": go on with the built-in images, and say so"""
    image_size: Annotated[int, Range(8, 1024)] | None = None
    """side in pixels that `flower` and `folder` images are brought to (null: 64)"""
    num_train: Count | None = None
    """use only this many training images, the same from each class as far as they go (null: all)"""
    num_test: Count | None = None
    """use only this many test images, likewise (null: all)"""
    augment: bool = True
    """crop each training image at random from its padded self and, digits aside, mirror half"""
    model_name: MODELS | None = None
    """the model (null: `mnist_net` for both mnists, `resnet34` for `flower`, else `net`)"""
    weights: str | None = None
    """a .pth file to start from, or "imagenet" for torchvision's (null: a fresh start)"""
    freeze_layers: bool = False
    """train the last fully connected layer only"""
    stem: Literal["cifar", "imagenet"] | None = None
    """first layers of a ResNet: "cifar" is 3x3, stride 1, no pooling; "imagenet" is torchvision's,
    which shrinks an image's side to a quarter at once (null: "cifar" under 64 pixels, of which that
    would leave too little)"""
    norm: Literal["batch", "group"] = "batch"
    """of a ResNet: over a batch's images, or of each image over 32 groups of channels. Batch norm
    of one image is of little use or none: a last batch of one joins the batch before it, and any
    other single image stands twice in its batch"""
    syncBN: bool = False  # the article's spelling
    """share batch norm's statistics across ranks; needs one client for each process"""
    world_size: Annotated[int, Range(1, 256)] = 3
    """processes; rank 0 is server and client"""
    num_clients: Count | None = None
    """clients (null: one for each process)"""
    clients_per_round: Count | None = None
    """clients drawn for each round (null: all)"""
    partition: PARTITIONS = "iid"
    """how the training images are split among the clients; always disjoint"""
    alpha: Positive = 0.5
    """`dirichlet`: the smaller, the more unequal the clients' classes; `quantity`: their sizes"""
    classes_per_client: Count = 2
    """`classes`: of how many each client has images, as far as they go round"""
    shards_per_client: Count = 2
    """`shards`: runs of label-sorted images that each client gets"""
    global_epochs: Count = 10
    """rounds"""
    local_epochs: Count = 2
    """epochs that a client trains in a round"""
    batch_size: Count = 64
    """training images in a batch"""
    optimizer: ChoiceConfig = ChoiceConfig(name="adam")
    """{"name": ..., its parameters}: how a client trains; it begins anew in every round"""
    lr: Positive = 0.001
    """the clients' learning rate, where the schedule begins"""
    lrf: Fraction = 0.1
    """where a schedule's cosine is heading, as a fraction of `lr`"""
    schedule: ChoiceConfig = ChoiceConfig(name="cosine_local")
    """{"name": ..., its parameters}: how that rate falls"""
    proximal_mu: NotNegative = 0.0
    """FedProx: mu / 2 times the squared distance to the global model is minimised as well"""
    server: ChoiceConfig = ChoiceConfig(name="sgd")
    """{"name": ..., its parameters}: what the server does with the mean difference"""
    eval_points: CountOrZero | None = None
    """local loss and accuracy points in each local epoch; 0: none (null: 5, but 0 above 10 clients,
    where testing every local model would take longer than training it)"""
    eval_size: Count | None = None
    """test images used at those points (null: all); the global model is tested on all"""
    only_0: bool = False
    """draw client 0's curves only, and skip the other clients' local evaluation"""
    attack: list[AttackConfig] | None = None
    """null, or {"name": ..., "clients": [...], "start_round": ..., parameters of that attack}; or
    a list of these: labels are edited in its order, then differences in it"""
    defense: DefenseConfig = DefenseConfig(name="mean")
    """{"name": ..., parameters of that rule}: how the clients' updates become one"""
    secure_aggregation: bool = False
    """clients mask what they send, so that nobody can look into an update; changes no figure"""
    neighbours: Count | None = None
    """`secure_aggregation`: each client shares masks with so many others, even (null: with all)"""
    seed: CountOrZero = 0
    """root of every random draw"""
    threads_per_process: Annotated[int, Range(1, 256)] = 1
    """torch threads of each process; they are part of what fixes the result's bytes"""
    timeout_s: Positive = 60.0
    """a process that shows no sign of life for this many seconds ends the run"""
    checkpoint_every: CountOrZero = 1
    """rounds between checkpoints; 0 keeps none"""
    output_dir: str = "runs"
    """where run folders are made"""


@dataclass(frozen=True, kw_only=True)
class Config(GivenConfig):
    """A run's settings with every default filled in, by ``resolve``: here nothing has one."""

    name: str = field()
    num_clients: int = field()
    clients_per_round: int = field()
    eval_points: int = field()
    model_name: MODELS = field()

    @property
    def has_batch_norm(self) -> bool:
        """Whether batch norm is trained."""
        is_resnet = self.model_name.startswith("resnet")
        return is_resnet and self.norm == "batch" and not self.freeze_layers

    @property
    def attacks(self) -> list[AttackConfig]:
        """None, one or several."""
        return self.attack or []

    def attackers(self, round_index: int) -> set[int]:
        """The clients that attack in this round."""
        return {c for attack in self.attacks for c in self.attackers_of(attack, round_index)}

    @property
    def num_attackers(self) -> int:
        """How many clients attack where all attacks meet in one round."""
        return len({c for own in self.attacks for c in self.attackers_of(own, own.start_round)})

    def attackers_of(self, attack: AttackConfig, round_index: int) -> list[int]:
        """Those of one attack; equal fractions draw the same clients."""
        since, end = round_index - attack.start_round, attack.end_round or round_index
        if since < 0 or round_index > end or since % (attack.every or 1):
            return []
        if attack.fraction is None:
            return attack.clients
        size = round(attack.fraction * self.num_clients)
        place = round_index if attack.sample_clients else 0
        drawn = stream(self.seed, Purpose.ATTACKERS, round_index=place)
        return sorted(drawn.choice(self.num_clients, size, replace=False).tolist())


HINTS = get_type_hints(GivenConfig, include_extras=True)


def to_json(value: Any) -> Any:
    """A config, or a key's value, as the JSON that it is read from."""
    if isinstance(value, list) and value and is_dataclass(value[0]):
        return to_json(value[0]) if len(value) == 1 else [to_json(own) for own in value]
    if not is_dataclass(value):
        return value
    flat = {key: to_json(inner) for key, inner in vars(value).items()}
    if isinstance(value, GivenConfig):
        return flat
    if flat.get("fraction") is not None:
        del flat["clients"]  # of the two one is given
    if "pre" in flat and flat["pre"] is None:
        del flat["pre_f"], flat["pre_s"]
    return {k: v for k, v in (flat | flat.pop("parameters")).items() if v is not None}
