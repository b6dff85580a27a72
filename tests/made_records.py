"""Ledger records with few fields of interest; the others have values that say nothing."""

from __future__ import annotations

from typing import Any

from harness.types import Costs, EvalPoint, StepRecord


def step(number: int, costs: Costs | None = None, size: int = 4, **more: Any) -> StepRecord:
    """A training step over ``size`` questions."""
    fields: dict[str, Any] = {
        "question_ids": list(range(size)), "pass_rates": [0.5] * size, "replayed_question_ids": [], "staleness": [],
        "non_degenerate_share": 1.0, "dropped_groups": 0, "updates": 1, "seconds": 1.0, "phases": {"update": 1.0}, "loss": 0.0,
        "mean_reward": 0.5, "mean_completion_tokens": 5.0,
    }  # fmt: skip
    return StepRecord(number, costs=costs or Costs(training_steps=number), **{**fields, **more})


def evaluation(number: int, accuracy: float = 0.5, costs: Costs | None = None) -> EvalPoint:
    """An evaluation on one set."""
    return EvalPoint(number, accuracy, {"test": accuracy}, 10, costs or Costs(training_steps=number))
