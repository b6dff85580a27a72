"""A policy without a model: questions with latent difficulty, rollouts drawn from it. For contract checks and tests.

Nothing measured here is a result: it exercises a strategy through the same driver, ledgers and seeds as a real engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.backend import RolloutPhase
from harness.step.clock import Clock
from harness.step.driver import Batch, StepDriver, UpdateReport
from harness.strategy import Strategy
from harness.types import FloatArray, IntArray, PoolQuestion, PromptGroup, QuestionPool, Rollout, with_uids

EMBEDDING_WIDTH = 8


#: Rollouts that one step of a check may generate; a strategy that asks for more would go on for ever.
MOST_ROLLOUTS_PER_STEP = 20_000


class SimulatedQuestion(PoolQuestion):
    """A question whose gold answer raises an error that nothing swallows, unlike that of an attribute which is not there."""

    @property
    def answer(self) -> str:
        raise PermissionError("a strategy must not read the gold answer of a question; it gets prompts and metadata")


class SimulatedPool(QuestionPool):
    """Questions without content, made when they are looked at, so that a million of them cost nothing."""

    def __init__(self, size: int) -> None:
        super().__init__([])
        self._size = size

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(self._size)))
        if not -self._size <= index < self._size:
            raise IndexError(f"question {index} of a pool of {self._size}")
        i = int(index) % self._size
        return SimulatedQuestion(i, f"question {i}", "simulated", {"category": i % 4, "difficulty": i * 37 % 101})

    def __iter__(self) -> Iterator[PoolQuestion]:
        return (self[i] for i in range(self._size))


class SimulatedEngine:
    """Rollouts with latent pass rates that rise slowly with the policy version; counts and remembers everything it generates.

    sampled: a copy of every rollout by its uid.
    """

    def __init__(self, pool_size: int, clock: Clock, seed: int = 0) -> None:
        rng = np.random.default_rng([seed, 0x73696D])
        self.clock, self.policy_version = clock, 0
        self.embeddings: FloatArray = rng.normal(size=(pool_size, EMBEDDING_WIDTH)).astype(np.float32)
        self.ability = self.embeddings[:, 0].astype(np.float64) * 2 - 0.5
        self.rollouts_generated = self.tokens_generated = 0
        self._in_step = (0, 0)  # policy version, rollouts generated at it
        self.sampled: dict[str, Rollout] = {}
        self.calls: list[tuple[RolloutPhase, list[int], list[int]]] = []

    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        rng = np.random.default_rng(list(stream))
        sizes = np.broadcast_to(rollouts_per_question, np.shape(question_ids)).tolist()
        self.calls.append((phase, [int(i) for i in question_ids], sizes))
        self._count(sum(sizes))
        with self.clock.phase(phase):
            groups = [self._group(int(i), size, rng) for i, size in zip(question_ids, sizes, strict=True)]
            groups = with_uids(groups, stream)
            self.sampled.update({r.uid: _copy(r) for g in groups for r in g.rollouts})
        self.tokens_generated += sum(g.num_tokens for g in groups)
        return groups

    def embed(self, question_ids: IntArray) -> FloatArray:
        return self.embeddings[question_ids]

    def _count(self, rollouts: int) -> None:
        version, before = self._in_step
        self._in_step = self.policy_version, rollouts + (before if version == self.policy_version else 0)
        self.rollouts_generated += rollouts
        if self._in_step[1] > MOST_ROLLOUTS_PER_STEP:
            raise RuntimeError(f"more than {MOST_ROLLOUTS_PER_STEP:,} rollouts in one step; does it ask until it likes what it gets?")

    def _group(self, question_id: int, size: int, rng: np.random.Generator) -> PromptGroup:
        pass_rate = 1 / (1 + np.exp(-self.ability[question_id] - 0.05 * self.policy_version))
        rewards = (rng.random(size) < pass_rate).astype(float)
        prompt = np.array([question_id % 97, 1], dtype=np.int64)
        rollouts = []
        for reward in rewards:
            tokens = rng.integers(2, 90, size=int(rng.integers(1, 6)))
            log_probs = -rng.random(len(tokens)).astype(np.float32)
            rollouts.append(Rollout(question_id, prompt, tokens, log_probs, self.policy_version, "", float(reward)))
        return PromptGroup(question_id, tuple(rollouts))


def _copy(rollout: Rollout) -> Rollout:
    log_probs = rollout.behaviour_log_probs
    return replace(
        rollout,
        completion_token_ids=rollout.completion_token_ids.copy(),
        behaviour_log_probs=None if log_probs is None else log_probs.copy(),
    )


class SimulatedRun:
    """A strategy driven step by step against a :class:`SimulatedEngine`."""

    def __init__(
        self,
        strategy: Strategy,
        pool_size: int = 256,
        seed: int = 1,
        groups_per_step: int = 16,
        group_size: int = 4,
        predictor: str | None = None,
    ) -> None:
        self.clock = Clock()
        self.pool = SimulatedPool(pool_size)
        self.engine = SimulatedEngine(pool_size, self.clock, seed)
        self.driver = StepDriver(
            strategy,
            self.engine,
            self.pool,
            self.clock,
            seed=seed,
            groups_per_step=groups_per_step,
            group_size=group_size,
            predictor=predictor,
        )

    def step(self) -> Batch:
        """One training step with an update that costs nothing."""
        self.engine.policy_version = self.driver.step
        with self.clock.phase("update"):
            batch = self.driver.next_batch()
        self.driver.finish_step(batch, UpdateReport(updates=1, loss=0.0, trained_tokens=sum(g.num_tokens for g in batch.groups)))
        return batch


def untrained_predictor(folder: Path) -> str:
    """An attention predictor with random weights, the same for queries and references: it compares embeddings, no more."""
    from harness.predictor.artifact import Arrays, save_artifact
    from harness.predictor.network import LAYERS

    rng, units = np.random.default_rng(0), 8
    arrays: Arrays = {}
    for layer in range(LAYERS):
        arrays[f"query.layers.{layer}.weight"] = rng.normal(size=(units, units if layer else EMBEDDING_WIDTH)).astype(np.float32)
        arrays[f"query.layers.{layer}.bias"] = np.zeros(units, np.float32)
    for norm, width in (("input_norm", EMBEDDING_WIDTH), ("output_norm", units)):
        arrays[f"query.{norm}.weight"], arrays[f"query.{norm}.bias"] = np.ones(width, np.float32), np.zeros(width, np.float32)
    for layer, shape in enumerate([(units, 2), (2, units)]):
        arrays[f"calibration.{layer}.weight"] = rng.normal(size=shape).astype(np.float32)
        arrays[f"calibration.{layer}.bias"] = np.zeros(shape[0], np.float32)
    description = {"kind": "attention", "embedder": "simulated", "width": EMBEDDING_WIDTH, "units": units, "shared": True, "head": "paper"}
    save_artifact(folder, description, arrays)
    return str(folder)
