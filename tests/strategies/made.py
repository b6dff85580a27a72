"""Groups with given rewards, and a strategy's selector with a context, for tests that work a formula out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from harness.registry import strategy_entry
from harness.strategy import StepContext
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup, Rollout


def rollout(question: int, reward: float, version: int = 0) -> Rollout:
    """One prompt token, one completion token."""
    return Rollout(question, np.array([1]), np.array([2]), np.array([-0.5], np.float32), version, "", reward)


def group(question: int, *rewards: float, version: int = 0) -> PromptGroup:
    """A fresh group with these rewards."""
    return PromptGroup(question, tuple(rollout(question, r, version) for r in rewards))


def run_of(name: str, config: dict[str, Any] | None = None, **kwargs: Any) -> SimulatedRun:
    """A simulated run of a strategy."""
    return SimulatedRun(strategy_entry(name).build(config or {}), **kwargs)


def selector_and_context(name: str, config: dict[str, Any] | None = None, pool_size: int = 8, **kwargs: Any) -> tuple[Any, StepContext]:
    """A strategy's selector and the context of its first step."""
    run = run_of(name, config, pool_size=pool_size, groups_per_step=2, **kwargs)
    return run.driver.strategy.selector, run.driver.context("select")


def at_step(ctx: StepContext, step: int) -> StepContext:
    """The same context at another step."""
    return replace(ctx, step=step, policy_version=step - 1)
