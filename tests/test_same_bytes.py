"""The result does not depend on the number of processes, on real processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers import read_rows, rows_without_times, run_module, write_config

ATTACK = {"name": "label_flip", "clients": [1, 4], "source": 1, "target": 4}
CASES = {
    "iid, all, no attack": ("net", {"num_clients": 5}),
    "dirichlet, sampled, attacked": (
        "net",
        {"num_clients": 7, "clients_per_round": 4, "partition": "dirichlet", "attack": ATTACK},
    ),
    "dirichlet, all, attacked, batch norm": (
        "norm",
        {"num_clients": 5, "partition": "dirichlet", "attack": ATTACK},
    ),
    "quantity, the settings that papers use, batch norm": (
        "norm",
        {
            "num_clients": 5,
            "partition": "quantity",
            "optimizer": {"name": "sgd"},
            "proximal_mu": 0.1,
            "schedule": {"name": "cosine_rounds"},
            "server": {"name": "adam"},
            "defense": {"name": "median"},
        },
    ),
    "attackers hide or see the others, behind nnm, with a memory, batch norm": (
        "norm",
        {
            "num_clients": 6,
            "attack": [
                {"name": "label_flip", "clients": [1], "hide": "class_mean"},
                {"name": "alie", "clients": [2, 4], "z": 1.5},
                {"name": "scaling", "clients": [1], "factor": None, "start_round": 2},
            ],
            "defense": {"name": "centered_clipping", "tau": 1.0, "steps": 2, "pre": "nnm"},
        },
    ),
    "attackers drawn in each round see the others, behind buckets, with noise": (
        "net",
        {
            "num_clients": 7,
            "clients_per_round": 5,
            "attack": {"name": "min_sum", "fraction": 0.4, "sample_clients": "each_round"},
            "defense": {"name": "norm_clipping", "sigma": 0.001, "pre": "bucketing"},
        },
    ),
    "attackers see the others under the mean": (
        "net",
        {"num_clients": 5, "attack": {"name": "ipm", "clients": [0, 3], "every": 2}},
    ),
    "dropout": ("net", {"num_clients": 4, "model_name": "mnist_net"}),
    "iid, sampled, no attack, batch norm": ("norm", {"num_clients": 6, "clients_per_round": 3}),
}


# what others of the cases hold as well
ONCE_MORE = {"iid, all, no attack", "dirichlet, sampled, attacked", "dropout"}
PARAMETERS = [
    pytest.param(*case, id=name, marks=[pytest.mark.slow] if name in ONCE_MORE else [])
    for name, case in CASES.items()
]


@pytest.mark.parametrize(("model", "keys"), PARAMETERS)
def test_world_sizes_1_to_4_give_the_same_bytes(
    model: str, keys: dict[str, object], data_path: Path, tmp_path: Path
) -> None:
    config = write_config(tmp_path, data_path=str(data_path), global_epochs=2, name="same", **keys)
    done = run_module("tests.each_world_size", model, str(config), str(tmp_path), timeout=120)
    assert done.returncode == 0, done.stderr
    runs = [tmp_path / f"on{world_size}" for world_size in (1, 2, 3, 4)]
    models = {(run / "model.pth").read_bytes() for run in runs}
    assert len(models) == 1
    assert all(rows_without_times(run) == rows_without_times(runs[0]) for run in runs)
    clients = [row["client"] for row in read_rows(runs[0], "client") if row["round"] == 1]
    assert len(clients) == keys.get("clients_per_round", keys["num_clients"])
    assert clients == sorted(clients)
