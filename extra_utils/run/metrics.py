"""metrics.jsonl: one JSON object a line. What its rows hold, how they are written and read back.

Accuracies, recalls and rates are in percent; what is not defined, or not finite, is null.
"""

import contextlib
import hashlib
import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from extra_utils.basics.errors import ConfigError
from extra_utils.basics.files import naming, write_whole
from extra_utils.config.values import Count, CountOrZero, Fraction, Range, check_value

Row = dict[str, Any]
Percent = Annotated[float, Range(0, 100)]
Real = Annotated[float, Range(-3.4e38, 3.4e38)]  # float32's

FILE_NAME = "metrics.jsonl"
ROOT = Path(__file__).parents[2]
SOURCES = ("*.py", "extra_utils/**/*.py", "federal_defense/**/*.py")
PACKAGES = ("torch", "torchvision", "numpy")
SUMMARY_ROUNDS = 3
RATES = ("accuracy", "loss", "source_recall", "attack_success_rate")
AVERAGED = (*RATES, "backdoor_success_rate", "detection")  # over the last rounds: the summary
SCHEMA: dict[str, dict[str, tuple[Any, str]]] = {  # of each key: its values, and their meaning
    "run": {
        "dataset": (str, "the data set's name"),
        "synthetic": (bool, "whether it is the built-in synthetic one"),
        "num_train": (Count, "training images of all clients"),
        "num_test": (Count, "test images"),
        "num_params": (Count, "the model's parameters"),
        "class_names": (list[str], "by class number"),
        "shard_sizes": (list[CountOrZero], "training images of each client"),
        "class_counts": (list[list[CountOrZero]], "training images of each client by class"),
        "threads_per_process": (Count, "torch threads of each rank"),
        "versions": (dict, "of `python`, packages, git `commit`, and a digest of the `sources`"),
        "warnings": (list[str], "and notes, as they were said before the run began"),
    },
    "point": {
        "round": (Count, "in which a local model trains"),
        "client": (CountOrZero, "whose model it is"),
        "epoch": (Count, "of the round, from 1"),
        "step": (Count, "batches since the round began"),
        "loss": (Real | None, "mean per batch since the point before"),
        "accuracy": (Percent, "of the local model on the test images"),
    },
    "client": {
        "round": (Count, "that the client trained in"),
        "client": (CountOrZero, "its number"),
        "num_samples": (Count, "its training images"),
        "edited_labels": (CountOrZero, "those that the attack gave another label"),
        "train_loss": (Real | None, "mean per batch over the round"),
        "class_mean": (list[Real], "its row of the weight matrix, one number for each class"),
        "attacker": (bool, "whether it attacked in this round"),
        "flagged": (bool | None, "whether the rule left it out; null by a rule that never does"),
        "weight": (Fraction | None, "its share in the new model; null by a rule that gives none"),
    },
    "round": {
        "round": (CountOrZero, "after which this is the global model; 0 is before training"),
        "accuracy": (Percent, "of the global model on the whole test set"),
        "loss": (Real | None, "mean cross-entropy of a test image"),
        "recall": (list[Percent | None], "of each class"),
        "source_recall": (Percent | None, "test images of the attacked class still recognised"),
        "attack_success_rate": (Percent | None, "test images of it taken for the attack's target"),
        "backdoor_success_rate": (Percent | None, "stamped images taken for the backdoor's target"),
        "detection": (dict, "`precision`: flagged who attack; `recall`: attackers flagged"),
        "unchanged": (bool, "whether the rule left every client out: the model is as it was"),
        "misreported": (list[CountOrZero] | None, "classes of which means are not as reported"),
        "bytes_per_rank": (CountOrZero, "what rank 0 put on the wire in this round"),
        "seconds": (dict, "of rank 0: `train`, `aggregate`, `evaluate`, `save`, which sum to it"),
    },
}
SCHEMA["summary"] = {key: SCHEMA["round"][key] for key in AVERAGED} | {
    "confusion_matrix": (list[list[CountOrZero]], "of the final model: a row by true class")
}
READ = {  # what readers rely on; rows of older runs may lack the other keys
    "run": ("dataset", "synthetic", "class_names", "class_counts"),
    "point": ("round", "client", "step", "loss", "accuracy"),
    "client": ("round", "client", "class_mean", "attacker", "flagged"),
    "round": ("round", *RATES),
    "summary": (*RATES, "confusion_matrix"),
}


