"""The engine behind the ledger: what a strategy may ask of it, and the count of everything it generates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.backend import RolloutEngine
from harness.errors import StrategyError, UserError
from harness.step.clock import Clock
from harness.strategy import Requirement, Services
from harness.types import Costs, FloatArray, IntArray, PromptGroup, with_uids

#: Separate random streams, so that replaying more does not change what is selected. The values are part of the identity of a run's numbers.
STREAMS = {"replay": 1, "select": 2, "admit": 3, "observe": 4, "predict": 5, "diagnostic": 6, "subset": 7, "mix": 8}

_LACKS = {
    "probe": "rolled out probes",
    "embed": "asked for embeddings",
    "oracle": "asked for true pass rates",
}


class MeteredEngine:
    """Counts rollouts and tokens of an engine in ``costs``, gives every rollout its uid and every call a random stream of its own.

    name, requires: of the strategy that is served. probes: the groups probed in the current step.
    """

    def __init__(self, engine: RolloutEngine, clock: Clock, seed: int, name: str, requires: frozenset[Requirement]) -> None:
        self._engine, self._clock, self._seed = engine, clock, seed
        self._name, self._requires = name, requires
        self.costs = Costs()
        self.probes: list[PromptGroup] = []
        self._made: set[str] = set()  # uids of the rollouts of the current step
        self._calls = 0

    @property
    def services(self) -> Services:
        """The three functions that a strategy gets."""
        return Services(self.probe, self.embed, self.oracle_pass_rates)

    def begin_step(self) -> None:
        """Forget the probes of the step before; engine calls are counted anew."""
        self.probes, self._made, self._calls = [], set(), 0

    def rng(self, stream: str) -> np.random.Generator:
        """The generator of a stream (a key of ``STREAMS``) at this step and call."""
        return np.random.default_rng(self._stream(stream))

    def roll_out(self, question_ids: IntArray, sizes: IntArray) -> list[PromptGroup]:
        """Fresh groups, in order; ``sizes`` of shape (n,). The driver meters them once it knows which are trained on."""
        if not len(question_ids):
            return []
        per_question: Any = int(sizes[0]) if (sizes == sizes[0]).all() else sizes
        stream = self._next_stream("select")
        return self._scored(self._engine.rollout(question_ids, per_question, "rollout", stream), stream)

    def probe(self, question_ids: IntArray, rollouts_per_question: int) -> list[PromptGroup]:
        """Groups rolled out for the strategy, charged at once. Raises StrategyError without ``probe`` in its requires."""
        self._check_declared("probe")
        stream = self._next_stream("select")
        with self._clock.phase("probe"):
            rolled = self._scored(self._engine.rollout(question_ids, rollouts_per_question, "probe", stream), stream)
        groups = [g.with_source("probe") for g in rolled]
        self.costs.probe_rollouts += sum(g.size for g in groups)
        self.costs.generated_tokens += sum(g.num_tokens for g in groups)
        self.probes.extend(groups)
        return groups

    def embed(self, question_ids: IntArray) -> FloatArray:
        """Frozen embeddings, shape (n, width). Raises StrategyError without ``embed`` in the strategy's requires."""
        self._check_declared("embed")
        return self._engine.embed(question_ids)

    def oracle_pass_rates(self, question_ids: IntArray, rollouts_per_question: int) -> FloatArray:
        """True pass rates, shape (n,), off the clock. Raises StrategyError without ``oracle`` in the strategy's requires."""
        self._check_declared("oracle")
        groups = self.roll_out_off_the_clock(question_ids, rollouts_per_question, "select")
        self.costs.oracle_rollouts += sum(g.size for g in groups)
        return np.array([g.pass_rate for g in groups])

    def roll_out_off_the_clock(self, question_ids: IntArray, rollouts_per_question: int, stream: str) -> list[PromptGroup]:
        """Groups that cost nobody anything; the caller says in the ledger what they were for."""
        with self._clock.off():
            return self._engine.rollout(question_ids, rollouts_per_question, "probe", self._next_stream(stream))

    def meter_fresh(self, fresh: Sequence[PromptGroup], batch: Sequence[PromptGroup]) -> None:
        """Charge the rollouts made for the batch: ``fresh`` if trained on, ``filtered`` if not; probes have been charged already."""
        trained = {r.uid for g in batch for r in g.trained_rollouts}
        probed = {r.uid for g in self.probes for r in g.rollouts}
        for rollout in (r for g in fresh for r in g.rollouts):
            if rollout.uid in probed or rollout.uid not in self._made:
                continue
            self.costs.generated_tokens += rollout.num_tokens
            if rollout.uid in trained:
                self.costs.fresh_rollouts += 1
            else:
                self.costs.filtered_rollouts += 1

    def uncontinued_probes(self, fresh: Sequence[PromptGroup]) -> list[PromptGroup]:
        """Probe groups that were not continued: a continued one is observed once, as the whole group."""
        first = {g.rollouts[0].uid for g in fresh}
        return [g for g in self.probes if g.rollouts[0].uid not in first]

    def _scored(self, groups: Sequence[PromptGroup], stream: Sequence[int]) -> list[PromptGroup]:
        """The groups with their uids. Raises UserError for a reward outside [0, 1], which pass rates could not be made of."""
        for group in groups:
            if group.rewards.min() < 0 or group.rewards.max() > 1:
                raise UserError(
                    f"question {group.question_id} was scored with rewards from {group.rewards.min():g} to {group.rewards.max():g}; "
                    "rewards lie between 0 and 1: rescale the reward, or declare the threshold from which it counts as a success"
                )
        scored = with_uids(groups, stream)
        self._made.update(r.uid for g in scored for r in g.rollouts)
        return scored

    def _check_declared(self, requirement: Requirement) -> None:
        if requirement not in self._requires:
            raise StrategyError(f"strategy {self._name!r} {_LACKS[requirement]} without declaring requires = {{{requirement!r}}}")

    def _next_stream(self, name: str) -> list[int]:
        self._calls += 1
        return self._stream(name)

    def _stream(self, name: str) -> list[int]:
        return [self._seed, STREAMS[name], self.costs.training_steps, self._calls]
