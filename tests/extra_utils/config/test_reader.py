"""Everything that can be wrong with the user's input ends in one line; the rest is read right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import ConfigError, WrongKey
from extra_utils.config.keys import Config, GivenConfig, to_json
from extra_utils.config.reader import Arguments, Places, parse_arguments, read_config
from extra_utils.config.rules import (
    check_classes,
    check_rules,
    check_sizes,
    idle_keys,
    resolve,
)
from federal_defense.attacks.table import with_drawn_attackers
from federal_defense.rules.table import TABLES
from tests.helpers import ROOT

FLIP = {"name": "label_flip", "clients": [2], "source": 1, "target": 4}


def read(tmp_path: Path, text: str | bytes | dict[str, Any], *options: str) -> Config:
    """The checked config of a file with this content and these options."""
    content = json.dumps(text) if isinstance(text, dict) else text
    path = tmp_path / "c.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    arguments = parse_arguments([f"--config={path}", *options])
    given, places = read_config(arguments, TABLES)
    config = resolve(given)
    with places.named():
        check_rules(config)
    return config


def read_file(path: Path) -> tuple[Config, Places]:
    """The resolved config of a file, and where its keys were given."""
    given, places = read_config(Arguments(config=str(path)), TABLES)
    return resolve(given), places


WRONG_FILES = {
    "broken": ('{"type": "cifar",\n  oops}', "is not JSON: .* at line 2 column 3"),
    "empty": ("", "is not JSON"),
    "no object": ("[1]", r"got \[1\], must be an object"),
    "twice": ('{"type": "cifar", "lr": 1, "lr": 2}', 'the key "lr" stands twice'),
    "nested twice": ('{"attack": {"name": 1, "name": 2}}', 'the key "name" stands twice'),
    "NaN": ('{"lr": NaN}', "NaN is not a number"),
    "Infinity": ('{"lr": -Infinity}', "-Infinity is not a number"),
    "overflow": ('{"type": "cifar", "lr": 1e999}', "lr: got Infinity, must be a number above 0"),
    "not UTF-8": (b'{"name": "\xff"}', "is not UTF-8: .* at byte 10"),
    "too deep": ("[" * 100_000, "is nested too deeply"),
    "long number": ('{"seed": ' + "9" * 5000 + "}", "Exceeds the limit"),
    "unknown": ('{"num_client": 3, "type": "cifar"}', '"num_client"; did you mean "num_clients"'),
    "no type": ("{}", "type: is missing, must be one of cifar"),
    "wrong type": ('{"type": "cifar", "lr": "fast"}', 'lr: got "fast", must be a number'),
    "bool for int": ('{"type": "cifar", "batch_size": true}', "batch_size: got true, must be"),
    "float for int": ('{"type": "cifar", "batch_size": 1.5}', "batch_size: got 1.5, must be"),
    "null": ('{"type": "cifar", "seed": null}', "seed: got null, must be a whole number"),
    "range": ('{"type": "cifar", "lrf": 1.5}', "lrf: got 1.5, must be a number from 0 to 1"),
    "no ranks": ('{"type": "cifar", "world_size": 0}', "world_size: got 0, must be a whole"),
    "choice": ('{"type": "cifra"}', 'type: got "cifra", must be one of "cifar"'),
    "syncBN": ('{"type": "cifar", "syncBN": true, "num_clients": 5}', "got true with 5 clients"),
    "imagenet net": ('{"type": "cifar", "weights": "imagenet"}', 'weights: got "imagenet", must'),
    "small": ('{"type": "folder", "image_size": 12}', "image_size: got 12, must be at least 16"),
    "list": ('{"type": "cifar", "lr": [1]}', r"lr: got \[1\], must be a number"),
    "place": ('{"type": "cifar", "run_dir": "x"}', "run_dir: belongs on the command line"),
    "name": ('{"type": "cifar", "name": "../x"}', 'name: got "../x", must be 1 to 100 printable'),
    "surrogate": ('{"type": "cifar", "name": "\\ud800"}', "name: got"),
    "NUL": ('{"type": "cifar", "output_dir": "a\\u0000b"}', "output_dir: got .* a string"),
    "half a pair": ('{"type": "cifar", "comment": "\\ud800"}', "comment: got .* must be a string"),
    "sampling": ('{"type": "cifar", "clients_per_round": 4}', "clients_per_round"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_file_is_refused_in_one_line(
    text: str | bytes, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path, text)
    assert "c.json" in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_ATTACKS = {
    "text": ("label_flip", "attack: got \"label_flip\", must be"),
    "no name": ({"clients": [2]}, "attack: got .* must be"),
    "unknown": ({"name": "flip"}, 'attack.name: got "flip", must be one of label_flip'),
    "key": (FLIP | {"sorce": 1}, 'attack: unknown key "sorce"; did you mean "source"'),
    "no such client": (FLIP | {"clients": [3]}, "attack.clients: got 3, must be a client, from 0"),
    "twice": (FLIP | {"clients": [1, 1]}, "attack.clients: got a client twice"),
    "negative": (FLIP | {"clients": [-1]}, r"attack.clients: got \[-1\], must be a list of whole"),
    "no list": (FLIP | {"clients": 2}, "attack.clients: got 2, must be a list"),
    "same class": (FLIP | {"target": 1}, "attack.target: got 1, must be another class"),
    "both": (FLIP | {"fraction": 0.5}, "got clients and fraction"),
    "share": ({"name": "label_flip", "fraction": 1.5}, "attack.fraction: got 1.5, must be a"),
    "round": (FLIP | {"start_round": 0}, "attack.start_round: got 0"),
}  # fmt: skip


@pytest.mark.parametrize(("attack", "message"), WRONG_ATTACKS.values(), ids=WRONG_ATTACKS)
def test_a_wrong_attack_is_refused(attack: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, {"type": "cifar", "attack": attack})


LABEL_FLIP = "--attack.name=label_flip"
WRONG_OPTIONS = {
    "word": (["train"], 'got "train", must be --key=value'),
    "no value": (["--lr"], "lr: has no value"),
    "option for value": (["--lr", "--seed=1"], "lr: has no value"),
    "no switch": (["--only_O"], 'command line: unknown key "only_O"; did you mean "only_0"'),
    "switch for value": (["--only_0", "0.5"], "only_0: got 0.5, must be true or false"),
    "None": (["--seed=None"], "seed: got null, must be a whole number"),
    "unknown": (["--lrr=1"], 'command line: unknown key "lrr"; did you mean "lr"'),
    "dot": (["--defence.name=mean"], 'unknown key "defence.name"; did you mean "defense.name"'),
    "outer": (["--atack.target=3"], 'unknown key "atack.target"; did you mean "attack.target"'),
    "both parts": (["--atack.taget=3"], 'did you mean "attack.target"'),
    "flat": (["--data.path=3"], 'unknown key "data.path"; did you mean "data_path"'),
    "no nest": (["--batch_size.x=3"], 'did you mean "batch_size"'),
    "nested and alone": (["--atack.target"], "atack.target: has no value"),
    "inner": (["--attack.name=label_flip", "--attack.soure=1"], 'did you mean "source"'),
    "null attack": (["--attack.source=3"], "attack.source: there is no attack, give --attack.name"),
    "word for number": (["--lr=fast"], 'command line: lr: got "fast"'),
    "NaN": (["--lr=NaN"], 'lr: got "NaN"'),
    "dots": (["--lr=1.0.0"], 'lr: got "1.0.0"'),
    "a dot": (["--lr=."], 'lr: got "."'),
    "very large": (["--lr=.1e999"], "lr: got Infinity"),
    "long": (["--lr=0" + 5000 * "9"], 'lr: got "0999'),
    "both": ([LABEL_FLIP, "--attack.clients=[0]", "--attack.fraction=1"], "must be one of the two"),
    "negative": ([LABEL_FLIP, "--attack.clients=[-1]"], "must be a list of whole numbers from 0"),
    "rule": (["--defense.name=krummm"], 'defense.name: got "krummm", must be one of'),
    "no rule": (["--defense=null"], "defense: got null"),
    "rule's key": (["--defense.f=1"], 'defense: unknown key "f"'),
}  # fmt: skip


@pytest.mark.parametrize(("options", "message"), WRONG_OPTIONS.values(), ids=WRONG_OPTIONS)
def test_a_wrong_option_is_refused(options: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, {"type": "cifar"}, *options)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.json: cannot be read: No such file"):
        read_config(Arguments(config=str(tmp_path / "none.json")), TABLES)


def test_no_config_is_the_main_jobs() -> None:
    given, places = read_config(parse_arguments([]), TABLES)
    assert given == read_config(Arguments(config="configs/cifar.json"), TABLES)[0]
    assert places.of("lr") == str(ROOT / "configs" / "cifar.json")


def test_command_line_beats_file_beats_default(tmp_path: Path) -> None:
    config = read(
        tmp_path, {"type": "cifar", "lr": 0.5, "seed": 7}, "--lr", "1e-3", "--augment=false"
    )
    assert (config.lr, config.seed, config.augment, config.batch_size) == (1e-3, 7, False, 64)
    assert (config.name, config.num_clients, config.model_name) == ("c", 3, "net")


@pytest.mark.parametrize(
    ("options", "keys"),
    [
        (["--only_0"], {"only_0": True}),
        (["--syncBN", "--lr", "1", "--freeze_layers"], {"syncBN": True, "freeze_layers": True}),
        (["--only_0", "False", "--syncBN=True"], {"only_0": False, "syncBN": True}),
        (["--freeze_layers=False", "--only_0=true"], {"freeze_layers": False, "only_0": True}),
        (["--model_name=mnist_Net"], {"model_name": "mnist_net"}),
        (["--model_name=Net", "--type=MNIST"], {"model_name": "net", "type": "mnist"}),
        (["--weights=None", "--attack=None"], {"weights": None, "attack": None}),
        (["--lrf=0"], {"lrf": 0.0}),
    ],
)
def test_the_articles_spelling_is_taken(
    options: list[str], keys: dict[str, Any], tmp_path: Path
) -> None:
    config = read(tmp_path, {"type": "cifar"}, *options)
    assert {key: getattr(config, key) for key in keys} == keys


@pytest.mark.parametrize(
    ("text", "lr"), [(".01", 0.01), ("1.", 1.0), ("+.5e-1", 0.05), ("1e-3", 1e-3), ("01", 1.0)]
)
def test_a_number_is_one_however_it_is_typed(text: str, lr: float, tmp_path: Path) -> None:
    config = read(tmp_path, {"type": "cifar"}, f"--lr={text}", "--data_path=.01", "--name=True")
    assert (config.lr, config.data_path, config.name) == (lr, ".01", "True")


def test_the_last_of_several_options_wins_and_text_stays_text(tmp_path: Path) -> None:
    config = read(tmp_path, {"type": "cifar"}, "--lr=1", "--lr=2", "--name=2026", "--data_path=1")
    assert (config.lr, config.name, config.data_path) == (2.0, "2026", "1")


def test_a_null_name_is_the_files(tmp_path: Path) -> None:
    assert read(tmp_path, {"type": "cifar", "name": None}).name == "c"
    assert read(tmp_path, {"type": "cifar", "name": "x"}, "--name=null").name == "c"


def test_a_nested_key_is_blamed_where_it_stands(tmp_path: Path) -> None:
    wrong = {"type": "cifar", "attack": FLIP | {"sourc": 1}}
    with pytest.raises(ConfigError, match=r"c\.json: attack: unknown key"):
        read(tmp_path, wrong, "--attack.target=7")
    with pytest.raises(ConfigError, match=r"^command line: attack\.clients: got 9"):
        read(tmp_path, {"type": "cifar", "attack": FLIP}, "--attack.clients=[9]")


@pytest.mark.parametrize(
    ("where", "key", "place"),
    [
        ({"num_clients": "here", "world_size": "there"}, "num_clients", "here"),
        ({"world_size": "there"}, "num_clients", "there"),  # where its value came from
        ({}, "num_clients", "default"),
        ({"partition": "there"}, "shards_per_client", "there"),
        ({"attack": "there"}, "attack.target", "there"),
        ({"attack": "there", "attack.target": "here"}, "attack.target", "here"),
        ({}, "defense", "default"),
    ],
)
def test_a_wrong_key_is_blamed_on_its_place(where: dict[str, str], key: str, place: str) -> None:
    with pytest.raises(ConfigError) as caught, Places(where).named():
        raise WrongKey(key, "got 1, must be 2")
    assert str(caught.value) == f"{place}: {key}: got 1, must be 2"


def test_a_name_taken_from_the_file_is_blamed_on_the_file(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * 101}.json"
    path.write_text('{"type": "cifar"}')
    config, places = read_file(path)
    with pytest.raises(ConfigError, match=r'^config file: name: got "xxx'), places.named():
        check_rules(config)


def test_torchruns_world_size_goes_before_the_key() -> None:
    given = GivenConfig(type="cifar", world_size=2)
    assert (resolve(given).world_size, resolve(given).num_clients) == (2, 2)
    assert (resolve(given, 5).world_size, resolve(given, 5).num_clients) == (5, 5)


def test_a_fraction_that_is_nobody_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    attack = {"name": "label_flip", "fraction": 0.1}
    path.write_text(json.dumps({"type": "cifar", "attack": attack}))
    config, places = read_file(path)
    (warning,) = idle_keys(config, places)
    assert "attack.fraction: has no effect here: 0.1 of 3 clients is nobody" in warning


def test_an_attack_that_scales_by_one_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"type": "cifar", "attack": {"name": "scaling", "factor": 1}}))
    (warning,) = idle_keys(*read_file(path))
    assert warning.endswith("attack.factor: has no effect here: 1 is as long as it is")


def test_a_fraction_from_the_command_line_is_blamed_there(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"type": "cifar", "attack": FLIP}))
    given, places = read_config(
        parse_arguments([f"--config={path}", "--attack.fraction=0.04"]), TABLES
    )
    (warning,) = idle_keys(resolve(given), places)
    assert warning.startswith("command line: attack.fraction: has no effect here: 0.04 of 3")


@pytest.mark.parametrize("kind", ["flower", "folder", "synthetic"])
def test_what_is_for_torchvisions_data_sets_has_no_effect_on_others(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"type": kind, "download": False, "offline_data": "synthetic"}))
    config, places = read_file(path)
    whose = "synthetic" if kind == "synthetic" else "your own"
    reason = f"has no effect here: {whose} images are never fetched nor replaced"
    assert idle_keys(config, places) == [
        f"{path}: {key}: {reason}" for key in ("download", "offline_data")
    ]


def test_clients_and_fraction_replace_each_other(tmp_path: Path) -> None:
    config = read(tmp_path, {"type": "cifar", "attack": FLIP}, "--attack.fraction=0.4")
    assert [attack.fraction for attack in config.attacks] == [0.4]
    (drawn,) = with_drawn_attackers(config).attacks
    assert drawn.fraction is None
    assert len(drawn.clients) == 1
    back = read(
        tmp_path,
        {"type": "cifar", "attack": {"name": "label_flip", "fraction": 1}},
        "--attack.clients=[]",
    )
    assert [(attack.clients, attack.fraction) for attack in back.attacks] == [([], None)]


@pytest.mark.parametrize("attack", [[], [None], [FLIP, 3], [[FLIP]], "label_flip"])
def test_what_is_no_attack_nor_a_list_of_them_is_refused(tmp_path: Path, attack: object) -> None:
    with pytest.raises(ConfigError, match=r'attack: got .*, must be \{"name": \.\.\.\}'):
        read(tmp_path, {"type": "cifar", "attack": attack})


def test_a_list_of_attacks_is_changed_as_a_whole(tmp_path: Path) -> None:
    both = [FLIP, {"name": "scaling", "clients": [1], "factor": None}]
    config = read(tmp_path, {"type": "cifar", "attack": both})
    assert [own.name for own in config.attacks] == ["label_flip", "scaling"]
    assert [own.parameters.get("factor", "-") for own in config.attacks] == ["-", None]
    with pytest.raises(ConfigError, match=r"attack\.target: attack is a list of 2, give --attack="):
        read(tmp_path, {"type": "cifar", "attack": both}, "--attack.target=3")
    alone = read(tmp_path, {"type": "cifar", "attack": both}, '--attack=[{"name": "ipm"}]')
    assert [own.name for own in alone.attacks] == ["ipm"]


def test_an_attack_can_be_given_whole_or_piece_by_piece(tmp_path: Path) -> None:
    config = read(tmp_path, {"type": "cifar"}, "--attack.target=7", "--attack.name=label_flip")
    (attack,) = config.attacks
    assert attack.parameters == {"source": 1, "target": 7, "hide": None}
    assert attack.clients == [2]
    assert read(tmp_path, {"type": "cifar", "attack": FLIP}, "--attack=null").attack is None


def test_a_resolved_config_reads_back_as_itself(tmp_path: Path) -> None:
    config = read(tmp_path, {"type": "cifar", "attack": FLIP, "name": "a name"})
    assert read(tmp_path, to_json(config)) == config


def test_a_class_that_the_data_set_lacks_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"type": "cifar", "attack": FLIP | {"target": 10}}))
    config, places = read_file(path)
    message = r"c\.json: attack.target: got 10, .* from 0 \(a\) to 9 \(j\)"
    with pytest.raises(ConfigError, match=message), places.named():
        check_classes(config, list("abcdefghij"))
    check_classes(config, list("abcdefghijk"))
    path.write_text(json.dumps({"type": "cifar", "attack": FLIP | {"source": "all"}}))
    config, places = read_file(path)
    check_classes(config, list("abc"))  # the target, 4 by default, has no effect


def test_more_clients_or_images_than_there_are_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"type": "cifar", "world_size": 9, "num_test": 50}))
    config, places = read_file(path)
    message = r"c\.json: num_clients: got 9, must be at most the 8 training images"
    with pytest.raises(ConfigError, match=message), places.named():
        check_sizes(config, "X", 8, 100)
    with pytest.raises(ConfigError, match="num_test: got 50, must be at most the 49 of X"):
        check_sizes(config, "X", 9, 49)
    check_sizes(config, "X", 9, 50)


def test_points_are_drawn_by_default_of_up_to_ten_clients(tmp_path: Path) -> None:
    assert read(tmp_path, {"type": "cifar", "num_clients": 10}).eval_points == 5
    assert read(tmp_path, {"type": "cifar", "num_clients": 11}).eval_points == 0
    assert read(tmp_path, {"type": "cifar", "num_clients": 11, "eval_points": 2}).eval_points == 2


def test_more_runs_than_images_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"type": "cifar", "partition": "shards", "shards_per_client": 4}))
    config, places = read_file(path)
    message = r"c\.json: shards_per_client: got 4, .*shards_per_client = 12 must be at most the 11"
    with pytest.raises(ConfigError, match=message), places.named():
        check_sizes(config, "X", 11, 1)
    check_sizes(config, "X", 12, 1)


def test_the_first_client_that_is_none_is_named(tmp_path: Path) -> None:
    attack = FLIP | {"clients": [2, 9, 3, 12]}
    with pytest.raises(ConfigError, match="clients: got 9, must be a client, from 0 to 2"):
        read(tmp_path, {"type": "cifar", "attack": attack})


def test_a_name_may_have_one_to_a_hundred_letters(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be 1 to 100 printable"):
        read(tmp_path, {"type": "cifar", "name": ""})
    assert read(tmp_path, {"type": "cifar", "name": "n" * 100}).name == "n" * 100
    with pytest.raises(ConfigError, match="must be 1 to 100 printable"):
        read(tmp_path, {"type": "cifar", "name": "n" * 101})


RESNET = {"model_name": "resnet18", "image_size": 32}
IDLE: dict[str, tuple[object, dict[str, object], dict[str, object]]] = {
    "alpha": (0.1, {}, {"partition": "dirichlet"}),
    "shards_per_client": (3, {}, {"partition": "shards"}),
    "lrf": (0.5, {"local_epochs": 1}, {"local_epochs": 2}),
    "eval_size": (5, {"eval_points": 0}, {"eval_points": 1}),
    "only_0": (True, {"eval_points": 0}, {"eval_points": 1}),
    "image_size": (32, {}, {"type": "folder"}),
    "stem": ("cifar", {}, RESNET | {"type": "folder"}),
    "syncBN": (True, {}, RESNET | {"type": "folder"}),
    "download": (False, {}, {"type": "cifar"}),
    "offline_data": ("synthetic", {"type": "flower"}, {"type": "mnist"}),
}


@pytest.mark.parametrize("key", IDLE)
def test_a_key_is_idle_in_some_settings_and_not_in_others(key: str, tmp_path: Path) -> None:
    value, idle, at_work = IDLE[key]
    for others, expected in ((idle, 1), (at_work, 0)):
        content = {"type": "synthetic"} | others | {key: value}
        (tmp_path / "c.json").write_text(json.dumps(content))
        found = idle_keys(*read_file(tmp_path / "c.json"))
        assert len([line for line in found if f": {key}: has no effect here: " in line]) == expected


def test_sync_batch_norm_of_a_frozen_model_is_idle(tmp_path: Path) -> None:
    content = RESNET | {"type": "folder", "syncBN": True, "freeze_layers": True}
    (tmp_path / "c.json").write_text(json.dumps(content))
    (line,) = idle_keys(*read_file(tmp_path / "c.json"))
    assert line.endswith("syncBN: has no effect here: no batch norm is trained")


def test_an_attack_of_nobody_or_of_length_1_or_too_late_is_idle(tmp_path: Path) -> None:
    cases: list[tuple[dict[str, object], list[str]]] = [
        ({"name": "label_flip", "fraction": 0.1}, ["attack.fraction"]),  # of 4 clients
        ({"name": "label_flip", "fraction": 0.2}, []),
        ({"name": "scaling", "factor": 1}, ["attack.factor"]),
        ({"name": "scaling", "factor": 2}, []),
        ({"name": "sign_flip", "factor": 1}, []),
        ({"name": "label_flip", "start_round": 11}, ["attack.start_round"]),
        ({"name": "label_flip", "start_round": 10}, []),
    ]
    for attack, keys in cases:
        content = {"type": "cifar", "num_clients": 4, "attack": attack}
        (tmp_path / "c.json").write_text(json.dumps(content))
        found = idle_keys(*read_file(tmp_path / "c.json"))
        assert [line.split(": ")[1] for line in found] == keys, attack


def test_a_key_without_effect_is_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    attack = FLIP | {"start_round": 11}
    path.write_text(
        json.dumps({"type": "synthetic", "alpha": 0.1, "download": True, "attack": attack})
    )
    config, places = read_file(path)
    first, second = idle_keys(config, places)
    assert "alpha: has no effect here: partition is iid" in first
    assert "start_round: comes after the last round" in second


def test_a_parameter_without_a_default_must_be_given(tmp_path: Path) -> None:
    def nudge(labels: object, setting: object, *, far: int, wide: int, deep: int = 3) -> None: ...

    path = tmp_path / "c.json"
    tables = {**TABLES, "attack": {"nudge": nudge}}
    path.write_text(json.dumps({"type": "cifar", "attack": {"name": "nudge"}}))
    with pytest.raises(ConfigError, match=r"attack\.far: is missing, nudge needs it"):
        read_config(Arguments(config=str(path)), tables)
    path.write_text(json.dumps({"type": "cifar", "attack": {"name": "nudge", "far": 1}}))
    with pytest.raises(ConfigError, match=r"attack\.wide: is missing, nudge needs it"):
        read_config(Arguments(config=str(path)), tables)
    path.write_text(json.dumps({"type": "cifar", "attack": {"name": "nudge", "far": 1, "wide": 2}}))
    config, _ = read_config(Arguments(config=str(path)), tables)
    assert config.attack is not None
    assert [attack.parameters for attack in config.attack] == [{"far": 1, "wide": 2, "deep": 3}]
