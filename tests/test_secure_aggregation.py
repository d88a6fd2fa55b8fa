"""Masked messages: what crosses the wire is noise, the sum is exact, and a lie about it is seen."""

from __future__ import annotations

import copy
from functools import partial
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from client import Clients
from extra_utils.aggregation.flat_model import FIXED_POINT, FlatModel, WeightDiff
from extra_utils.aggregation.masks import masks_of
from extra_utils.aggregation.messages import Aggregate, RoundPlan, RoundResult, State, Update
from extra_utils.aggregation.messages import Updates as Seen
from extra_utils.basics.errors import ConfigError, RunFailed
from extra_utils.basics.heartbeat import new_heartbeats
from extra_utils.basics.random_streams import stream
from extra_utils.config.reader import parse_arguments, read_config
from extra_utils.distributed_utils import Ranks
from extra_utils.processes.child import process_context
from extra_utils.run.recorder import Observer
from federal_defense.checks import checked_config
from federal_defense.rules.table import TABLES
from get_weight_matrix import RoundSum, class_means
from tests.helpers import (
    make_config,
    make_dataset,
    one_now,
    read_rows,
    rows_without_times,
    run_module,
    run_tiny,
    write_config,
)
from tests.test_get_weight_matrix import make_plan

CLASSES, WIDTH = 10, 2000  # of a model of one layer, whose message has 160,080 bytes
SAMPLES = {0: 40, 1: 10, 2: 25, 3: 25, 4: 3}
EVERYBODY = 2 * len(SAMPLES)  # more neighbours than there are


class Wire(Ranks):
    """One rank, which keeps what it would send."""

    sent: list[Tensor]

    def all_reduce(self, values: Tensor) -> None:
        self.sent.append(values.clone())


def make_wire() -> Wire:
    wire = Wire(0, 1, new_heartbeats(process_context(), 1)[0])
    wire.sent = []
    return wire


def train(client: int, model: nn.Linear) -> Update:
    """An update that is no more than the model's own noise."""
    generator = torch.Generator().manual_seed(client)
    local = nn.Linear(WIDTH, CLASSES)
    for new, old in zip(local.parameters(), model.parameters(), strict=True):
        new.data = old.data + 0.01 * torch.randn(old.shape, generator=generator)
    return Update(client, SAMPLES[client], WeightDiff(local, model), class_means(local), 0.1)


def message_of(client: int, model: nn.Linear, neighbours: int) -> Tensor:
    """What this client alone sends [P]."""
    aggregation, wire = RoundSum(model, 0, len(SAMPLES)), make_wire()
    aggregation.begin(make_plan(SAMPLES)._replace(neighbours=neighbours))
    aggregation.add(train(client, model))
    aggregation.reduce(wire)
    return wire.sent[0][: CLASSES * (WIDTH + 1)]


def is_noise(message: Tensor, truth: Tensor) -> bool:
    """Whether all bytes come equally often (chi-square, 255 degrees of freedom), and the numbers
    have nothing to do with the true ones; both within five deviations of chance."""
    counts = np.bincount(message.numpy().view(np.uint8), minlength=256)
    expected = counts.sum() / 256
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    correlation = float(np.corrcoef(message.double(), truth.double())[0, 1])
    is_uniform = abs(chi_square - 255) < 5 * (2 * 255) ** 0.5
    return is_uniform and abs(correlation) < 5 / len(message) ** 0.5


@pytest.fixture(scope="module")
def model() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(WIDTH, CLASSES)


@pytest.mark.parametrize("neighbours", [2, EVERYBODY])
def test_each_message_and_each_strict_subset_is_noise_and_all_are_the_sum(
    neighbours: int, model: nn.Linear
) -> None:
    truths = {client: message_of(client, model, 0) for client in SAMPLES}
    messages = {client: message_of(client, model, neighbours) for client in SAMPLES}
    sizes = range(1, len(SAMPLES))
    for subset in chain.from_iterable(combinations(SAMPLES, size) for size in sizes):
        masked, true = (
            torch.stack([found[client] for client in subset]).sum(dim=0)
            for found in (messages, truths)
        )
        assert is_noise(masked, true), subset
    total, masked = (sum(found.values(), torch.tensor(0)) for found in (truths, messages))
    assert torch.equal(total, masked)
    assert not is_noise(total, total)