def make_row(kind: str, /, **values: Any) -> Row:
    """A row as it will be read back, its keys in the schema's order."""
    keys = SCHEMA[kind].keys()
    assert values.keys() == keys, f"{kind}: {values.keys() ^ keys}"
    text = json.dumps({"kind": kind, **{key: values[key] for key in keys}})
    return json.loads(text, parse_constant=lambda _: None)  # JSON has no NaN and no Infinity


def round_text(row: Row) -> str:
    """A round's figures in a few words."""
    loss = "not finite" if row["loss"] is None else f"{row['loss']:.3f}"
    texts = [f"accuracy {row['accuracy']:.2f} %", f"loss {loss}"]
    rates = {"source_recall": "source recall", "attack_success_rate": "attack success"}
    texts += [f"{name} {row[key]:.1f} %" for key, name in rates.items() if row[key] is not None]
    return "  ".join(texts)


def append_rows(run_dir: Path, rows: list[Row]) -> None:
    """On disk when this returns. OSError where the file is gone: a new one would lack old rows."""
    path = run_dir / FILE_NAME
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    with naming(path), path.open("r+b") as file:
        file.seek(0, os.SEEK_END)
        file.write(lines.encode())
        file.flush()
        os.fsync(file.fileno())  # before the checkpoint that counts on these rows


def cut_metrics(run_dir: Path, round_index: int) -> list[Row]:
    """Cuts off what came after a round, so a line that is not whole, too; returns what stays."""
    path = run_dir / FILE_NAME
    rows, problems = read_metrics(run_dir, round_index) if path.is_file() else ([], [])
    if problems:
        raise ConfigError(problems[0])
    if round_index not in [row["round"] for row in rows if row["kind"] == "round"]:
        raise ConfigError(f"{path}: lacks round {round_index}, which the checkpoint has")
    lines = path.read_bytes().splitlines()[: len(rows)]
    write_whole(path, b"".join(line + b"\n" for line in lines))
    return rows


def read_metrics(run_dir: Path, last_round: int | None = None) -> tuple[list[Row], list[str]]:
    """The rows up to a round's, and what is wrong with other lines. OSError without a file."""
    path, num_classes = run_dir / FILE_NAME, None
    rows, problems = list[Row](), list[str]()
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            row = _read_row(f"{path}: line {number}", line, num_classes)
        except ConfigError as problem:
            problems.append(str(problem))
            continue
        rows.append(row)
        num_classes = len(row["class_names"]) if row["kind"] == "run" else num_classes
        if row["kind"] == "round" and row["round"] == last_round:
            break
    return rows, problems


def _read_row(where: str, line: bytes, num_classes: int | None) -> Row:
    """A ConfigError for a row that cannot be read, or is of another number of classes."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ConfigError(f"{where}: is not JSON, or cut off") from None
    if not isinstance(row, dict) or row.get("kind") not in list(SCHEMA):  # it may be anything
        raise ConfigError(f"{where}: is no row of a kind that is known")
    read = READ[row["kind"]]
    for key in read:
        if key not in row:
            raise ConfigError(f"{where}: {key}: is missing")
        check_value(where, key, row[key], SCHEMA[row["kind"]][key][0])
    if row["kind"] == "run":
        num_classes = len(row["class_names"])
        if not (num_classes and row["class_counts"]):
            raise ConfigError(f"{where}: names no class or no client")
    lists = [row[k] for k in ("class_mean", "confusion_matrix") if k in read]
    lists += [own for k in ("class_counts", "confusion_matrix") if k in read for own in row[k]]
    if any(len(own) != num_classes for own in lists):
        raise ConfigError(f"{where}: a list has not one entry for each class")
    return row


def versions(root: Path = ROOT) -> dict[str, str]:
    """Of all that a figure may depend on; no commit where there is no checkout, or no git."""
    found = {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
    command = ["git", f"--git-dir={root / '.git'}", "rev-parse", "--verify", "--quiet", "HEAD"]
    with contextlib.suppress(OSError):
        if commit := subprocess.run(command, capture_output=True, text=True).stdout.strip():
            found["commit"] = commit
    return found | {"sources": digest_of(root)}


def digest_of(root: Path = ROOT) -> str:
    """Of the names and contents of all sources but the tests, wherever the project lies."""
    digest = hashlib.sha256()
    paths = (path for pattern in SOURCES for path in root.glob(pattern))
    for path in sorted(paths, key=Path.as_posix):
        name, content = path.relative_to(root).as_posix(), path.read_bytes()
        digest.update(f"{name}\n{len(content)}\n".encode() + content)
    return digest.hexdigest()[:12]
