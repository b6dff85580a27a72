"""A run's ledger as an accuracy curve over every cost ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from harness.records.ledger import RunLog
from harness.stats.curve import COST_LEDGERS, CostModel, Curve


def curve_of(log: RunLog, model: CostModel | None = None) -> Curve:
    """The curve of a run ledger, on every cost ledger of ``COST_LEDGERS``."""
    model = model or CostModel()
    points = log.evaluations
    costs = {name: np.array([getattr(p.costs, name) for p in points], dtype=np.float64) for name in COST_LEDGERS if name != "token_cost"}
    costs["token_cost"] = (
        model.generated * costs["generated_tokens"] + model.forward * costs["forward_tokens"] + model.trained * costs["trained_tokens"]
    )
    spec = log.spec
    return Curve(
        combination=str(spec["combination"]["name"]),
        strategy=str(spec["strategy"]["label"]),
        seed=int(spec["seed"]),
        accuracy=np.array([p.accuracy for p in points], dtype=np.float64),
        costs=costs,
        complete=log.complete,
    )
