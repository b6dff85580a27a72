"""Measure what a strategy's data path (selection, replay, queue) adds to a step of verl at the paper's size, without rollouts and updates.

    python benchmarks/verl_data_path.py [--groups 512] [--group-size 8] [--tokens 3072]

Runs in the verl environment. Synthetic rollouts are put into a real TransferQueue as verl's agent loop would do it. Then the adapter's own
code fetches the fresh half, puts the replayed half, writes rewards and reads ratios, and the strategy observes, stores and draws. The
share refers to the paper's step at this size: 248 s (Qwen2.5-Math-1.5B, MATH, 8 x L40S; 4.14 h in 60 steps).
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.update(VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES="backends.verl.cpu.plugin", RAY_USAGE_STATS_ENABLED="0")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from harness.registry import strategy_entry
from harness.step.clock import Clock
from harness.types import PromptGroup, Rollout, with_uids

PAPER_STEP_SECONDS = 248.0
PROMPT_TOKENS = 160


def made_groups(first: int, count: int, size: int, tokens: int, version: int, rng: np.random.Generator) -> list[PromptGroup]:
    """Groups of full-length rollouts, half of them right."""
    prompt = np.arange(PROMPT_TOKENS, dtype=np.int64)

    def rollout(question: int, number: int) -> Rollout:
        ids = rng.integers(5, 1000, tokens, dtype=np.int32)
        return Rollout(question, prompt, ids, -rng.random(tokens, dtype=np.float32), version, "", float(number % 2))

    groups = [PromptGroup(q, tuple(rollout(q, n) for n in range(size))) for q in range(first, first + count)]
    return with_uids(groups, [version])


@contextmanager
def timed(name: str, found: dict[str, float]) -> Iterator[None]:
    started = time.perf_counter()
    yield
    found[name] = time.perf_counter() - started


def put_as_agent_loop(groups: list[PromptGroup]) -> tuple[list[list[str]], list[list[dict[str, Any]]]]:
    """Do what verl's agent loop does while it rolls out; this is not measured."""
    import transfer_queue as tq

    from backends.verl.columns import replay_columns
    from backends.verl.queued_batch import AGENT_FIELDS, agent_tag

    keys = [[f"q{g.question_id}_{n}_0" for n in range(g.size)] for g in groups]
    tags = [[agent_tag(r, 1) for r in g.rollouts] for g in groups]
    rollouts = [r for g in groups for r in g.rollouts]
    uids = [f"q{g.question_id}" for g in groups for _ in g.rollouts]
    flat = [key for group in keys for key in group]
    tq.kv_batch_put(
        keys=flat, partition_id="train", fields=replay_columns(rollouts, uids, AGENT_FIELDS), tags=[t for row in tags for t in row]
    )
    return keys, tags


def measure(groups: int, size: int, tokens: int) -> dict[str, float]:
    """Seconds per part of one step whose batch is half fresh and half replayed."""
    from backends.common.ratios import RatioStatistics
    from backends.verl.columns import put_column
    from backends.verl.queued_batch import BatchWriter
    from backends.verl.rollout_engine import VerlRolloutEngine
    from backends.verl.session import VerlSession
    from harness.strategy import StepContext

    rng, found = np.random.default_rng(0), {}
    strategy = strategy_entry("rr").build({"capacity": groups})
    costs: Any = None
    pool: Any = range(20 * groups)

    def context(step: int) -> StepContext:
        return StepContext(step, step - 1, np.random.default_rng(step), 1, pool, size, costs, SimpleNamespace())  # type: ignore[arg-type]

    half = groups // 2
    strategy.observe(made_groups(10 * groups, half, size, tokens, 0, rng), context(1))
    fresh = made_groups(0, half, size, tokens, 1, rng)
    keys, tags = put_as_agent_loop(fresh)

    engine: Any = VerlRolloutEngine.__new__(VerlRolloutEngine)
    engine._queued, engine._seeded, engine._eos, engine.clock = {}, False, frozenset({2}), Clock()
    uids = [f"u{i}" for i in range(half)]
    engine.trainer = SimpleNamespace(
        replay_buffer=SimpleNamespace(wait=lambda *_: dict(zip(uids, zip(keys, tags, strict=True), strict=True)))
    )
    engine._submit = lambda given, *_: uids.__setitem__(slice(None), given)
    session: Any = VerlSession.__new__(VerlSession)
    session.engine, session.correction, session._ratios = engine, strategy.correction, RatioStatistics()
    with timed("replay: draw", found):
        replayed = strategy.replay(groups, context(2))
    with timed("select", found):
        strategy.select(half, context(2))
    with timed("rollout: fetch tokens and log-probs", found):
        engine._generate([[1]] * half, [size] * half, {}, 0, "train")
    engine.remember(fresh, keys, tags)
    with timed("observe: store", found):
        strategy.observe(fresh, context(2))
    with timed("replay: put stored rollouts and rewards", found):
        session.queued = BatchWriter(engine).put([*fresh, *replayed], 1)
    rows = session.queued.rows
    put_column(session.queued.keys, "old_log_probs", [row.rollout.behaviour_log_probs for row in rows])  # verl's own pass does that
    with timed("ratios", found):
        session.read_ratios()
    assert len(rows) == groups * size
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("groups", 512), ("group-size", 8), ("tokens", 3072)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    import ray
    import transfer_queue as tq
    import verl
    from omegaconf import OmegaConf

    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(address="local", num_cpus=16, include_dashboard=False)
    config = OmegaConf.load(Path(verl.__file__).parent / "trainer" / "config" / "transfer_queue" / "transfer_queue.yaml")
    config.enable, config.backend.SimpleStorage.num_data_storage_units = True, 2
    tq.init(config)
    try:
        found = measure(arguments.groups, arguments.group_size, arguments.tokens)
    finally:
        tq.close()
        ray.shutdown()
    for name, seconds in found.items():
        print(f"{name:40s} {seconds:7.3f} s")
    total = sum(found.values())
    print(f"{'all':40s} {total:7.3f} s, {100 * total / PAPER_STEP_SECONDS:.2f} % of a step of {PAPER_STEP_SECONDS:.0f} s")


if __name__ == "__main__":
    main()
