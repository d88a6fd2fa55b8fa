"""Attacks and defences from the command line on real ranks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.helpers import read_rows, run_tiny


def test_a_backdoor_is_learned_from_two_of_three_clients(tmp_path: Path, data_path: Path) -> None:
    attack = {"name": "backdoor", "clients": [0, 2], "target": 0, "share": 0.8, "size": 8}
    run_dir = run_tiny(tmp_path, data_path, attack=attack, num_train=1200, global_epochs=4,
                       eval_points=0, augment=False)  # fmt: skip
    rates = [row["backdoor_success_rate"] for row in read_rows(run_dir, "round")]
    assert all(0 <= rate <= 100 for rate in rates)
    assert rates[0] < 50 < 90 < rates[-1]  # the patch is easy to learn
    edited = [row["edited_labels"] for row in read_rows(run_dir, "client")[:3]]
    assert edited[1] == 0 < min(edited[0], edited[2])
    rows = read_rows(run_dir, "round")
    assert all(row["source_recall"] is None for row in rows)
    (summary,) = read_rows(run_dir, "summary")
    assert summary["backdoor_success_rate"] == pytest.approx(sum(rates[-3:]) / 3)


def test_a_rule_that_filters_names_whom_it_left_out(tmp_path: Path, data_path: Path) -> None:
    attack = {"name": "label_flip", "clients": [1, 3], "start_round": 2}
    run_dir = run_tiny(tmp_path, data_path, attack=attack, num_clients=5, global_epochs=2,
                       defense={"name": "oracle"}, eval_points=0)  # fmt: skip
    clients = read_rows(run_dir, "client")
    flagged = {(row["round"], row["client"]) for row in clients if row["flagged"]}
    assert flagged == {(2, 1), (2, 3)}
    (run,) = read_rows(run_dir, "run")
    edited = [[row["edited_labels"] for row in clients if row["round"] == n] for n in (1, 2)]
    flipped = [counts[1] if c in (1, 3) else 0 for c, counts in enumerate(run["class_counts"])]
    assert edited == [[0, 0, 0, 0, 0], flipped]
    assert min(flipped[1], flipped[3]) > 0
    weights = [row["weight"] for row in clients if row["round"] == 2]
    assert weights == pytest.approx([1 / 3, 0, 1 / 3, 0, 1 / 3])
    (_, first, second) = read_rows(run_dir, "round")
    assert first["detection"] == {"precision": None, "recall": None}
    assert second["detection"] == {"precision": 100.0, "recall": 100.0}
    assert (run_dir / "detection.png").is_file()


@pytest.mark.slow
def test_a_round_of_which_a_rule_leaves_nobody_changes_nothing(
    tmp_path: Path, data_path: Path
) -> None:
    attack = {"name": "label_flip", "clients": [0, 1, 2], "start_round": 2}
    keys = {
        "attack": attack,
        "model_name": "resnet18",
        "num_train": 30,
        "num_test": 10,
        "batch_size": 8,
        "world_size": 1,
        "num_clients": 3,
    }
    run_dir = run_tiny(tmp_path, data_path, defense={"name": "oracle"}, global_epochs=2,
                       eval_points=0, **keys)  # fmt: skip
    (untrained, first, second) = read_rows(run_dir, "round")
    assert [row["unchanged"] for row in (untrained, first, second)] == [False, False, True]
    for key in ("accuracy", "loss", "recall"):  # batch norm's statistics are the same too
        assert first[key] == second[key]
    assert first["loss"] != untrained["loss"]
    state = torch.load(run_dir / "model.pth", weights_only=True)
    assert state["bn1.num_batches_tracked"] == 2  # round 1's
    clients = [row for row in read_rows(run_dir, "client") if row["round"] == 2]
    assert [(row["weight"], row["flagged"]) for row in clients] == 3 * [(0.0, True)]
    note = "note: round 2: oracle has left out every client, so the model stays as it was\n"
    assert note in (run_dir / "said").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["class_mean", "lfighter"])
def test_label_flippers_are_found_in_a_whole_run(
    name: str, tmp_path: Path, data_path: Path
) -> None:
    attack = {"name": "label_flip", "clients": [1, 4, 6, 8]}
    run_dir = run_tiny(tmp_path, data_path, attack=attack, num_clients=10, defense={"name": name},
                       num_train=3000, batch_size=8, global_epochs=3, local_epochs=1,
                       eval_points=0, augment=False, type="synthetic")  # fmt: skip
    flagged = {(row["round"], row["client"]) for row in read_rows(run_dir, "client")
               if row["flagged"]}  # fmt: skip
    assert flagged == {(number, client) for number in (1, 2, 3) for client in (1, 4, 6, 8)}


@pytest.mark.slow
def test_a_rule_that_leaves_nobody_out_is_the_mean_to_the_byte(
    tmp_path: Path, data_path: Path
) -> None:
    models = []
    for name in ("mean", "oracle"):
        folder = tmp_path / name
        folder.mkdir()
        run_dir = run_tiny(folder, data_path, num_clients=5, defense={"name": name},
                           partition="dirichlet", eval_points=0)  # fmt: skip
        models.append((run_dir / "model.pth").read_bytes())
    assert models[0] == models[1]


def test_attackers_that_see_the_others_send_the_same_under_the_mean_too(
    tmp_path: Path, data_path: Path
) -> None:
    attack = {"name": "alie", "clients": [1, 3], "z": 2.0, "start_round": 2}
    run_dir = run_tiny(tmp_path, data_path, attack=attack, num_clients=4, global_epochs=2,
                       eval_points=0)  # fmt: skip
    rows = read_rows(run_dir, "client")
    for number in (1, 2):
        means = [row["class_mean"] for row in rows if row["round"] == number]
        assert (means[1] == means[3]) == (number == 2)
        assert means[0] not in means[1:]
    attackers = [(row["round"], row["client"]) for row in rows if row["attacker"]]
    assert attackers == [(2, 1), (2, 3)]


def test_what_stands_in_front_of_the_mean_changes_who_counts(
    tmp_path: Path, data_path: Path
) -> None:
    defense = {"name": "mean", "pre": "nnm", "pre_f": 2}
    run_dir = run_tiny(tmp_path, data_path, num_clients=5, global_epochs=1, defense=defense,
                       eval_points=0)  # fmt: skip
    weights = [row["weight"] for row in read_rows(run_dir, "client")]
    assert sum(weights) == pytest.approx(1)
    counted = [weight * 15 for weight in weights]  # in how many of five means of three it is
    assert counted == pytest.approx([round(number) for number in counted])
    assert len(set(map(round, counted))) > 1


@pytest.mark.slow
def test_scaling_without_a_factor_is_scaling_by_the_number_of_equal_clients(
    tmp_path: Path, data_path: Path
) -> None:
    models = []
    for number, factor in enumerate((None, 3.0, 2.0)):
        attack = {"name": "scaling", "clients": [1], "factor": factor}
        (folder := tmp_path / str(number)).mkdir()
        run_dir = run_tiny(folder, data_path, attack=attack, num_train=120, global_epochs=1,
                           eval_points=0)  # fmt: skip
        models.append((run_dir / "model.pth").read_bytes())
    assert models[0] == models[1] != models[2]
