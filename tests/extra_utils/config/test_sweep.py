"""Sweeps: which keys have several values, what each run is called, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from extra_utils.basics.errors import ConfigError
from extra_utils.config.reader import parse_arguments, read_choice
from extra_utils.config.sweep import Sweep, baseline_of, read_sweep, text_of, values_of
from federal_defense.rules.table import TABLES

TRIMMED = {"name": "trimmed_mean", "beta": 0.4}
FLIP = {"name": "label_flip", "clients": [2]}


def read(folder: Path, *options: str, **keys: Any) -> Sweep | None:
    path = folder / "c.json"
    path.write_text(json.dumps({"type": "synthetic"} | keys))
    return read_sweep(parse_arguments([f"--config={path}", *options]))


def found(folder: Path, *options: str, **keys: Any) -> Sweep:
    sweep = read(folder, *options, **keys)
    assert sweep is not None
    return sweep


def names(sweep: Sweep) -> list[str]:
    return [combination.name for combination in sweep.combinations]


def test_every_combination_is_a_run_seed_by_seed(tmp_path: Path) -> None:
    options = ["--defense.name=mean,krum", "--seed=0,7", "--attack.fraction=0.1,0.4", "--lr=0.1"]
    sweep = found(tmp_path, *options, attack=FLIP)
    pairs = [(rule, share) for rule in ("mean", "krum") for share in (0.1, 0.4)]
    first = [f"defense={rule},attack.fraction={share},seed=0" for rule, share in pairs]
    assert names(sweep) == [*first, *(name.replace("seed=0", "seed=7") for name in first)]
    _, choice, shown = sweep.combinations[-1]
    assert choice == {"defense.name": "krum", "seed": 7, "attack.fraction": 0.4, "lr": 0.1}
    assert shown == {"defense.name": "krum", "attack.fraction": "0.4"}
    given, places = read_choice(sweep.path, choice, sweep.where, TABLES)
    assert given.attack is not None
    assert (given.seed, given.lr, given.attack[0].fraction, given.defense.name) == (
        7,
        0.1,
        0.4,
        "krum",
    )
    assert (places.of("seed"), places.of("type")) == ("command line", str(sweep.path))


def test_lists_in_the_file_may_be_of_objects(tmp_path: Path) -> None:
    own = {"seed": [0, 1], "defense": [{"name": "mean"}, TRIMMED]}
    sweep = found(tmp_path, sweep=own)
    rules = ("mean", "trimmed_mean-beta=0.4")
    assert names(sweep) == [f"defense={rule},seed={seed}" for seed in (0, 1) for rule in rules]
    given, places = read_choice(sweep.path, sweep.combinations[1].choice, sweep.where, TABLES)
    assert given.defense.parameters == {"beta": 0.4}
    assert places.of("defense.beta") == f"{sweep.path}: sweep"


def test_the_command_line_stands_before_the_files_lists(tmp_path: Path) -> None:
    own = {"seed": [0, 1], "defense": [{"name": "mean"}, TRIMMED], "attack.clients": [[0], [1, 2]]}
    assert names(found(tmp_path, "--seed=5", "--attack.fraction=0.2", sweep=own)) == [
        "defense=mean",
        "defense=trimmed_mean-beta=0.4",
    ]
    by_name = found(tmp_path, "--defense.name=krum,median", sweep=own)
    assert names(by_name)[0] == "attack.clients=_0_,defense=krum,seed=0"
    parameter = found(tmp_path, "--defense.beta=0.3", sweep={"defense": [TRIMMED]}, attack=None)
    (only,) = parameter.combinations
    given, _ = read_choice(parameter.path, only.choice, parameter.where, TABLES)
    assert (only.name, given.defense.parameters) == ("run", {"beta": 0.3})


def test_what_is_one_value_is_no_sweep(tmp_path: Path) -> None:
    """A list, a path and a comment may have commas of their own."""
    one = ["--attack.clients=[0, 1]", "--data_path=a,b", "--comment=so, and so", "--name=x,y"]
    assert read(tmp_path, *one, "--seed=3", attack=FLIP) is None
    assert read(tmp_path, '--defense={"name": "krum", "f": 2}') is None
    objects = found(tmp_path, '--defense={"name": "krum", "f": 2},{"name": "mean"}')
    assert names(objects) == ["defense=krum-f=2", "defense=mean"]
    assert names(found(tmp_path, "--lr= 0.1 , 1e-3")) == ["lr=0.1", "lr=0.001"]


@pytest.mark.parametrize(
    ("options", "keys", "message"),
    [
        ([], {"sweep": {}}, "c.json: sweep: got {}, must be lists by key"),
        ([], {"sweep": [1]}, "c.json: sweep: got [1], must be lists by key"),
        ([], {"sweep": {"seed": []}}, "c.json: sweep: seed: got [], must be a list of one or more"),
        ([], {"sweep": {"seed": 3}}, "c.json: sweep: seed: got 3, must be a list of one or more"),
        (["--seed=0,"], {}, 'command line: seed: got "0,", must have a value on both sides'),
        (["--seed=0,1,0"], {}, "seed: got [0, 1, 0], of which two would name a run seed=0"),
        ([], {"sweep": {"lr": [0.1, 1e-1]}}, "of which two would name a run lr=0.1"),
        ([], {"sweep": {"world_size": [1, 2]}}, "world_size: got [1, 2], must be one value: the"),
        (["--seed=" + ",".join(map(str, range(1001)))], {}, "these are 1001 runs; --yes starts"),
        (["--jobs=2"], {}, "command line: jobs: is for sweeps"),
        (["--baseline=lr=1", "--seed=3"], {}, "command line: baseline: is for sweeps"),
        ([], {"sweep": {"weights": ["a" * 200, "b"]}}, "must be at most 120 letters long"),
    ],
)
def test_a_wrong_sweep_is_one_line(
    options: list[str], keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, *options, **keys)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_more_than_a_thousand_runs_are_started_by_yes(tmp_path: Path) -> None:
    many = "--seed=" + ",".join(map(str, range(1001)))
    assert len(found(tmp_path, many, "--yes").combinations) == 1001
    assert len(found(tmp_path, many.rpartition(",")[0]).combinations) == 1000


def test_the_baseline_is_as_given_or_the_first_rule_or_the_first_value(tmp_path: Path) -> None:
    sweep = found(tmp_path, "--lr=0.1,0.2", "--seed=0,1", "--defense.name=krum,mean")
    assert baseline_of(sweep, None) == ("defense.name", "krum")
    assert baseline_of(sweep, "lr=0.2") == ("lr", "0.2")
    with pytest.raises(ConfigError, match=r'got "lr=3", must be one of .*lr=0.1, lr=0.2'):
        baseline_of(sweep, "lr=3")
    assert baseline_of(found(tmp_path, "--lr=0.1,0.2"), None) == ("lr", "0.1")
    seeds = found(tmp_path, "--seed=0,1")
    assert baseline_of(seeds, None) is None
    with pytest.raises(ConfigError, match="goes with keys beside the seed"):
        baseline_of(seeds, "seed=0")
    objects = found(tmp_path, sweep={"defense": [TRIMMED, {"name": "mean"}]})
    assert baseline_of(objects, "defense.name=mean") == ("defense", "mean")
    assert baseline_of(objects, None) == ("defense", "trimmed_mean-beta=0.4")


def test_stored_it_is_a_config_that_means_the_same_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = found(tmp_path, "--seed=0,1", "--lr=0.5", lr=0.1, sweep={"weights": ["w.pth", None]})
    stored = sweep.to_json()
    assert stored == {
        "name": "c",
        "data_path": str(tmp_path / "data"),
        "type": "synthetic",
        "sweep": {"weights": [str(tmp_path / "w.pth"), None], "seed": [0, 1], "lr": [0.5]},
    }
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "sweep.json").write_text(json.dumps(stored))
    again = read_sweep(parse_arguments([f"--resume={tmp_path / 's'}", "--jobs=3"]))
    assert again is not None
    assert [own.choice["lr"] for own in again.combinations] == 4 * [0.5]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"), (None, "null"), (0.5, "0.5"), ("a/b c", "a_b_c"), ([1, 2], "_1_2_"),
        ({"name": "krum", "f": 1}, "krum-f=1"), ("Größe.1", "Größe.1"),
    ],
)  # fmt: skip
def test_a_value_in_a_folders_name(value: object, text: str) -> None:
    assert text_of(value) == text


def test_lists_have_commas_of_their_own() -> None:
    assert values_of("attack.clients", "[0,1],[2]") == [[0, 1], [2]]
    assert values_of("attack.clients", "[0,1]") == [[0, 1]]
    both = '[{"name": "dba"}, {"name": "scaling"}]'
    assert values_of("attack", both) == [[{"name": "dba"}, {"name": "scaling"}]]
    assert values_of("attack", both + ",null") == [[{"name": "dba"}, {"name": "scaling"}], None]
    assert values_of("attack.hide", "null,class_mean") == [None, "class_mean"]
    assert values_of("comment", "[0],[1]") == ["[0],[1]"]
