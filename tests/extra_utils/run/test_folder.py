"""A run's folder is new, or refused."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from extra_utils.basics.errors import ConfigError
from extra_utils.config.keys import HINTS, ChoiceConfig, to_json
from extra_utils.config.reader import Arguments, parse_arguments
from extra_utils.run.folder import make_run_folder, read_resumed, run_folder, staying
from federal_defense.rules.table import TABLES
from tests.helpers import make_config

CONFIG = make_config(type="cifar", name="mine")


def test_folders_of_one_second_have_different_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.strftime", lambda _: "20260102-030405")
    config = make_config(type="cifar", name="mine", output_dir=str(tmp_path / "out"))
    names = [make_run_folder(config, None).name for _ in range(3)]
    assert names == ["mine-20260102-030405", "mine-20260102-030405-2", "mine-20260102-030405-3"]


def test_an_empty_folder_is_taken_and_a_full_one_refused(tmp_path: Path) -> None:
    assert make_run_folder(CONFIG, str(tmp_path)) == tmp_path
    (tmp_path / "x").touch()
    with pytest.raises(ConfigError, match="which is not empty"):
        make_run_folder(CONFIG, str(tmp_path))


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"run_dir: got .*file/run: cannot be made"):
        make_run_folder(CONFIG, str(tmp_path / "file" / "run"))
    config = make_config(type="cifar", name="mine", output_dir=str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"output_dir: .*cannot be made"):
        make_run_folder(config, None)


def test_a_run_that_cannot_go_on_keeps_its_config(tmp_path: Path) -> None:
    run_dir = tmp_path / "r"
    with run_folder(CONFIG, {}, Arguments(run_dir=str(run_dir)), is_restart=False):
        before = (run_dir / "config.json").read_bytes()
    (run_dir / "checkpoint.pth").write_bytes(b"cut off")
    longer = make_config(type="cifar", name="mine", global_epochs=99)
    resume = run_folder(longer, {}, Arguments(resume=str(run_dir)), is_restart=False)
    with pytest.raises(ConfigError, match="is no whole checkpoint"), resume:
        pass
    assert (run_dir / "config.json").read_bytes() == before


def test_paths_of_a_run_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for weights, stays in (("w.pth", str(tmp_path / "w.pth")), ("imagenet", "imagenet")):
        config = make_config(name="mine", weights=weights, model_name="resnet18")
        with run_folder(config, {}, Arguments(run_dir=weights[:2]), is_restart=False) as (_, job):
            assert job is not None
            paths = (job.config.data_path, job.config.output_dir, job.config.weights)
            assert paths == (str(tmp_path / "data"), str(tmp_path / "runs"), stays)


MAY_CHANGE = {
    "global_epochs": 11,
    "world_size": 2,
    "timeout_s": 5.0,
    "checkpoint_every": 3,
    "data_path": "elsewhere",
    "output_dir": "there",
}
MUST_STAY = {
    "name": "other", "comment": "x", "type": "synthetic", "download": "false", "image_size": 32,
    "offline_data": "synthetic", "num_train": 90, "num_test": 90, "augment": "false",
    "model_name": "mnist_net", "weights": "w.pth", "freeze_layers": "true", "stem": "cifar",
    "syncBN": "true", "num_clients": 4, "clients_per_round": 2, "partition": "dirichlet",
    "alpha": 2, "shards_per_client": 3, "local_epochs": 3, "batch_size": 8, "lr": 0.5,
    "lrf": 0.5, "eval_points": 1, "eval_size": 9, "only_0": "true", "seed": 1,
    "attack.target": 5, "defense": '{"name": "median"}', "threads_per_process": 2,
    "optimizer": '{"name": "sgd"}', "schedule": '{"name": "constant"}', "proximal_mu": 1,
    "server": '{"name": "yogi"}', "norm": "group", "coarse_labels": "true",
    "classes_per_client": 3, "secure_aggregation": "true", "neighbours": 2,
}  # fmt: skip


def test_what_may_change_when_a_run_goes_on_changes_and_all_else_must_stay(tmp_path: Path) -> None:
    assert {key.partition(".")[0] for key in MAY_CHANGE | MUST_STAY} == HINTS.keys()
    attack = {"name": "label_flip", "clients": [0]}
    stored = to_json(CONFIG) | {"attack": attack}
    (tmp_path / "config.json").write_text(json.dumps(stored))
    for key, value in MAY_CHANGE.items():
        options = [f"--resume={tmp_path}", f"--{key}={value}"]
        given, _ = read_resumed(parse_arguments(options), TABLES)
        assert getattr(given, key) == value
    for key, text in MUST_STAY.items():
        options = [f"--resume={tmp_path}", f"--{key}={text}"]
        top = key.partition(".")[0]
        with pytest.raises(ConfigError, match=rf"^command line: {top}(\.\w+)?: got .*, must stay "):
            read_resumed(parse_arguments(options), TABLES)


def test_of_a_choice_that_must_stay_the_changed_key_is_told(tmp_path: Path) -> None:
    schedule = {"name": "step_rounds", "milestones": [3], "gamma": 0.5}
    (tmp_path / "config.json").write_text(json.dumps(to_json(CONFIG) | {"schedule": schedule}))
    for option, told in (
        ("--schedule.gamma=0.1", r"schedule\.gamma: got 0\.1, must stay 0\.5 when"),
        (
            "--schedule.name=constant",
            r'schedule\.name: got "constant", must stay "step_rounds" when',
        ),
        ("--server.lr=2", r"server\.lr: got 2\.0, must stay 1\.0 when"),
    ):
        arguments = parse_arguments([f"--resume={tmp_path}", option])
        with pytest.raises(ConfigError, match=f"^command line: {told}"):
            read_resumed(arguments, TABLES)


def test_a_cosine_over_all_rounds_keeps_their_number(tmp_path: Path) -> None:
    for name, may_grow in (("cosine_rounds", False), ("constant", True)):
        stored = to_json(CONFIG) | {"schedule": {"name": name}}
        (tmp_path / "config.json").write_text(json.dumps(stored))
        arguments = parse_arguments([f"--resume={tmp_path}", "--global_epochs=99"])
        must = "global_epochs: got 99, must stay 10 when a run goes on; only world_size, timeout_s"
        how = contextlib.nullcontext() if may_grow else pytest.raises(ConfigError, match=must)
        with how:
            read_resumed(arguments, TABLES)
        assert ("global_epochs" in staying(replace(CONFIG, schedule=ChoiceConfig(name=name)))) == (
            not may_grow
        )
