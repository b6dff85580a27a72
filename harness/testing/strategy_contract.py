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
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.records.checkpoint import load_state, save_state
from harness.registry import StrategyEntry, strategy_entry
from harness.strategy import Strategy
from harness.testing.opened_files import watching
from harness.testing.simulation import SimulatedRun, untrained_predictor
from harness.types import PromptGroup

STEPS = 8
POOL = 96  # with 16 groups a step, questions come back within the run
LARGE_POOLS = (10_000, 1_000_000)
#: A step at the largest pool that takes longer cannot be used, whatever it finds; ten times slower machines than ours pass.
MOST_SECONDS_PER_STEP = 60.0


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

    def run(self, strategy: Strategy | None = None, seed: int = 1, pool_size: int = POOL) -> SimulatedRun:
        return SimulatedRun(strategy or self.build(), pool_size, seed, predictor=self.predictor)


def check_strategy(
    name: str, plugins: Sequence[str] = (), config: Mapping[str, Any] | None = None, only: Sequence[str] | None = None
) -> list[Promise]:
    """Every promise of the contract (or ``only`` these), tried on strategy ``name`` with ``config`` (defaults where left out).

    An exception of the strategy breaks the promise that was being tried; it never stops the others.
    """
    entry = strategy_entry(name, plugins)
    with tempfile.TemporaryDirectory() as scratch:
        needs_predictor = "predictor" in entry.requires
        predictor = untrained_predictor(Path(scratch) / "predictor") if needs_predictor else None
        subject = Subject(entry, config or {}, predictor)
        return [_try(title, promise, subject) for title, promise in PROMISES.items() if only is None or title in only]


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


def _trace(run: SimulatedRun, steps: int) -> list[Any]:
    """(question, source, trained positions, policy version of every rollout) of every group of every batch."""
    return [
        [(g.question_id, g.source, g.trained, tuple(r.policy_version for r in g.rollouts)) for g in run.step().groups] for _ in range(steps)
    ]


def legal_selections(subject: Subject) -> str:
    """Exactly the groups asked for, from the pool, none twice; replayed rollouts are whole and from earlier steps."""
    run = subject.run()
    plain = not subject.entry.requires & {"group_sizes", "partial_groups", "mixed_groups"}
    for _ in range(STEPS):
        batch = run.step()  # the driver refuses illegal selections and batches in words
        _require(not plain or len(batch.groups) == 16, f"step {batch.step} had {len(batch.groups)} groups instead of 16")
        for group in batch.groups:
            newest = max(r.policy_version for r in group.rollouts)
            _require(group.source != "replayed" or newest < batch.step - 1, "a group of this step was replayed in it")
    return f"{STEPS} steps of 16 groups from a pool of {POOL}"


def small_pool(subject: Subject) -> str:
    """A pool just large enough for one batch is enough."""
    run = subject.run(pool_size=16)
    for _ in range(3):
        run.step()
    return "3 steps of 16 groups from a pool of 16"


def degenerate_pool(subject: Subject) -> str:
    """Where every group is degenerate (all wrong, or all right), a step still ends, with something to train on."""
    generated = 0
    for ability in (-100.0, 100.0):
        run = subject.run()
        run.engine.ability[:] = ability
        for _ in range(3):
            run.step()  # the driver refuses an empty batch, the simulated engine an endless step
        generated = max(generated, run.engine.rollouts_generated)
    return f"3 steps each with all answers wrong and all right; at most {generated:,} rollouts"


def deterministic(subject: Subject) -> str:
    """The same seed gives the same batches, another seed others; global random states are not used."""
    kept = random.getstate(), np.random.get_state()
    try:
        # Two different global states on purpose: what draws from them differs, whatever was drawn before this check.
        random.seed(98)
        np.random.seed(98)
        first = _trace(subject.run(), STEPS)
        random.seed(99)
        np.random.seed(99)
        _require(_trace(subject.run(), STEPS) == first, "two runs with one seed selected different questions; draw from ctx.rng alone")
        _require(_trace(subject.run(seed=2), STEPS) != first, "another seed gave the same batches; draw from ctx.rng")
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])
    return f"{STEPS} steps repeated exactly"


