"""One training step, engine-neutral: replay, select, roll out, refill, observe; with every cost on the ledger.

A backend builds one :class:`StepDriver` per run, asks it for the groups of each batch and hands back what the update
measured. The strategy sees the engine only through the metered services below, so it can get nothing that the ledger
does not see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.backend import RolloutEngine
from harness.numerics.prediction_quality import calibration_curve
from harness.step.advantage import is_informative
from harness.step.batch_rules import check_batch, check_replayed, check_selection, num_trained
from harness.step.clock import Clock
from harness.strategy import StepContext, Strategy
from harness.types import Costs, FloatArray, IntArray, PromptGroup, QuestionPool, Rollout, Selection, StepRecord

#: Separate random streams, so that replaying more does not change what is selected. The values are part of the identity of a run's numbers.
_STREAMS = {"replay": 1, "select": 2, "admit": 3, "observe": 4, "predict": 5, "diagnostic": 6, "subset": 7, "mix": 8}


@dataclass(slots=True)
class Batch:
    """The groups of one training step, fresh ones first, and what was rolled out for it.

    There are ``groups_per_step`` whole groups of ``group_size`` rollouts, unless the strategy requires ``group_sizes``,
    ``partial_groups`` or ``mixed_groups``: a backend that does not declare these never meets anything else.
    """

    step: int
    groups: list[PromptGroup]
    selection: Selection
    fresh: list[PromptGroup]


@dataclass(slots=True)
class UpdateReport:
    """What the backend measured while it trained on a batch."""

    updates: int
    loss: float
    trained_tokens: int
    forward_tokens: int = 0
    dropped_groups: int = 0
    importance_ratio: dict[str, Any] = field(default_factory=dict)
    fresh_log_ratio: float | None = None


class StepDriver:
    """Runs a strategy against an engine, one step at a time."""

    def __init__(
        self,
        strategy: Strategy,
        engine: RolloutEngine,
        pool: QuestionPool,
        clock: Clock,
        *,
        seed: int,
        groups_per_step: int,
        group_size: int,
        max_refills: int = 4,
        predictor: str | None = None,
    ) -> None:
        if groups_per_step > len(pool):
            raise ValueError(f"groups_per_step is {groups_per_step}, but the pool has only {len(pool)} questions")
        self.strategy, self.engine, self.pool, self.clock = strategy, engine, pool, clock
        self.seed, self.groups_per_step, self.group_size = seed, groups_per_step, group_size
        self.max_refills, self.predictor = max_refills, predictor
        self.costs = Costs()
        self._probes: list[PromptGroup] = []
        self._calls = 0
        self._last_phases = dict.fromkeys(clock.phases, 0.0)
        self._oracle_allowed = "oracle" in strategy.requires

    @property
    def step(self) -> int:
        """Training steps completed."""
        return self.costs.training_steps

    # -- the step ------------------------------------------------------------------------------------------------

    def next_batch(self) -> Batch:
        """Everything before the update: which groups to train on in step ``self.step + 1``."""
        self._probes, self._calls = [], 0
        with self.clock.phase("replay"):
            replayed = self.strategy.replay(self.groups_per_step, self.context("replay"))
            check_replayed(replayed, self.groups_per_step, self.group_size, self.strategy)
        wanted = self.groups_per_step - -(-num_trained(replayed) // self.group_size)
        selection, fresh, admitted = self._fresh_groups(wanted)
        groups = self._compose(admitted, replayed)
        self._meter_fresh(fresh, groups)
        with self.clock.phase("select"):
            self.strategy.observe([*self._uncontinued_probes(fresh), *fresh], self.context("observe"))
        self.costs.replayed_rollouts += sum(sum(g.replayed_flags) for g in groups)
        return Batch(self.step + 1, groups, selection, fresh)

    def finish_step(self, batch: Batch, report: UpdateReport) -> StepRecord:
        """Close the books of a step after its update."""
        if not math.isfinite(report.loss):
            raise FloatingPointError(f"the loss is {report.loss} at step {batch.step}")
        costs = self.costs
        costs.training_steps += 1
        costs.optimizer_steps += report.updates
        costs.trained_tokens += report.trained_tokens
        costs.forward_tokens += report.forward_tokens
        phases = self.clock.phases
        costs.training_seconds, costs.cpu_seconds = sum(phases.values()), self.clock.cpu_seconds
        spent = {name: phases[name] - self._last_phases[name] for name in phases}
        self._last_phases = phases
        rollouts = [r for g in batch.fresh for r in g.rollouts]
        replayed = [g for g in batch.groups if any(g.replayed_flags)]
        return StepRecord(
            step=batch.step,
            question_ids=[g.question_id for g in batch.fresh],
            pass_rates=[g.pass_rate for g in batch.fresh],
            replayed_question_ids=[g.question_id for g in replayed],
            staleness=[batch.step - 1 - min(r.policy_version for r in g.trained_rollouts) for g in replayed],
            non_degenerate_share=_share(is_informative(g) for g in batch.groups),
            dropped_groups=report.dropped_groups,
            updates=report.updates,
            seconds=sum(spent.values()),
            phases=spent,
            costs=replace(costs),
            loss=report.loss,
            mean_reward=_mean([r.reward for r in rollouts]),
            mean_completion_tokens=_mean([r.num_tokens for r in rollouts]),
            importance_ratio=report.importance_ratio,
            fresh_log_ratio=report.fresh_log_ratio,
            pool_size=len(self.pool),
            info=dict(batch.selection.info),
        )

    def diagnose(self, num_questions: int, rollouts_per_question: int) -> dict[str, Any]:
        """How well the strategy predicts pass rates, on random questions rolled out off the clock and not shown to it.

        Empty if it predicts nothing. Correlations are NaN-free: they are left out where one side does not vary.
        """
        with self.clock.off():
            context = self.context("diagnostic")
            ids = context.rng.choice(len(self.pool), size=min(num_questions, len(self.pool)), replace=False)
            predicted = self.strategy.predict(ids, self.context("predict"))
            if predicted is None:
                return {}
            groups = self.engine.rollout(ids, rollouts_per_question, "probe", self._stream("diagnostic"))
            predicted, observed = np.asarray(predicted), np.array([g.pass_rate for g in groups])
            reliability = [[b["n"], b["predicted"], b["true"]] for b in calibration_curve(predicted, observed)]
            return {**prediction_quality(predicted, observed), "reliability": reliability}

    def snapshot(self) -> Costs:
        """Every cost up to the last finished step, for an evaluation point."""
        return replace(self.costs)

    # -- services for the strategy ---------------------------------------------------------------------------------

    def probe(self, question_ids: IntArray, rollouts_per_question: int) -> list[PromptGroup]:
        with self.clock.phase("probe"):
            groups = self.engine.rollout(question_ids, rollouts_per_question, "probe", self._stream("select"))
        groups = [g.with_source("probe") for g in groups]
        self.costs.probe_rollouts += sum(g.size for g in groups)
        self.costs.generated_tokens += sum(g.num_tokens for g in groups)
        self._probes.extend(groups)
        return groups

    def embed(self, question_ids: IntArray) -> FloatArray:
        return self.engine.embed(question_ids)

    def oracle_pass_rates(self, question_ids: IntArray, rollouts_per_question: int) -> FloatArray:
        if not self._oracle_allowed:
            raise PermissionError(f"strategy {self.strategy.name!r} asked for true pass rates without declaring requires = {{'oracle'}}")
        with self.clock.off():
            groups = self.engine.rollout(question_ids, rollouts_per_question, "probe", self._stream("select"))
        self.costs.oracle_rollouts += sum(g.size for g in groups)
        return np.array([g.pass_rate for g in groups])

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Strategy, costs and clock between two steps."""
        return {"strategy": self.strategy.state_dict(), "costs": self.costs.to_json(), "clock": self.clock.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.strategy.load_state_dict(state["strategy"])
        self.costs = Costs.from_json(state["costs"])
        self.clock.load_state_dict(state["clock"])
        self._last_phases = self.clock.phases

    # -- details ---------------------------------------------------------------------------------------------------

    def _fresh_groups(self, wanted: int) -> tuple[Selection, list[PromptGroup], list[PromptGroup]]:
        """(selection, fresh groups, groups to train on): refused groups are refilled; ``wanted`` groups always come back."""
        selection, fresh, reused = self._first_round(wanted)
        admitted, refused = self._admit([*fresh, *reused])
        own_bound = self.strategy.max_refills
        for _ in range(self.max_refills if own_bound is None else own_bound):
            if len(admitted) >= wanted:
                break
            refill = self._roll_out(self._select(wanted - len(admitted)))
            fresh += refill
            more, refused_again = self._admit(refill)
            admitted, refused = admitted + more, refused + refused_again
        # The bound is reached: train on refused groups rather than on a short batch, or on none for ever.
        return selection, fresh, [*admitted, *refused][:wanted]

    def _first_round(self, wanted: int) -> tuple[Selection, list[PromptGroup], list[PromptGroup]]:
        selection = self._select(wanted)
        with self.clock.phase("select"):
            reused = self.strategy.reuse(wanted, self.context("select"))
        return selection, self._roll_out(selection, len(selection.question_ids) - len(reused)), reused

    def _select(self, missing: int) -> Selection:
        with self.clock.phase("select"):
            context = self.context("select")
            size = min(max(missing, self.strategy.round_size(missing, context)), len(self.pool))
            selection = self.strategy.select(size, context)
        check_selection(selection, size, len(self.pool), self.group_size, self.strategy)
        return selection

    def _sizes(self, selection: Selection) -> IntArray:
        sizes = selection.rollouts_per_question
        return np.full(len(selection.question_ids), self.group_size) if sizes is None else np.asarray(sizes)

    def _roll_out(self, selection: Selection, first: int | None = None) -> list[PromptGroup]:
        """Groups of the (first) selected questions: what was started is continued, the rest is rolled out at once."""
        ids, sizes = np.asarray(selection.question_ids)[:first], self._sizes(selection)[:first]
        started = {g.question_id: g.rollouts for g in selection.started}
        missing = sizes - np.array([len(started.get(int(i), ())) for i in ids], dtype=np.int64)
        due = missing > 0
        counts = missing[due]
        alike = len(counts) > 0 and bool((counts == counts[0]).all())
        stream = self._stream("select") if due.any() else []
        rolled = self.engine.rollout(ids[due], int(counts[0]) if alike else counts, "rollout", stream) if due.any() else []
        new = {g.question_id: g for g in rolled}
        return [_continued(int(i), started.get(int(i), ()), new.get(int(i))) for i in ids]

    def _compose(self, admitted: Sequence[PromptGroup], replayed: Sequence[PromptGroup]) -> list[PromptGroup]:
        """The batch: the selector's subsets of the fresh groups, then what the replay part makes of them and the replayed ones."""
        with self.clock.phase("select"):
            context = self.context("subset")
            fresh = [self.strategy.subset(group, context) for group in admitted]
        with self.clock.phase("replay"):
            groups = self.strategy.mix([*fresh, *replayed], self.context("mix"))
        check_batch(groups, self.groups_per_step, self.group_size, self.strategy)
        return groups

    def _uncontinued_probes(self, fresh: Sequence[PromptGroup]) -> list[PromptGroup]:
        """Probe groups that were not continued: a continued one is observed once, as the whole group."""
        first = {id(g.rollouts[0]) for g in fresh}
        return [g for g in self._probes if id(g.rollouts[0]) not in first]

    def _admit(self, groups: Sequence[PromptGroup]) -> tuple[list[PromptGroup], list[PromptGroup]]:
        admitted: list[PromptGroup] = []
        refused: list[PromptGroup] = []
        with self.clock.phase("select"):
            context = self.context("admit")
            for group in groups:
                (admitted if self.strategy.admit(group, context) else refused).append(group)
        return admitted, refused

    def _meter_fresh(self, fresh: Sequence[PromptGroup], batch: Sequence[PromptGroup]) -> None:
        """Rollouts generated for the batch: ``fresh`` if trained on, ``filtered`` if not; probes have been metered already."""
        trained = {id(r) for g in batch for r in g.trained_rollouts}
        probed = {id(r) for g in self._probes for r in g.rollouts}
        for rollout in (r for g in fresh for r in g.rollouts):
            if id(rollout) in probed or rollout.policy_version < self.step:
                continue
            self.costs.generated_tokens += rollout.num_tokens
            if id(rollout) in trained:
                self.costs.fresh_rollouts += 1
            else:
                self.costs.filtered_rollouts += 1

    def _stream(self, name: str) -> list[int]:
        self._calls += 1
        return [self.seed, _STREAMS[name], self.step, self._calls]

    def context(self, stream: str) -> StepContext:
        """What a strategy is told now; ``stream`` names the random numbers (a key of ``_STREAMS``)."""
        # Streams do not depend on the strategy's name: strategies are compared with common random numbers.
        return StepContext(
            step=self.step + 1,
            policy_version=self.step,
            rng=np.random.default_rng([self.seed, _STREAMS[stream], self.step, self._calls]),
            seed=self.seed,
            pool=self.pool,
            group_size=self.group_size,
            costs=replace(self.costs),
            services=self,
            predictor=self.predictor,
        )


def prediction_quality(predicted: FloatArray, observed: FloatArray) -> dict[str, float]:
    """Pearson, Spearman and mean absolute error of predicted against observed pass rates, both of shape (n,)."""
    quality = {"n": float(len(predicted)), "mae": float(np.abs(predicted - observed).mean())}
    if len(predicted) > 2 and predicted.std() > 0 and observed.std() > 0:
        quality["pearson"] = float(np.corrcoef(predicted, observed)[0, 1])
        quality["spearman"] = float(np.corrcoef(_ranks(predicted), _ranks(observed))[0, 1])
    return quality


def _ranks(values: FloatArray) -> FloatArray:
    """Ranks with ties at their mean."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def _continued(question_id: int, started: Sequence[Rollout], new: PromptGroup | None) -> PromptGroup:
    """A fresh group whose first rollouts were probed earlier."""
    if new is not None and not started:
        return new
    return PromptGroup(question_id, (*started, *(new.rollouts if new is not None else ())))


def _share(flags: Any) -> float:
    flags = list(flags)
    return sum(flags) / len(flags) if flags else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
