"""Confusion matrix, rates, and the evaluation that ranks share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from extra_utils.distributed_utils import Ranks
from extra_utils.model import build_model
from extra_utils.training.evaluation import Evaluation, evaluate, evaluate_together
from my_data_loader import TestLoader
from tests.helpers import make_config, make_dataset, run_distributed

CONFIG = make_config(type="synthetic", model_name="net")
SIZE = 1125  # five batches, the last one smaller


def test_rates_come_from_the_confusion_matrix() -> None:
    confusion = torch.tensor([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    evaluation = Evaluation(confusion, torch.tensor([3.0, 9.0]))
    assert evaluation.accuracy == 75.0
    assert evaluation.loss == 1.0
    assert evaluation.recall == [75.0, 75.0, None]
    assert evaluation.rate(0, 1) == 25.0


def together(ranks: Ranks) -> dict[str, Any]:
    dataset = make_dataset(num_test=SIZE)
    loader = TestLoader(dataset, np.arange(SIZE))
    model = build_model(CONFIG, dataset)
    beats: list[int] = []
    shared = evaluate_together(ranks, model, loader, lambda: beats.append(1))
    alone = evaluate(model, loader, range(loader.num_batches), lambda: None)
    return {
        "shared": [shared.confusion.tolist(), shared.loss_sums.tolist(), shared.loss],
        "alone": [alone.confusion.tolist(), alone.loss_sums.tolist(), alone.loss],
        "batches": len(beats),
    }


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_shared_evaluation_equals_that_of_one_process_to_the_bit(
    world_size: int, tmp_path: Path
) -> None:
    results = run_distributed(together, world_size, tmp_path)
    for result in results:
        assert result["shared"] == result["alone"] == results[0]["alone"]
    assert sum(result["batches"] for result in results) == 5
    assert max(result["batches"] for result in results) == -(-5 // world_size)


class ThreeBatches:
    """Logits stand in for images: four images of two classes, the last batch is of one."""

    num_classes, num_batches = 2, 3
    images = ([[2.0, 0.0], [0.0, 2.0]], [[0.0, 1.0]], [[3.0, 0.0]])
    labels = ([0, 0], [1], [1])

    def batch(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.tensor(self.images[number]), torch.tensor(self.labels[number])


def test_batches_that_are_not_looked_at_count_nothing_and_the_others_by_hand() -> None:
    beats: list[int] = []
    found = evaluate(torch.nn.Identity(), ThreeBatches(), [0, 2], lambda: beats.append(1))
    assert found.confusion.tolist() == [[1, 1], [1, 0]]  # a row by true class
    softplus = [float(np.log1p(np.exp(x))) for x in (-2.0, 2.0, 3.0)]
    expected = [softplus[0] + softplus[1], 0, softplus[2]]
    assert found.loss_sums.tolist() == pytest.approx(expected)
    assert found.loss == pytest.approx(sum(expected) / 3)
    assert found.accuracy == pytest.approx(100 / 3)
    assert len(beats) == 2


def test_a_model_is_evaluated_without_dropout_or_gradients_and_left_in_its_modes() -> None:
    model = torch.nn.Sequential(torch.nn.Dropout(0.999), torch.nn.Identity())
    model.train()
    model[1].eval()
    found = evaluate(model, ThreeBatches(), range(3), lambda: None)
    assert found.confusion.tolist() == [[1, 1], [1, 1]]
    assert not found.loss_sums.requires_grad
    assert [module.training for module in model.modules()] == [True, True, False]
