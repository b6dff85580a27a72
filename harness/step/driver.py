"""One training step, engine-neutral: replay, select, roll out, refill, observe; with every cost on the ledger.

A backend builds one :class:`StepDriver` per run, asks it for the groups of each batch and hands back what the update
measured. The strategy gets three metered functions (:class:`harness.strategy.Services`) and never the engine itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from harness.backend import RolloutEngine
from harness.numerics.prediction_quality import diagnostics
from harness.step.batch_rules import check_batch, check_num_fresh, check_replayed, check_selection
from harness.step.clock import Clock
from harness.step.metered_engine import MeteredEngine
from harness.strategy import StepContext, Strategy
from harness.types import Costs, IntArray, PromptGroup, QuestionPool, Rollout, Selection, StepRecord


@dataclass(slots=True)
class Batch:
    """The groups of one training step, fresh ones first, and what was rolled out for it.

    step: 1 for the first. groups: what is trained on. selection: the first round's. fresh: every group rolled out for the step, in
    order, refused ones included. There are ``groups_per_step`` whole groups of ``group_size`` rollouts, unless the strategy requires
    ``group_sizes``, ``partial_groups`` or ``mixed_groups``: a backend that does not declare these never meets anything else.
    """

    step: int
    groups: list[PromptGroup]
    selection: Selection
    fresh: list[PromptGroup]


@dataclass(slots=True)
class UpdateReport:
    """What the backend measured while it trained on a batch.

    updates: optimizer steps. loss: mean over the batch's updates. trained_tokens: completion tokens in the loss.
    forward_tokens: tokens of additional log-prob passes. dropped_groups: degenerate groups left out of the update.
    importance_ratio: statistics of π_old/μ over replayed tokens, empty where there are none (see
    ``backends.common.ratios``). fresh_log_ratio, fresh_mean_log_ratio: largest and mean |log π_old − log μ| over fresh tokens, None where
    it was not measured.
    """

    updates: int
    loss: float
    trained_tokens: int
    forward_tokens: int = 0
    dropped_groups: int = 0
    importance_ratio: dict[str, Any] = field(default_factory=dict)
    fresh_log_ratio: float | None = None
    fresh_mean_log_ratio: float | None = None


class StepDriver:
    """Runs a strategy against an engine, one step at a time: ``next_batch``, the backend's update, ``finish_step``.

    groups_per_step: B, questions trained on per step. group_size: G, rollouts per question. max_refills: rounds of refill for
    refused groups where the strategy sets no bound of its own. predictor: folder of the trained predictor artifact, if the run has one.
    Raises ValueError for a pool smaller than a batch, StrategyError where a strategy breaks :mod:`harness.step.batch_rules`.
    """

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
        self.strategy, self.pool, self.clock = strategy, pool, clock
        self.seed, self.groups_per_step, self.group_size = seed, groups_per_step, group_size
        self.max_refills, self.predictor = max_refills, predictor
        self._engine = MeteredEngine(engine, clock, seed, strategy.name, strategy.requires)
        self._last_phases = dict.fromkeys(clock.phases, 0.0)

    @property
    def costs(self) -> Costs:
        """What has been spent so far; live, ``snapshot`` gives a copy."""
        return self._engine.costs

    @property
    def step(self) -> int:
        """Training steps completed."""
        return self.costs.training_steps

    # -- the step ------------------------------------------------------------------------------------------------

    def next_batch(self) -> Batch:
        """Everything before the update: which groups to train on in step ``self.step + 1``."""
        self._engine.begin_step()
        with self.clock.phase("replay"):
            context = self.context("replay")
            replayed = self.strategy.replay(self.groups_per_step, context)
            check_replayed(replayed, self.groups_per_step, self.group_size, self.strategy)
            wanted = self.strategy.replay_part.num_fresh(self.groups_per_step, replayed, context)
            check_num_fresh(wanted, self.groups_per_step, self.strategy)
        selection, fresh, admitted = self._fresh_groups(wanted)
        groups = self._compose(admitted, replayed)
        self._engine.meter_fresh(fresh, groups)
        with self.clock.phase("select"):
            self.strategy.observe([*self._engine.uncontinued_probes(fresh), *fresh], self.context("observe"))
        self.costs.replayed_rollouts += sum(sum(g.replayed_flags) for g in groups)
        return Batch(self.step + 1, groups, selection, fresh)

    def finish_step(self, batch: Batch, report: UpdateReport) -> StepRecord:
        """Account for a step after its update. Raises FloatingPointError for a loss that is not finite."""
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
            pool_size=len(self.pool),
            info=dict(batch.selection.info),
            policy_version=max((g.policy_version for g in batch.fresh), default=None),
            fresh_mean_log_ratio=report.fresh_mean_log_ratio,
        )

    def diagnose(self, num_questions: int, rollouts_per_question: int) -> dict[str, Any]:
        """How well the strategy predicts pass rates, on random questions rolled out off the clock and not shown to it.

        Empty if it predicts nothing; otherwise see :func:`harness.numerics.prediction_quality.diagnostics`.
        """
        with self.clock.off():
            rng = self.context("diagnostic").rng
            ids = rng.choice(len(self.pool), size=min(num_questions, len(self.pool)), replace=False)
            predicted = self.strategy.predict(ids, self.context("predict"))
            if predicted is None:
                return {}
            groups = self._engine.roll_out_off_the_clock(ids, rollouts_per_question, "diagnostic")
            return diagnostics(np.asarray(predicted), np.array([g.pass_rate for g in groups]))

    def snapshot(self) -> Costs:
        """Every cost up to the last finished step, for an evaluation point."""
        return replace(self.costs)

    # -- state -----------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Strategy, costs and clock between two steps."""
        return {"strategy": self.strategy.state_dict(), "costs": self.costs.to_json(), "clock": self.clock.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.strategy.load_state_dict(state["strategy"])
        self._engine.costs = Costs.from_json(state["costs"])
        self.clock.load_state_dict(state["clock"])
        self._last_phases = self.clock.phases

    # -- details ---------------------------------------------------------------------------------------------------

    def _fresh_groups(self, wanted: int) -> tuple[Selection, list[PromptGroup], list[PromptGroup]]:
        """(selection, fresh groups, groups to train on): refused groups are refilled, up to a bound."""
        selection, fresh, reused = self._first_round(wanted)
        admitted, refused = self._admit([*fresh, *reused])
        refills = 0
        while len(admitted) < wanted and refills < self._most_refills():
            refills += 1
            refill = self._roll_out(self._select(wanted - len(admitted)))
            fresh += refill
            more, refused_again = self._admit(refill)
            admitted, refused = admitted + more, refused + refused_again
        # The bound is reached: train on refused groups rather than on a short batch, or on none for ever.
        fill = refused if self.strategy.selector.fill_short_batches or not admitted else []
        return selection, fresh, [*admitted, *fill][:wanted]

    def _most_refills(self) -> int:
        """The strategy's own bound if it has one; asked again before every round, which it may depend on."""
        own = self.strategy.selector.max_refills
        return self.max_refills if own is None else own

    def _first_round(self, wanted: int) -> tuple[Selection, list[PromptGroup], list[PromptGroup]]:
        selection = self._select(wanted)
        with self.clock.phase("select"):
            reused = self.strategy.selector.reuse(wanted, self.context("select"))
        return selection, self._roll_out(selection, len(selection.question_ids) - len(reused)), reused

    def _select(self, missing: int) -> Selection:
        with self.clock.phase("select"):
            context = self.context("select")
            size = min(max(missing, self.strategy.selector.round_size(missing, context)), len(self.pool))
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
        new = {g.question_id: g for g in self._engine.roll_out(ids[due], missing[due])}
        return [_continued(int(i), started.get(int(i), ()), new.get(int(i))) for i in ids]

    def _compose(self, admitted: Sequence[PromptGroup], replayed: Sequence[PromptGroup]) -> list[PromptGroup]:
        """The batch: the selector's subsets and weights of the fresh groups, then what the replay part adds to them."""
        with self.clock.phase("select"):
            context = self.context("subset")
            fresh = self.strategy.weigh([self.strategy.subset(group, context) for group in admitted], context)
        with self.clock.phase("replay"):
            groups = self.strategy.mix([*fresh, *replayed], self.context("mix"))
        check_batch(groups, self.groups_per_step, self.group_size, self.strategy)
        return groups

    def _admit(self, groups: Sequence[PromptGroup]) -> tuple[list[PromptGroup], list[PromptGroup]]:
        """(admitted, refused) groups of one round."""
        with self.clock.phase("select"):
            answers = self.strategy.admit_round(groups, self.context("admit"))
        split: tuple[list[PromptGroup], list[PromptGroup]] = ([], [])
        for group, admitted in zip(groups, answers, strict=True):
            split[not admitted].append(group)
        return split

    def context(self, stream: str) -> StepContext:
        """What a strategy gets now; ``stream`` names the random numbers (a key of ``metered_engine.STREAMS``)."""
        return StepContext(
            step=self.step + 1,
            policy_version=self.step,
            rng=self._engine.rng(stream),
            seed=self.seed,
            pool=self.pool,
            group_size=self.group_size,
            costs=replace(self.costs),
            services=self._engine.services,
            predictor=self.predictor,
        )


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
