"""Wrong configs and mangled run folders by the thousand: one line each, never a traceback."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from matplotlib.figure import Figure

import main
from extra_utils.config.values import LARGEST_COUNT
from extra_utils.plots import __main__ as command
from extra_utils.plots import comparison as compared
from extra_utils.plots import draw as plots

RIGHT = {
    "type": "cifar",
    "download": False,
    "attack": {"name": "label_flip", "clients": [0], "source": 1, "target": 4},
}
WHOLE_NUMBERS = (
    "image_size", "num_train", "num_test", "world_size", "num_clients", "clients_per_round",
    "shards_per_client", "global_epochs", "local_epochs", "batch_size", "eval_points",
    "eval_size", "seed", "threads_per_process", "checkpoint_every",
)  # fmt: skip
NUMBERS = ("alpha", "lr", "lrf", "timeout_s")
SWITCHES = ("download", "augment", "freeze_layers", "syncBN", "only_0")
CHOICES = ("type", "model_name", "partition", "stem", "offline_data")
TEXTS = ("name", "comment", "data_path", "weights", "output_dir")

texts = st.text(st.characters(codec=None), max_size=20)  # halves of surrogate pairs too
numbers = st.one_of(st.integers(), st.floats(), st.sampled_from([10**400, -(10**40), 1e308, -0.0]))
containers = st.one_of(
    st.lists(st.one_of(texts, numbers, st.none()), max_size=3),
    st.dictionaries(texts, numbers, max_size=3),
)
not_text = st.one_of(st.booleans(), numbers, containers)
not_number = st.one_of(st.booleans(), texts, containers)
bad_number = st.one_of(
    not_number, st.just(0.5), st.integers(max_value=-1), st.integers(min_value=LARGEST_COUNT + 1),
    st.sampled_from([float("nan"), float("inf"), -float("inf")]),
)  # fmt: skip


def pairs(keys: tuple[str, ...], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A key of these, a wrong value for it, and what the message must name."""
    return st.tuples(st.sampled_from(keys), values).map(lambda p: ({**RIGHT, p[0]: p[1]}, p[0]))


def in_attack(change: dict[str, Any], named: str) -> tuple[dict[str, Any], str]:
    return {**RIGHT, "attack": {**RIGHT["attack"], **change}}, named  # type: ignore[dict-item]


def is_known(key: str) -> bool:
    return key in (*WHOLE_NUMBERS, *NUMBERS, *SWITCHES, *CHOICES, *TEXTS, "attack", "defense")


