"""Rules on paper: a NumPy matrix of updates is all they need."""

from functools import cached_property, partial
from typing import Any

import numpy as np

from extra_utils.aggregation.messages import Added, Array, Draw
from extra_utils.basics.random_streams import stream
from extra_utils.config.reader import Places, read_nested
from extra_utils.config.values import Count, check_value
from federal_defense.rules.table import DEFENSES, check_n, check_num_classes, rule_of


def aggregate(
    updates: Any, rule: str = "mean", *, num_classes: int | None = None, seed: int = 0, **keys: Any
) -> Array:
    """The step [P] that a rule makes of updates [n, P] of equal clients, as in a first round.

    ``num_classes``: each row is a last layer, its weights [C, h] and then C biases; rules that look
    at it need that. ``seed``: of what is drawn. ``keys``: those of the config's `defense`. Raises
    ValueError where they, or the number of clients, are not what the rule works with."""
    if rule == "oracle" or "name" in keys:
        raise ValueError(f"got {rule}, {list(keys)}, must be a rule that is not told who attacks")
    plain = {k: v.item() if isinstance(v, np.generic) else v for k, v in keys.items()}
    places = Places({"defense": "aggregate"})
    defense = read_nested("defense", plain | {"name": rule}, places, DEFENSES)
    if check_value("aggregate", "num_classes", num_classes, Count | None):
        check_num_classes(defense, num_classes or 0)
    given = Matrix(np.array(updates, dtype=np.float64), rule, num_classes, seed)
    check_n(defense, len(given.diffs))
    found = rule_of(defense)(given, {})
    step = (found.weights * found.factors) @ given.diffs
    step = step if found.per_coordinate is None else found.per_coordinate(given.diffs)
    return step if found.added is None else step + found.added(0, given.diffs)


class Matrix:
    """Updates at hand (``Updates``)."""

    def __init__(self, diffs: Array, rule: str, num_classes: int | None, seed: int) -> None:
        if diffs.ndim != 2 or not diffs.size or not np.isfinite(diffs).all():
            raise ValueError(f"updates: got shape {diffs.shape}, must be finite numbers [n, P]")
        self.num_clients, size = diffs.shape
        if num_classes is not None and (size < 2 * num_classes or size % num_classes):
            right = f"must divide the {size} values of a row, a last layer [C, h] and C biases"
            raise ValueError(f"num_classes: got {num_classes}, {right}")
        self.diffs, self.samples = diffs, np.ones(self.num_clients)
        self.client_ids = list(range(self.num_clients))
        self.is_attacker = np.zeros(self.num_clients, dtype=bool)  # the oracle is refused
        self.draw: Draw = partial(stream, seed)
        self._rule, self._num_classes = rule, num_classes

    @cached_property
    def class_means(self) -> Array:
        layer = self.output_layer()
        return layer.sum(axis=2) / (layer.shape[2] - 1)

    def gram(self, added: Added | None = None) -> Array:
        rows = self.diffs if added is None else np.vstack([self.diffs, added(0, self.diffs)])
        return rows @ rows.T

    def output_layer(self) -> Array:
        if (classes := self._num_classes) is None:
            raise ValueError(f"{self._rule}: looks at the last layer, so num_classes must be given")
        weights, biases = np.split(self.diffs, [-classes], axis=1)
        return np.dstack([weights.reshape(self.num_clients, classes, -1), biases])