def test_a_client_without_its_masks_is_found_out(model: nn.Linear) -> None:
    truth = message_of(1, model, 0)
    assert not is_noise(truth, truth)
    assert is_noise(message_of(1, model, EVERYBODY), truth)
    others = [message_of(client, model, EVERYBODY) for client in SAMPLES if client != 1]
    assert is_noise(torch.stack([truth, *others]).sum(dim=0), truth)  # nothing cancels out


def test_masks_are_drawn_anew_in_each_round_and_pair() -> None:
    drawn = set()
    for round_index in (1, 2):
        draw = partial(stream, 0, round_index=round_index)
        plan = make_plan(SAMPLES)._replace(neighbours=EVERYBODY, draw=draw)
        for client in SAMPLES:
            for sign, pair in masks_of(list(SAMPLES), plan)(client):
                drawn.add((sign, round_index, int(pair.integers(2**62))))
    pairs = len(SAMPLES) * (len(SAMPLES) - 1) // 2
    assert len(drawn) == 2 * 2 * pairs  # two signs, two rounds
    assert len({number for *_, number in drawn}) == 2 * pairs


@pytest.mark.parametrize("neighbours", [2, 4, 6, 20])
@pytest.mark.parametrize("n", range(2, 9))
def test_the_ring_gives_each_so_many_partners_who_agree(n: int, neighbours: int) -> None:
    clients = [3 * client + 1 for client in range(n)]
    plan = RoundPlan(dict.fromkeys(clients, 1), [clients], set(), 30, neighbours=neighbours)
    masks = masks_of(clients, plan)
    found = {client: masks(client) for client in clients}
    for own in found.values():
        assert len(own) == min(neighbours, n - 1)
    numbers = [sign * int(pair.integers(2**40)) for own in found.values() for sign, pair in own]
    assert sum(numbers) == 0


def keep_the_first_three(updates: Seen, _: State) -> Aggregate:
    kept = np.where(np.arange(len(updates.samples)) < 3, updates.samples, 0.0)
    return Aggregate(kept / kept.sum(), flagged=kept == 0)


def test_who_is_left_out_sends_nothing_and_the_others_masks_cancel_out(model: nn.Linear) -> None:
    totals = []
    for neighbours in (0, 2, EVERYBODY):
        aggregation, wire = RoundSum(model, 0, 5, keep_the_first_three, {}), make_wire()
        aggregation.begin(make_plan(SAMPLES)._replace(neighbours=neighbours))
        for client in SAMPLES:
            aggregation.add(train(client, model))
        result = aggregation.reduce(wire)
        totals.append(result.total.clone())
        assert len(wire.sent) == 2  # what they publish, and then the sum of who was kept
        assert len(wire.sent[1]) == CLASSES * (WIDTH + 1)
        assert result.misreported == []
    assert torch.equal(totals[0], totals[1])
    assert torch.equal(totals[0], totals[2])


def count_rounds(updates: Seen, state: State) -> Aggregate:
    """Everybody's mean, statistics too; lengths are halved."""
    shares = updates.samples / updates.samples.sum()
    return Aggregate(shares, factors=0.5 * np.ones(len(shares)),
                     state={"rounds": state.get("rounds", np.zeros(1)) + 1})  # fmt: skip


def test_a_verdict_is_remembered_and_factors_leave_running_statistics() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    aggregation = RoundSum(model, 0, 2, count_rounds, {"rounds": np.array([5.0])})
    for number in (1, 2):
        aggregation.begin(make_plan({0: 1, 1: 1}))
        for client in (0, 1):
            local = copy.deepcopy(model)
            for value in (*local.parameters(), *list(local.buffers())[:1]):  # the running mean
                value.data += 1.0
            diff = WeightDiff(local, model)
            aggregation.add(Update(client, 1, diff, class_means(local), 0.1))
        result = aggregation.reduce(make_wire())
        assert result.rule["rounds"].tolist() == [5 + number]
        assert result.misreported is None
        moved = (result.total.double() / FIXED_POINT).tolist()
        num_scored = FlatModel(model).num_scored
        assert moved[:num_scored] == pytest.approx([0.5] * num_scored, abs=1e-6)
        assert moved[num_scored:] == pytest.approx([1.0] * 4 + [0.0] * 4, abs=1e-6)


@pytest.mark.parametrize(
    ("keys", "neighbours"),
    [({}, 0), ({"neighbours": 2}, 0), ({"secure_aggregation": True}, 5),
     ({"secure_aggregation": True, "neighbours": 2}, 2)],
)  # fmt: skip
def test_a_round_is_masked_where_the_config_says_so(keys: dict[str, Any], neighbours: int) -> None:
    config = make_config(num_clients=5, **keys)
    observer = Observer(new_heartbeats(process_context(), 1)[0])
    clients = Clients(config, make_dataset(), nn.Linear(2, CLASSES), observer, {})
    assert clients.plan(1, 1).neighbours == neighbours


