"""Curves written down as lists, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.stats import Curve, Reach


def curve(accuracy: Sequence[float], seconds: Sequence[float] | None = None, *, seed: int = 1, complete: bool = True) -> Curve:
    """A curve with one evaluation every 10 seconds by default, and 100 tokens per second."""
    cost = np.array(seconds if seconds is not None else [10.0 * i for i in range(len(accuracy))], dtype=np.float64)
    costs = {"training_seconds": cost, "generated_tokens": cost * 100}
    return Curve("words", "grpo", seed, np.array(accuracy, dtype=np.float64), costs, complete)


def at(cost: float, budget: float = 100.0) -> Reach:
    """A run that crossed at ``cost``."""
    return Reach(cost, budget, 1)


def missed(budget: float) -> Reach:
    """A run that did not cross within ``budget``."""
    return Reach(float("inf"), budget, None)
