"""What a strategy promises about its batches, its knowledge, its accounting and its cost."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from harness.registry import strategy_entry
from harness.strategy import Strategy
from harness.testing.opened_files import watching
from harness.testing.simulation import SimulatedRun
from harness.testing.subject import POOL, Subject, arrays_of, require, trace

STEPS = 8
LARGE_POOLS = (10_000, 1_000_000)
#: Seconds of a step outside the engine, at each of these sizes, beyond which a strategy is too slow: a quarter of a second beside
#: ten thousand questions is noticed in the smallest of runs, and a step beside a million must end.
MOST_SECONDS = (0.25, 60.0)
#: A busy machine makes steps slow, but not this many in a row.
_TIMED_STEPS = 10


def legal_selections(subject: Subject) -> str:
    """Exactly the groups asked for, from the pool, none twice; replayed rollouts are whole and from earlier steps."""
    run = subject.run()
    plain = not subject.requires & {"group_sizes", "partial_groups", "mixed_groups"}
    for _ in range(STEPS):
        batch = run.step()  # the driver refuses illegal selections and batches, and says why
        require(not plain or len(batch.groups) == 16, f"step {batch.step} had {len(batch.groups)} groups instead of 16")
        for group in batch.groups:
            newest = max(r.policy_version for r in group.rollouts)
            require(group.source != "replayed" or newest < batch.step - 1, "a group of this step was replayed in it", "replay")
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
    """The same seed gives the same batches, another seed others; the global random generators are left alone."""
    with _untouched_generators():
        first = trace(subject.run(), STEPS)
        require(trace(subject.run(), STEPS) == first, "two runs with one seed selected different questions; draw from ctx.rng", "select")
        require(trace(subject.run(seed=2), STEPS) != first, "another seed gave the same batches; draw from ctx.rng", "select")
    return f"{STEPS} steps repeated exactly"


@contextmanager
def _untouched_generators() -> Iterator[None]:
    """Break the promise if the global generators of random, numpy or torch are drawn from or seeded meanwhile."""
    kept = random.getstate(), np.random.get_state()
    try:
        # States that no program seeds itself with: a strategy that seeds the generator first is seen, too.
        random.seed("halfway")
        np.random.seed(0x68616C66)
        before = _generator_states()
        yield
        after = _generator_states()
        touched = [name for name in before if after[name] != before[name]]
        words = f"the global generator of {' and '.join(touched)} was used or seeded, which other code of a run draws from"
        require(not touched, f"{words}; draw from ctx.rng, which is seeded for every step", "select")
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])


def _generator_states() -> dict[str, Any]:
    states: dict[str, Any] = {"random": random.getstate(), "numpy": repr(np.random.get_state(legacy=False))}
    torch = sys.modules.get("torch")
    return states if torch is None else {**states, "torch": torch.get_rng_state().numpy().tobytes()}


def rollouts_untouched(subject: Subject) -> str:
    """What is trained on is what was sampled: tokens, log-probs, rewards and policy versions, however long it was stored."""
    run = subject.run()
    compared = 0
    for _ in range(STEPS):
        for rollout in (r for g in run.step().groups for r in g.rollouts):
            sampled = run.engine.sampled[rollout.uid]
            for name in ("completion_token_ids", "behaviour_log_probs", "reward", "policy_version", "prompt_token_ids"):
                same = np.array_equal(getattr(rollout, name), getattr(sampled, name))
                require(
                    same, f"the {name} of a stored rollout of question {rollout.question_id} were changed; keep rollouts as they are", "mix"
                )
            compared += 1
    return f"{compared:,} trained rollouts compared with what the engine sampled"


def no_evaluation_data(subject: Subject) -> str:
    """What it knows comes through its context: it opens no file but its predictor, makes no connection, gets no gold answers."""
    allowed = [Path(subject.predictor)] if subject.predictor else []
    run = subject.run()
    with watching(allowed) as opened:
        trace(run, STEPS)
    require(not opened, f"it opened {', '.join(dict.fromkeys(opened))}; evaluation data could come from there", "select")
    return f"no file and no connection opened in {STEPS} steps"


def budget_honest(subject: Subject) -> str:
    """Every rollout and token that the engine generated is in the ledger."""
    run = subject.run()
    trace(run, STEPS)
    costs, engine = run.driver.costs, run.engine
    counted = costs.rollouts + costs.oracle_rollouts
    require(counted == engine.rollouts_generated, f"the engine generated {engine.rollouts_generated} rollouts, the ledger has {counted}")
    require(costs.oracle_rollouts == 0 or subject.entry.uncharged_oracle, "uncharged rollouts without uncharged_oracle = True")
    if not costs.oracle_rollouts:
        tokens = costs.generated_tokens
        require(tokens == engine.tokens_generated, f"the engine generated {engine.tokens_generated} tokens, the ledger has {tokens}")
    return (
        f"{costs.fresh_rollouts} fresh, {costs.probe_rollouts} probe, {costs.filtered_rollouts} filtered, "
        f"{costs.replayed_rollouts} replayed, {costs.oracle_rollouts} uncharged"
    )


def switched_off_identity(subject: Subject) -> str:
    """Plain GRPO with this strategy loaded and watching, but not asked, trains on plain GRPO's batches bit for bit."""
    plain = _tokens(Subject(strategy_entry("grpo"), {}, None).run(), watcher=None)
    watched = _tokens(Subject(strategy_entry("grpo"), {}, None).run(), watcher=subject.build())
    require(len(plain) == len(watched), "the batches have different sizes", "observe")
    same = all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(plain, watched, strict=True))
    require(same, "observing changed what was observed, or the random numbers of the run", "observe")
    return f"{len(plain)} arrays compared over {STEPS} steps"