def state_round_trip(subject: Subject) -> str:
    """State saved without pickle and loaded into a new strategy is the state: saved again, it has the same content."""
    run = subject.run()
    _trace(run, STEPS // 2)
    with tempfile.TemporaryDirectory() as folder:
        save_state(Path(folder), run.driver.strategy.state_dict())
        loaded = subject.build()
        loaded.load_state_dict(load_state(Path(folder)))
    before, after = _content(run.driver.strategy.state_dict()), _content(loaded.state_dict())
    _require(before == after, "state_dict() after load_state_dict() differs from what was saved")
    return f"{len(before):,} bytes after {STEPS // 2} steps"


def _content(state: Any) -> bytes:
    if isinstance(state, Mapping):
        return b"{" + b",".join(str(k).encode() + b":" + _content(v) for k, v in sorted(state.items())) + b"}"
    if isinstance(state, list | tuple):
        return b"[" + b",".join(_content(v) for v in state) + b"]"
    return np.asarray(state).tobytes() if isinstance(state, np.ndarray) else repr(state).encode()


def kill_and_resume(subject: Subject) -> str:
    """Killed in any step after a checkpoint, the run goes on with the batches of the run that was never killed."""
    whole = _trace(subject.run(), STEPS)
    killed = subject.run()
    for step in range(1, STEPS):
        _trace(killed, 1)
        with tempfile.TemporaryDirectory() as folder:
            save_state(Path(folder), killed.driver.state_dict())
            resumed = subject.run()
            resumed.driver.load_state_dict(load_state(Path(folder)))
        _require(_trace(resumed, 1) == whole[step : step + 1], f"resumed after step {step}, the next batch differs")
        if step == STEPS // 2:
            _require(_trace(resumed, STEPS - step - 1) == whole[step + 1 :], f"resumed after step {step}, later batches differ")
    return f"killed after each of {STEPS - 1} steps, same next batches"


def no_evaluation_data(subject: Subject) -> str:
    """What it knows comes through its context: it opens no file but its predictor, makes no connection, gets no gold answers."""
    allowed = [Path(subject.predictor)] if subject.predictor else []
    run = subject.run()
    with watching(allowed) as opened:
        _trace(run, STEPS)
    _require(not opened, f"it opened {', '.join(dict.fromkeys(opened))}; evaluation data could come from there")
    return f"no file and no connection opened in {STEPS} steps"


def budget_honest(subject: Subject) -> str:
    """Every rollout and token that the engine generated is in the ledger."""
    run = subject.run()
    _trace(run, STEPS)
    costs, engine = run.driver.costs, run.engine
    counted = costs.rollouts + costs.oracle_rollouts
    _require(counted == engine.rollouts_generated, f"the engine generated {engine.rollouts_generated} rollouts, the ledger has {counted}")
    _require(costs.oracle_rollouts == 0 or subject.entry.uncharged_oracle, "uncharged rollouts without uncharged_oracle = True")
    if not costs.oracle_rollouts:
        tokens = costs.generated_tokens
        _require(tokens == engine.tokens_generated, f"the engine generated {engine.tokens_generated} tokens, the ledger has {tokens}")
    return (
        f"{costs.fresh_rollouts} fresh, {costs.probe_rollouts} probe, {costs.filtered_rollouts} filtered, "
        f"{costs.replayed_rollouts} replayed, {costs.oracle_rollouts} uncharged"
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
    _require(_content(before) == _content(after), "the unpickled strategy has another state")
    return f"{len(pickle.dumps(run.driver.strategy)):,} bytes after two steps"


def cost_per_step(subject: Subject) -> str:
    """What it asks for in a step does not grow with the pool (which grows a hundredfold), and a step of a million questions ends."""
    found = [_step_cost(subject, size) for size in LARGE_POOLS]
    (small, _), (large, seconds) = found
    _require(large <= 3 * small, f"a step generates {small:.0f} rollouts from 10⁴ questions and {large:.0f} from 10⁶")
    _require(seconds < MOST_SECONDS_PER_STEP, f"a step with 10⁶ questions takes {seconds:.0f} s")
    words = (f"{seconds * 1000:,.0f} ms at {size:,} questions" for size, (_, seconds) in zip(LARGE_POOLS, found, strict=True))
    return f"select, observe, replay: {', '.join(words)}; {large:.0f} rollouts a step"


def _step_cost(subject: Subject, pool_size: int) -> tuple[float, float]:
    """(rollouts of the last step, seconds of the last step outside the engine); the first step may set things up."""
    run = subject.run(pool_size=pool_size)
    run.step()
    before, start, engine = run.engine.rollouts_generated, time.perf_counter(), _engine_seconds(run)
    run.step()
    seconds = time.perf_counter() - start - (_engine_seconds(run) - engine)
    return run.engine.rollouts_generated - before, seconds


def _engine_seconds(run: SimulatedRun) -> float:
    return run.clock.phases["rollout"] + run.clock.phases["probe"]


PROMISES: dict[str, Callable[[Subject], str]] = {
    "legal selections": legal_selections,
    "small pool": small_pool,
    "degenerate pool": degenerate_pool,
    "deterministic under the seed": deterministic,
    "state round trip": state_round_trip,
    "kill and resume": kill_and_resume,
    "no evaluation data": no_evaluation_data,
    "budget honesty": budget_honest,
    "switched-off identity": switched_off_identity,
    "picklable": picklable,
    "cost per step": cost_per_step,
}
