"""The contract every strategy keeps, as a product: ``halfway check NAME`` and, in a plugin's own tests,

    from harness.testing import check_strategy

    def test_contract():
        broken = [p for p in check_strategy("my-strategy", plugins=["my_package:MyStrategy"]) if not p.passed]
        assert not broken, broken

Each promise drives the strategy through the real step driver against a simulated policy, and says in words what it found.
"""

from __future__ import annotations

import pickle  # only between objects of this process, to see that a strategy can be sent to a Ray worker
import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.checkpoint import load_state, save_state
from harness.registry import StrategyEntry, strategy_entry
from harness.simulation import SimulatedRun, untrained_predictor
from harness.strategy import Strategy
from harness.types import PromptGroup

STEPS = 8
SPLIT_AT = 4


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise of the contract: kept or broken, and what was seen."""

    name: str
    passed: bool
    message: str = ""


class ContractBroken(AssertionError):
    """A promise was broken; the message says how."""


class Subject:
    """A strategy under test: makes fresh instances and runs them."""

    def __init__(self, entry: StrategyEntry, config: Mapping[str, Any], predictor: str | None) -> None:
        self.entry, self.config, self.predictor = entry, dict(config), predictor

    def build(self) -> Strategy:
        return self.entry.build(self.config)

    def run(self, strategy: Strategy | None = None, seed: int = 1, pool_size: int = 256) -> SimulatedRun:
        return SimulatedRun(strategy or self.build(), pool_size, seed, predictor=self.predictor)


def check_strategy(name: str, plugins: Sequence[str] = (), config: Mapping[str, Any] | None = None) -> list[Promise]:
    """Every promise of the contract, tried on strategy ``name`` with ``config`` (defaults where left out).

    An exception of the strategy breaks the promise that was being tried; it never stops the others.
    """
    entry = strategy_entry(name, plugins)
    with tempfile.TemporaryDirectory() as scratch:
        needs_predictor = "predictor" in entry.requires
        predictor = untrained_predictor(Path(scratch) / "predictor") if needs_predictor else None
        subject = Subject(entry, config or {}, predictor)
        return [_try(title, promise, subject) for title, promise in PROMISES.items()]


def _try(title: str, promise: Callable[[Subject], str], subject: Subject) -> Promise:
    try:
        return Promise(title, True, promise(subject))
    except ContractBroken as error:
        return Promise(title, False, str(error))
    except Exception as error:
        return Promise(title, False, f"raised {type(error).__name__}: {error}")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ContractBroken(message)


def _trace(run: SimulatedRun, steps: int) -> list[list[tuple[int, str, int]]]:
    """(question, source, policy version) of every group of every batch."""
    return [[(g.question_id, g.source, g.policy_version) for g in run.step().groups] for _ in range(steps)]


def legal_selections(subject: Subject) -> str:
    """Exactly the groups asked for, from the pool, none twice; replayed groups whole and from earlier steps."""
    run = subject.run()
    for _ in range(STEPS):
        batch = run.step()  # the driver refuses illegal selections in words
        _require(len(batch.groups) == 16, f"step {batch.step} had {len(batch.groups)} groups instead of 16")
        for group in batch.groups:
            _require(group.source != "replayed" or group.policy_version < batch.step - 1, "a group of this step was replayed in it")
    return f"{STEPS} steps of 16 groups from a pool of 256"


def small_pool(subject: Subject) -> str:
    """A pool just large enough for one batch is enough."""
    run = subject.run(pool_size=16)
    for _ in range(3):
        run.step()
    return "3 steps of 16 groups from a pool of 16"


def deterministic(subject: Subject) -> str:
    """The same seed gives the same batches, another seed others; global random states are not used."""
    first = _trace(subject.run(), STEPS)
    random.seed(99)
    np.random.seed(99)
    _require(_trace(subject.run(), STEPS) == first, "two runs with one seed selected different questions; draw from ctx.rng alone")
    _require(_trace(subject.run(seed=2), STEPS) != first, "another seed gave the same batches; draw from ctx.rng")
    return f"{STEPS} steps repeated exactly"


def state_round_trip(subject: Subject) -> str:
    """A run saved to disk, loaded into a new process's objects and continued is the run that never stopped."""
    whole = _trace(subject.run(), STEPS)
    stopped = subject.run()
    _trace(stopped, SPLIT_AT)
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder), stopped.driver.state_dict())
        resumed = subject.run()
        resumed.driver.load_state_dict(load_state(Path(folder)))
    _require(_trace(resumed, STEPS - SPLIT_AT) == whole[SPLIT_AT:], "after state_dict/load_state_dict the next selections differ")
    return f"stopped after {SPLIT_AT} of {STEPS} steps, saved without pickle, same next selections"


def budget_honest(subject: Subject) -> str:
    """Every rollout that the engine generated is in the ledger."""
    run = subject.run()
    _trace(run, STEPS)
    costs = run.driver.costs
    counted = costs.rollouts + costs.oracle_rollouts
    _require(
        counted == run.engine.rollouts_generated, f"the engine generated {run.engine.rollouts_generated} rollouts, the ledger has {counted}"
    )
    _require(costs.oracle_rollouts == 0 or subject.entry.uncharged_oracle, "uncharged rollouts without uncharged_oracle = True")
    return (
        f"{costs.fresh_rollouts} fresh, {costs.probe_rollouts} probe, {costs.filtered_rollouts} filtered, {costs.oracle_rollouts} uncharged"
    )


def switched_off_identity(subject: Subject) -> str:
    """Plain GRPO with this strategy loaded and watching, but not asked, trains on plain GRPO's batches bit for bit."""
    plain = _tokens(Subject(strategy_entry("grpo"), {}, None).run(), watcher=None)
    watched = _tokens(Subject(strategy_entry("grpo"), {}, None).run(), watcher=subject.build())
    _require(len(plain) == len(watched), "the batches have different sizes")
    same = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(plain, watched, strict=True))
    _require(same, "observing changed what was observed, or the random numbers of the run")
    return f"{len(plain)} arrays compared over {STEPS} steps"


def _tokens(run: SimulatedRun, watcher: Strategy | None) -> list[np.ndarray[Any, Any]]:
    arrays = []
    for _ in range(STEPS):
        batch = run.step()
        if watcher is not None:
            watcher.observe(batch.fresh, run.driver.context("observe"))
        arrays += [a for g in batch.groups for a in _arrays(g)]
    return arrays


def _arrays(group: PromptGroup) -> list[np.ndarray[Any, Any]]:
    return [a for r in group.rollouts for a in (r.completion_token_ids, r.behaviour_log_probs, np.array([r.reward])) if a is not None]


def picklable(subject: Subject) -> str:
    """The strategy can be sent to another process (Ray) in the middle of a run."""
    run = subject.run()
    _trace(run, 2)
    copy = pickle.loads(pickle.dumps(run.driver.strategy))  # noqa: S301 - our own bytes
    before, after = run.driver.strategy.state_dict(), copy.state_dict()
    _require(str(before) == str(after), "the unpickled strategy has another state")
    return f"{len(pickle.dumps(run.driver.strategy)):,} bytes after two steps"


PROMISES: dict[str, Callable[[Subject], str]] = {
    "legal selections": legal_selections,
    "small pool": small_pool,
    "deterministic under the seed": deterministic,
    "state round trip": state_round_trip,
    "budget honesty": budget_honest,
    "switched-off identity": switched_off_identity,
    "picklable": picklable,
}