def lie(model: nn.Linear, reported: NDArray[np.float64], neighbours: int) -> RoundResult:
    """A round in which client 2 reports class means that are off by so much."""
    aggregation = RoundSum(model, 0, 5, keep_the_first_three, {})
    aggregation.begin(make_plan(SAMPLES)._replace(neighbours=neighbours))
    for client in SAMPLES:
        update = train(client, model)
        if client == 2:
            update.class_mean.add_(torch.from_numpy(reported))
        aggregation.add(update)
    return aggregation.reduce(make_wire())


@pytest.mark.parametrize("neighbours", [0, EVERYBODY])
def test_a_lie_about_class_means_names_the_class(neighbours: int, model: nn.Linear) -> None:
    reported = np.zeros(CLASSES)
    assert lie(model, reported, neighbours).misreported == []
    reported[[3, 7]] = 1e-9, -1e-3
    assert lie(model, reported, neighbours).misreported == [7, 3]


def test_lies_that_cancel_out_are_not_seen_as_the_docs_say(model: nn.Linear) -> None:
    aggregation = RoundSum(model, 0, 2)
    aggregation.begin(make_plan({2: 25, 3: 25}))
    for client, lie_of_it in ((2, 1.0), (3, -1.0)):
        update = train(client, model)
        update.class_mean.add_(lie_of_it)
        aggregation.add(update)
    assert aggregation.reduce(make_wire()).misreported == []


@pytest.mark.parametrize("size", [1e-3, 1.0, 7e3, 1e5])
def test_no_honest_client_is_accused_however_far_it_moved(size: float, model: nn.Linear) -> None:
    aggregation = RoundSum(model, 0, 2)
    aggregation.begin(make_plan({2: 25, 3: 25}))
    for client, sign in ((2, 1.0), (3, -1.0)):
        local = nn.Linear(WIDTH, CLASSES)
        for new, old in zip(local.parameters(), model.parameters(), strict=True):
            new.data = old.data + sign * size * (1 + 0.01 * torch.randn(old.shape))
        update = Update(client, 25, WeightDiff(local, model), class_means(local), 0.1)
        aggregation.add(update)
    assert aggregation.reduce(make_wire()).misreported == []


def test_nobody_is_kept_alone_behind_masks(model: nn.Linear) -> None:
    def keep_one(updates: Seen, _: State) -> Aggregate:
        return Aggregate(np.eye(len(updates.samples))[1])

    aggregation, wire = RoundSum(model, 0, 5, keep_one, {}), make_wire()
    aggregation.begin(make_plan(SAMPLES)._replace(neighbours=EVERYBODY))
    for client in SAMPLES:
        aggregation.add(train(client, model))
    with pytest.raises(RunFailed, match="client 1 is kept alone: nothing masks it"):
        aggregation.reduce(wire)
    assert len(wire.sent) == 1  # what they publish, and no difference


def test_each_piece_is_a_sign_of_life(model: nn.Linear) -> None:
    beats: list[int] = []
    aggregation = RoundSum(model, 0, 5)
    aggregation.begin(make_plan(SAMPLES), lambda: beats.append(1))
    aggregation.add(train(1, model))
    assert len(beats) == 2  # the weights, and the bias


def test_a_lie_of_a_client_that_is_left_out_does_not_matter(model: nn.Linear) -> None:
    aggregation = RoundSum(model, 0, 5, keep_the_first_three, {})
    aggregation.begin(make_plan(SAMPLES))
    for client in SAMPLES:
        update = train(client, model)
        update.class_mean.add_(float(client > 2))
        aggregation.add(update)
    assert aggregation.reduce(make_wire()).misreported == []


REFUSED = {
    "--defense.name=krum": "krum looks at single updates",
    "--defense.name=lfighter": "lfighter looks at single updates",
    "--defense.name=norm_clipping": "norm_clipping without tau looks at single updates",
    "--defense.name=mean --defense.pre=nnm": "nnm looks at single updates",
    "--attack.name=alie": "alie looks at single updates",
    "--num_clients=3 --clients_per_round=1": "with 1 client a round, whose sum is its own",
    "--neighbours=3": "neighbours: got 3, must be even",
    "--num_clients=3 --clients_per_round=1 --defense.name=oracle": "with 1 client a round",
}
ALLOWED = ["mean", "class_mean", "oracle", "norm_clipping --defense.tau=1", "mean --neighbours=2"]
ALLOWED += ["mean --attack.name=alie --attack.clients=[]"]  # the baseline, in which nobody attacks