wrong_objects = st.one_of(
    pairs(WHOLE_NUMBERS, bad_number),
    pairs(NUMBERS, st.one_of(not_number, st.integers(max_value=0), st.just(1e7))),
    pairs(SWITCHES, st.one_of(st.none(), texts, numbers, containers)),
    pairs(CHOICES, st.one_of(st.booleans(), numbers, containers, texts.map(lambda t: t + "!"))),
    pairs(TEXTS, not_text),
    pairs(("attack", "defense"), st.one_of(st.booleans(), texts, numbers, containers)),
    pairs(("name",), texts.map(lambda text: f"../{text}")),
    texts.filter(lambda key: not is_known(key)).map(lambda key: ({**RIGHT, key: 1}, "unknown key")),
    st.one_of(bad_number, texts).map(lambda v: in_attack({"source": v}, "attack.source")),
    st.one_of(not_text, texts).map(lambda v: in_attack({"name": v}, "attack.name")),
    st.one_of(texts, st.integers(), st.lists(bad_number, min_size=1)).map(
        lambda v: in_attack({"clients": v}, "attack.clients")
    ),
    st.integers(3, 10**9).map(lambda v: in_attack({"clients": [v]}, "attack.clients")),
)
wrong_files = st.one_of(
    st.binary(max_size=60),
    texts.map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.integers(0, len(json.dumps(RIGHT)) - 1).map(lambda n: json.dumps(RIGHT)[:n].encode()),
    st.integers(200, 200_000).map(lambda n: b"[" * n),
    st.integers(1, 2000).map(lambda n: b'{"attack":' * n + b"1" + b"}" * n),
    st.integers(5000, 6000).map(lambda n: b'{"seed": ' + b"9" * n + b"}"),
    st.sampled_from(WHOLE_NUMBERS).map(lambda key: f'{{"{key}": 1, "{key}": 2}}'.encode()),
    containers.map(lambda value: json.dumps([value]).encode()),
)
MANY = settings(
    max_examples=1200, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


def complaint_of(path: Path) -> str:
    """What main.py says of a config: one line and status 2."""
    err, out = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
        status = main.main([f"--config={path}"])
    assert status == 2
    assert out.getvalue() == ""
    assert re.fullmatch(r"error: [^\n]+\n", err.getvalue())
    return err.getvalue()


@MANY
@given(wrong=wrong_objects)
def test_a_wrong_value_is_named_in_one_line(wrong: tuple[dict[str, Any], str]) -> None:
    config, named = wrong
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.json"
        path.write_text(json.dumps(config))
        complaint = complaint_of(path)
    assert named in complaint or "is not a number that JSON knows" in complaint
    assert complaint.startswith(f"error: {path}")


@MANY
@given(content=wrong_files)
def test_a_file_that_is_no_config_is_refused_in_one_line(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "c.json"
        path.write_bytes(content)
        assert complaint_of(path).startswith(f"error: {path}")


def mangle(lines: list[bytes], draw: st.DataObject) -> list[bytes]:
    """Cuts, doubles, swaps, drops and changes lines of metrics.jsonl."""
    for _ in range(draw.draw(st.integers(1, 6))):
        place = draw.draw(st.integers(0, len(lines) - 1))
        line = lines[place]
        how = draw.draw(st.sampled_from(["cut", "bytes", "value", "drop", "double", "swap", "row"]))
        if how == "cut":
            lines[place] = line[: draw.draw(st.integers(0, len(line)))]
        elif how == "bytes":
            lines[place] = line[:5] + draw.draw(st.binary(max_size=20)) + line[5:]
        elif how == "drop" and len(lines) > 1:
            del lines[place]
        elif how == "double":
            lines.insert(place, line)
        elif how == "swap":
            lines[place], lines[0] = lines[0], lines[place]
        elif how == "row":
            lines[place] = json.dumps(draw.draw(st.one_of(containers, numbers, texts))).encode()
        elif how == "value":
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    key = draw.draw(st.sampled_from(sorted(row)))
                    row[key] = draw.draw(st.one_of(numbers, texts, st.none(), containers))
                    lines[place] = json.dumps(row).encode()
    return lines


@pytest.mark.parametrize("number", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_of_a_mangled_run_what_is_whole_is_drawn(
    number: int, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @settings(MANY, max_examples=number)
    @given(draw=st.data())
    def check(draw: st.DataObject) -> None:
        draw_what_is_whole(draw, finished_run, monkeypatch)

    check()


def draw_what_is_whole(
    draw: st.DataObject, finished_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def save(figure: Figure, path: Path) -> None:
        figure.draw_without_rendering()
        drawn.append(path.name)

    for module in (plots, compared):
        monkeypatch.setattr(module, "save", save)
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "r"
        run_dir.mkdir()
        for name in ("config.json", "metrics.jsonl"):
            shutil.copy(finished_run / name, run_dir / name)
        lines = mangle((run_dir / "metrics.jsonl").read_bytes().splitlines(), draw)
        (run_dir / "metrics.jsonl").write_bytes(b"\n".join(lines))
        if draw.draw(st.booleans()):
            config = json.loads((run_dir / "config.json").read_text())
            config[draw.draw(st.sampled_from(["name", "attack", "seed"]))] = draw.draw(not_text)
            (run_dir / "config.json").write_text(json.dumps(config))
        err, out = io.StringIO(), io.StringIO()
        with contextlib.redirect_stderr(err), contextlib.redirect_stdout(out):
            status = command.main([str(run_dir)])
            both = command.main([str(run_dir), str(finished_run)])
    assert status == both
    if status == 0:
        assert {"accuracy.png", "loss.png", "partition.png", "comparison.png"} <= set(drawn)
        assert all(line.startswith("note: ") for line in err.getvalue().splitlines())
    else:
        assert status == 2
        assert err.getvalue().splitlines()[0].startswith(f"error: {run_dir}: its run cannot be")