def _tokens(run: SimulatedRun, watcher: Strategy | None) -> list[np.ndarray[Any, Any]]:
    arrays = []
    for _ in range(STEPS):
        batch = run.step()
        if watcher is not None:
            watcher.observe(batch.fresh, run.driver.context("observe"))
        arrays += [a for g in batch.groups for a in arrays_of(g)]
    return arrays


def cost_per_step(subject: Subject) -> str:
    """A step beside 10⁴ questions takes no time that a run would notice, one beside 10⁶ ends, and it asks for no more rollouts."""
    found = [_step_cost(subject, size, most) for size, most in zip(LARGE_POOLS, MOST_SECONDS, strict=True)]
    (small, _), (large, _) = found
    require(large <= 3 * small, f"a step generates {small:.0f} rollouts from 10⁴ questions and {large:.0f} from 10⁶", "select")
    for size, (_, seconds), most in zip(LARGE_POOLS, found, MOST_SECONDS, strict=True):
        require(seconds < most, f"a step with {size:,} questions takes {seconds:.2f} s outside the engine; at most {most:g} s", "select")
    words = (f"{seconds * 1000:,.0f} ms at {size:,} questions" for size, (_, seconds) in zip(LARGE_POOLS, found, strict=True))
    return f"select, observe, replay: {', '.join(words)}; {large:.0f} rollouts a step"


def _step_cost(subject: Subject, pool_size: int, most: float) -> tuple[float, float]:
    """(rollouts of a step, its seconds outside the engine): of the second step, or of the first later one that takes less than ``most``."""
    run = subject.run(pool_size=pool_size)
    run.step()  # may set things up
    rollouts, least = 0, float("inf")
    for _ in range(_TIMED_STEPS):
        before, start, engine = run.engine.rollouts_generated, time.perf_counter(), _engine_seconds(run)
        run.step()
        least = min(least, time.perf_counter() - start - (_engine_seconds(run) - engine))
        rollouts = run.engine.rollouts_generated - before
        if least < most:
            break
    return rollouts, least


def _engine_seconds(run: SimulatedRun) -> float:
    return run.clock.phases["rollout"] + run.clock.phases["probe"]