def checked(options: str) -> None:
    words = f"--num_clients=7 --secure_aggregation {options}".split()
    checked_config(*read_config(parse_arguments(words), TABLES))


@pytest.mark.parametrize("options", REFUSED)
def test_what_must_look_at_updates_is_refused_with_the_reason(options: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[options]):
        checked(options)


@pytest.mark.parametrize("defense", ALLOWED)
def test_what_need_not_look_is_not(defense: str, capfd: pytest.CaptureFixture[str]) -> None:
    checked(f"--defense.name={defense}")
    assert "neighbours" not in capfd.readouterr().err


def test_neighbours_without_masks_have_no_effect(capfd: pytest.CaptureFixture[str]) -> None:
    checked_config(*read_config(parse_arguments(["--neighbours=2"]), TABLES))
    assert "neighbours: has no effect here: secure_aggregation is false" in capfd.readouterr().err


FLIP = {"name": "label_flip", "fraction": 0.3, "source": 1, "target": 4}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "class_mean, dirichlet, batch norm": (
        "norm",
        {"num_clients": 6, "partition": "dirichlet", "attack": FLIP,
         "defense": {"name": "class_mean"}},
    ),
    "mean, iid": ("net", {"num_clients": 4}),
    "norm_clipping with noise, drawn clients": (
        "norm",
        {"num_clients": 7, "clients_per_round": 5,
         "defense": {"name": "norm_clipping", "tau": 0.1, "sigma": 0.001}},
    ),
    "oracle, shards": (
        "net",
        {"num_clients": 5, "partition": "shards", "attack": FLIP, "defense": {"name": "oracle"}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", one_now(CASES))
def test_the_bytes_are_those_without_masks(
    case: tuple[str, dict[str, Any]], data_path: Path, tmp_path: Path
) -> None:
    model_name, keys = case
    config = write_config(tmp_path, data_path=str(data_path), global_epochs=2, name="same", **keys)
    secure = "--secure_aggregation --world_size"
    runs = [
        "plain --world_size=2",
        f"on1 {secure}=1",
        f"on2 {secure}=2",
        f"on3 {secure}=3 --neighbours=2",
        f"resumed {secure}=2 --global_epochs=1",
        "resumed --global_epochs=2 --world_size=3",
    ]
    done = run_module(
        "tests.each_world_size", model_name, str(config), str(tmp_path), *runs, timeout=120
    )
    assert done.returncode == 0, done.stderr
    plain, rows = tmp_path / "plain", rows_without_times(tmp_path / "plain")
    for name in ("on1", "on2", "on3", "resumed"):
        assert (tmp_path / name / "model.pth").read_bytes() == (plain / "model.pth").read_bytes()
        assert rows_without_times(tmp_path / name) == rows
    compared: list[int] | None = (
        None if keys.get("defense", {}).get("name") == "norm_clipping" else []
    )
    assert [row["misreported"] for row in read_rows(plain, "round")] == [None, compared, compared]


@pytest.mark.parametrize("world_size", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_flipper_that_reports_honest_class_means_is_caught(
    world_size: int, tmp_path: Path, data_path: Path
) -> None:
    attack = FLIP | {"hide": "class_mean_report", "start_round": 2}
    run_dir = run_tiny(
        tmp_path, data_path, attack=attack, num_clients=6, world_size=world_size, global_epochs=2,
        eval_points=0, defense={"name": "class_mean"}, secure_aggregation=True,
    )  # fmt: skip
    untrained, before, attacked = read_rows(run_dir, "round")
    assert (untrained["misreported"], before["misreported"]) == (None, [])
    assert attacked["misreported"]
    worst = attacked["misreported"][0]
    assert f"warning: round 2: most of all in class {worst} the class means that clients report " \
        "are not those of what they send" in (run_dir / "said").read_text()  # fmt: skip


@pytest.mark.slow
def test_a_flipper_that_moves_its_last_layer_is_not_caught(tmp_path: Path, data_path: Path) -> None:
    attack = FLIP | {"hide": "class_mean"}
    run_dir = run_tiny(tmp_path, data_path, attack=attack, num_clients=5, eval_points=0)
    assert [row["misreported"] for row in read_rows(run_dir, "round")] == [None, []]
