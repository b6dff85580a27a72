"""Generated inputs of the comparisons: groups with given rewards, and a strategy with a context."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.registry import strategy_entry
from harness.strategy import StepContext
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup, Rollout


def group(question: int, rewards: Sequence[float], version: int = 0) -> PromptGroup:
    """A fresh group with these rewards, one token each."""
    tokens = np.array([1])
    return PromptGroup(
        question,
        tuple(
            Rollout(question, tokens, tokens, np.array([-1.0], np.float32), version, "", float(r), uid=f"{question}.{version}.{i}")
            for i, r in enumerate(rewards)
        ),
    )


def prepared(name: str, pool_size: int, config: dict[str, Any] | None = None) -> tuple[Any, Any, StepContext]:
    """(selector, replay part, context of the second step) of a strategy on a simulated pool."""
    run = SimulatedRun(strategy_entry(name).build(config or {}), pool_size=pool_size, groups_per_step=2)
    return run.driver.strategy.selector, run.driver.strategy.replay_part, at_step(run.driver.context("select"), 2)


def at_step(ctx: StepContext, step: int) -> StepContext:
    """The same context at another step."""
    return replace(ctx, step=step, policy_version=step - 1)
