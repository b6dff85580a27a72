"""One training step, engine-neutral: replay, select, roll out, refill, observe; with every cost on the ledger.

A backend builds one :class:`StepDriver` per run, asks it for the groups of each batch and hands back what the update
measured. The strategy sees the engine only through the metered services below, so it can get nothing that the ledger
does not see.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from harness.clock import Clock
from harness.strategy import StepContext, Strategy, check_selection
from harness.types import Costs, FloatArray, IntArray, PromptGroup, QuestionPool, Selection, StepRecord

#: Separate random streams, so that replaying more does not change what is selected. The values are part of the identity of a run's numbers.
_STREAMS = {"replay": 1, "select": 2, "admit": 3, "observe": 4, "predict": 5, "diagnostic": 6}

RolloutPhase = Literal["rollout", "probe"]


class RolloutEngine(Protocol):
    """What a backend does for the driver."""

    def rollout(self, question_ids: IntArray, rollouts_per_question: int, phase: RolloutPhase, stream: Sequence[int]) -> list[PromptGroup]:
        """Sample and score whole groups with the current policy, in the order of ``question_ids``.

        ``stream`` seeds the sampling; it is different for every call of a run. Times itself on the run's clock, as
        ``phase`` and (scoring of fresh rollouts) ``reward``.
        """
        ...

    def embed(self, question_ids: IntArray) -> FloatArray:
        """Frozen embeddings, shape (n, width)."""
        ...


@dataclass(slots=True)
class Batch:
    """The groups of one training step, fresh ones first, always ``groups_per_step`` of them."""

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
    importance_ratio: dict[str, float] = field(default_factory=dict)
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
            self._check_replayed(replayed)
        wanted = self.groups_per_step - len(replayed)
        selection, fresh, admitted = self._fresh_groups(wanted)
        with self.clock.phase("select"):
            self.strategy.observe([*self._probes, *fresh], self.context("observe"))
        self.costs.replayed_rollouts += sum(g.size for g in replayed)
        return Batch(self.step + 1, [*admitted, *replayed], selection, fresh)

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
        replayed = [g for g in batch.groups if g.source == "replayed"]
        return StepRecord(
            step=batch.step,
            question_ids=[g.question_id for g in batch.fresh],
            pass_rates=[g.pass_rate for g in batch.fresh],
            replayed_question_ids=[g.question_id for g in replayed],
            staleness=[batch.step - 1 - g.policy_version for g in replayed],
            non_degenerate_share=_share(not g.is_degenerate for g in batch.groups),
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
            info=dict(batch.selection.info),
        )

    def diagnose(self, num_questions: int, rollouts_per_question: int) -> dict[str, float]:
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
            return prediction_quality(np.asarray(predicted), np.array([g.pass_rate for g in groups]))

    def snapshot(self) -> Costs:
        """Every cost up to the last finished step, for an evaluation point."""
        return replace(self.costs)

    # -- services for the strategy ---------------------------------------------------------------------------------

    def probe(self, question_ids: IntArray, rollouts_per_question: int) -> list[PromptGroup]:
        with self.clock.phase("probe"):
            groups = self.engine.rollout(question_ids, rollouts_per_question, "probe", self._stream("select"))
        groups = [g.with_source("probe") for g in groups]
        self._meter(groups, "probe_rollouts")
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
        for _ in range(self.max_refills):
            if len(admitted) == wanted:
                break
            ids = self._select(wanted - len(admitted)).question_ids
            refill = self._roll_out(ids)
            fresh += refill
            more, refused_again = self._admit(refill)
            admitted, refused = admitted + more, refused + refused_again
        # The bound is reached: train on refused groups rather than on a short batch, or on none for ever.
        admitted += refused[: wanted - len(admitted)]
        trained = {id(g) for g in admitted}
        self._meter([g for g in fresh if id(g) in trained], "fresh_rollouts")
        self._meter([g for g in fresh if id(g) not in trained], "filtered_rollouts")
        return selection, fresh, admitted

    def _first_round(self, wanted: int) -> tuple[Selection, list[PromptGroup], list[PromptGroup]]:
        selection = self._select(wanted)
        with self.clock.phase("select"):
            reused = self.strategy.reuse(wanted, self.context("select"))
        ids = np.asarray(selection.question_ids)[: wanted - len(reused)]
        return selection, self._roll_out(ids), reused

    def _select(self, num_groups: int) -> Selection:
        with self.clock.phase("select"):
            selection = self.strategy.select(num_groups, self.context("select"))
        check_selection(selection, num_groups, len(self.pool), self.strategy.name)
        per_question = selection.rollouts_per_question
        if per_question is not None and (np.asarray(per_question) != self.group_size).any():
            raise ValueError(
                f"strategy {self.strategy.name!r} asked for other than {self.group_size} rollouts per question; "
                "groups of different sizes are not supported by this version"
            )
        return selection

    def _roll_out(self, question_ids: IntArray) -> list[PromptGroup]:
        if not len(question_ids):
            return []
        return self.engine.rollout(question_ids, self.group_size, "rollout", self._stream("select"))

    def _admit(self, groups: Sequence[PromptGroup]) -> tuple[list[PromptGroup], list[PromptGroup]]:
        admitted: list[PromptGroup] = []
        refused: list[PromptGroup] = []
        with self.clock.phase("select"):
            context = self.context("admit")
            for group in groups:
                (admitted if self.strategy.admit(group, context) else refused).append(group)
        return admitted, refused

    def _check_replayed(self, groups: list[PromptGroup]) -> None:
        if len(groups) > self.groups_per_step:
            raise ValueError(f"strategy {self.strategy.name!r} replayed {len(groups)} groups into a batch of {self.groups_per_step}")
        if any(g.size != self.group_size for g in groups):
            raise ValueError(f"strategy {self.strategy.name!r} replayed a group whose size is not {self.group_size}")

    def _meter(self, groups: Sequence[PromptGroup], column: str) -> None:
        setattr(self.costs, column, getattr(self.costs, column) + sum(g.size for g in groups))
        self.costs.generated_tokens += sum(g.num_tokens for g in groups)

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


def _share(flags: Any) -> float:
    flags = list(flags)
    return sum(flags) / len(flags) if flags else 0.0


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else 0.0
