"""The contract every backend keeps, as a product: a class of tests that a backend's own tests subclass.

    from harness.testing.backend_contract import BackendContract, Training, contract_spec

    @pytest.fixture(scope="module")
    def training(...) -> Training: ...          # contract_spec(backend), through the real trainer
    @pytest.fixture(scope="module")
    def resumed(...) -> Training: ...           # the same run, stopped after RESUME_AFTER steps and gone on with
    @pytest.fixture(scope="module")
    def plain(...) -> tuple[list[Rows], list[Rows]]: ...   # GRPO through Halfway, and the engine's plain trainer

    class TestContract(BackendContract):
        def loss_and_gradient(self, case: LossCase) -> ...: ...      # of the engine's own loss

The backend supplies recordings of its real trainer; the promises are judged here, the same for all. One strategy provokes them
all: it refuses groups, so that there are refills, and replays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from harness.records.ledger import RunLog
from harness.registry import strategy_entry
from harness.spec import AlgorithmSpec, CombinationSpec, EvaluationSpec, ExecutionSpec, ModelSpec, RunSpec, StrategySpec, TaskSpec
from harness.step.driver import Batch
from harness.strategies.fifo import FifoReplay
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, Correction, StepContext
from harness.types import FloatArray, PromptGroup

STEPS = 5
RESUME_AFTER = 2
PLUGIN = "harness.testing.backend_contract:PICKY"


class Picky(Uniform):
    """Uniform selection that refuses every third question, so that the backend has to refill, and weighs every second by a half."""

    requires = frozenset({"loss_weights"})

    def weigh(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[float]:
        return [0.5 if g.question_id % 2 else 1.0 for g in groups]

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return group.question_id % 3 != 0


PICKY = Composition(Picky, FifoReplay, summary="refuses and replays, to see what a backend does with it", acts="in the batch")


@dataclass(frozen=True, slots=True)
class Row:
    """One rollout as the engine's loss got it; log-probs of shape (T,), None where the engine's loss needs none."""

    prompt: tuple[int, ...]
    completion: tuple[int, ...]
    behaviour_log_probs: FloatArray | None = None
    old_log_probs: FloatArray | None = None
    advantage: float = 0.0

    @property
    def tokens(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.prompt, self.completion


Rows = Sequence[Row]


@dataclass(slots=True)
class Seen:
    """One training step: the driver's batch, and the rows that reached the loss in all of its updates."""

    batch: Batch
    rows: list[Row]
    updates: int


@dataclass(slots=True)
class Training:
    """A recorded run. generated_rollouts and generated_tokens: the engine's own count of what it sampled on the clock."""

    log: RunLog
    steps: list[Seen] = field(default_factory=list)
    generated_rollouts: int = 0
    generated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class LossCase:
    """A batch for the loss: arrays of shape (B, T), float32; advantages (B,); replayed (B,) booleans; mask 1 on tokens."""

    new: FloatArray
    old: FloatArray
    behaviour: FloatArray
    advantages: FloatArray
    mask: FloatArray
    replayed: Any
    epsilon: float
    correction: Correction


def contract_spec(backend: str, strategy: str = "picky", **execution: Any) -> RunSpec:
    """The run of the contract: tiny, two updates per batch, refusals and replay in every step from the second or third on."""
    entry = strategy_entry(strategy, [PLUGIN])
    own = {"capacity": 8, "fresh_fraction": 0.5} if strategy == "picky" else {}
    return RunSpec(
        suite="contract",
        combination=CombinationSpec(
            name="words",
            backend=backend,
            model=ModelSpec(name="embedded:llama-64x2"),
            task=TaskSpec(name="spell-backward", config={"train": 96, "test": 16, "validation": 16, "adapter": 16}),
        ),
        strategy=StrategySpec(
            label=strategy,
            name=strategy,
            version=entry.version,
            config=entry.resolve_config(own),
            plugin=PLUGIN if strategy == "picky" else None,
        ),
        algorithm=AlgorithmSpec(
            groups_per_step=8,
            group_size=4,
            updates_per_batch=2,
            max_steps=STEPS,
            max_completion_tokens=12,
            learning_rate=1e-3,
            advantage_normalization="none",  # with "std" the libraries add different constants to the deviation
        ),
        evaluation=EvaluationSpec(every_steps=STEPS, diagnostic_questions=0),
        seed=3,
        execution=ExecutionSpec(**{"threads": 1, "checkpoint_every_steps": RESUME_AFTER, **execution}),
    )


def loss_cases() -> list[LossCase]:
    """Both centres of the clip, with and without a cap on the weight, and replayed rows as on-policy ones; ratios far enough from 1
    that every branch is taken."""
    rng = np.random.default_rng(7)
    shape = (16, 12)
    behaviour = -3 * rng.random(shape)
    old = behaviour + 0.5 * rng.standard_normal(shape)
    replayed = np.arange(shape[0]) % 2 == 0
    behaviour[~replayed] = old[~replayed]  # a fresh row was sampled by the old policy
    new = old + 0.8 * rng.standard_normal(shape)  # beyond 3, where verl's default would bound the loss of bad tokens once more
    lengths = rng.integers(3, shape[1] + 1, shape[0])
    new32, old32, behaviour32 = (a.astype(np.float32) for a in (new, old, behaviour))
    advantages = rng.standard_normal(shape[0]).astype(np.float32)
    mask = (np.arange(shape[1]) < lengths[:, None]).astype(np.float32)
    corrections = (Correction("old"), Correction("old", 1.5), Correction("one"), Correction(ratio="old"))
    return [LossCase(new32, old32, behaviour32, advantages, mask, replayed, 0.2, correction) for correction in corrections]


def reference_loss(case: LossCase) -> tuple[float, FloatArray]:
    """Loss (mean over tokens) and its gradient for ``new``, from the formulas of the method, in float64.

    code: min(r̃A, clip(r̃, ρ(1−ε), ρ(1+ε))A) with r̃ = ρπ/π_old and ρ = min(π_old/μ, cap); paper: ρ = 1 in the bounds; with
    ``ratio = "old"`` ρ = 1 everywhere.
    """
    new, old, mu = (a.astype(np.float64) for a in (case.new, case.old, case.behaviour))
    advantage = case.advantages.astype(np.float64)[:, None]
    rho = np.exp(old - mu) if case.correction.ratio == "behaviour" else np.ones_like(old)
    if case.correction.weight_cap is not None:
        rho = np.minimum(rho, case.correction.weight_cap)
    ratio = rho * np.exp(new - old)
    centre = rho if case.correction.clip_center == "old" else np.ones_like(rho)
    clipped = np.clip(ratio, centre * (1 - case.epsilon), centre * (1 + case.epsilon))
    free = ratio * advantage <= clipped * advantage
    objective = np.where(free, ratio, clipped) * advantage
    moves = free | (clipped == ratio)
    tokens = case.mask.sum()
    loss = -(objective * case.mask).sum() / tokens
    return float(loss), -(np.where(moves, ratio * advantage, 0.0) * case.mask) / tokens


class BackendContract:
    """Subclass it, supply the fixtures and ``loss_and_gradient``; pytest runs every promise."""

    #: Of |π_old/μ − 1| on fresh tokens, on average; the largest may be ten times that (float32, unlikely tokens).
    ratio_tolerance: ClassVar[float] = 1e-5

    def loss_and_gradient(self, case: LossCase) -> tuple[float, FloatArray]:
        """The engine's own loss of a batch and its gradient for ``case.new``, shape (B, T)."""
        raise NotImplementedError

    def test_selected_ids_are_the_ids_generated(self, training: Training) -> None:
        """The ledger's questions are those whose prompts reached the loss or were refused, in the order of the selection."""
        for seen, record in zip(training.steps, training.log.steps, strict=True):
            assert [g.question_id for g in seen.batch.fresh] == record.question_ids
            prompts = {tuple(r.prompt_token_ids.tolist()) for g in seen.batch.groups for r in g.rollouts}
            assert {row.prompt for row in seen.rows} == prompts

    def test_groups_arrive_whole_and_once(self, training: Training) -> None:
        """The rows of one step's updates together are the step's groups: nothing split off, lost or doubled."""
        for seen in training.steps:
            assert Counter(row.tokens for row in seen.rows) == Counter(_tokens(seen.batch.groups))
            assert len(seen.batch.groups) == 8
            assert all(g.size == 4 for g in seen.batch.groups)
            sources = [g.source for g in seen.batch.groups]
            assert sources == sorted(sources), "fresh groups come before replayed ones"

    def test_refused_groups_are_refilled(self, training: Training) -> None:
        """Every batch is full although groups are refused, and none of those is in it while others could be had."""
        refused = 0
        for seen in training.steps:
            refused += sum(g.question_id % 3 == 0 for g in seen.batch.fresh)
            trained = [g for g in seen.batch.groups if g.source != "replayed"]
            assert all(g.question_id % 3 != 0 for g in trained)
        assert refused > 0
        assert training.log.steps[-1].costs.filtered_rollouts == 4 * refused

    def test_replayed_groups_reach_the_loss_with_their_stored_log_probs(self, training: Training) -> None:
        """μ of a replayed rollout is, bit for bit, what was recorded when it was sampled; its group is of an earlier step."""
        sampled: dict[Any, list[FloatArray]] = {}
        replayed = 0
        for seen in training.steps:
            for group in seen.batch.fresh:
                for tokens, rollout in zip(_tokens([group]), group.rollouts, strict=True):
                    assert rollout.behaviour_log_probs is not None
                    sampled.setdefault(tokens, []).append(rollout.behaviour_log_probs.copy())
            old = [g for g in seen.batch.groups if g.source == "replayed"]
            assert all(g.policy_version < seen.batch.step - 1 for g in old)
            again = set(_tokens(old)) - set(_tokens([g for g in seen.batch.groups if g.source != "replayed"]))
            for row in seen.rows:
                if row.tokens in again:
                    replayed += 1
                    mu = row.behaviour_log_probs
                    assert mu is not None
                    assert any(np.array_equal(mu, known) for known in sampled[row.tokens])
        assert replayed > 0

    def test_importance_ratio_is_one_on_fresh_groups(self, training: Training) -> None:
        """The log-probs of sampling and those of training agree on every fresh token."""
        for seen, record in zip(training.steps, training.log.steps, strict=True):
            known = {t: r for g in seen.batch.groups if g.source != "replayed" for t, r in zip(_tokens([g]), g.rollouts, strict=True)}
            fresh = [(row.old_log_probs, known[row.tokens].behaviour_log_probs) for row in seen.rows if row.tokens in known]
            off = np.concatenate([np.abs(np.exp(old - mu) - 1) for old, mu in fresh if old is not None and mu is not None])
            assert len(off) > 0
            assert off.mean() < self.ratio_tolerance
            assert record.fresh_log_ratio is not None
            assert record.fresh_log_ratio < 10 * self.ratio_tolerance

    def test_advantages_carry_the_loss_weights(self, training: Training) -> None:
        """Each row's advantage is its reward minus its group's mean, times its group's loss weight, in float64."""
        weighted = 0
        for seen in training.steps:
            expected: dict[Any, list[float]] = {}
            for group in seen.batch.groups:
                values = group.loss_weight * (group.rewards - group.rewards.mean())
                for tokens, value in zip(_tokens([group]), values.tolist(), strict=True):
                    expected.setdefault(tokens, []).append(value)
                    weighted += group.loss_weight != 1.0 and value != 0.0
            for row in seen.rows:
                assert min(abs(row.advantage - value) for value in expected[row.tokens]) < 1e-6
        assert weighted > 0

    def test_ledger_equals_the_engines_own_counters(self, training: Training) -> None:
        """Rollouts, tokens and updates in the ledger are those that the engine made."""
        costs = training.log.steps[-1].costs
        assert costs.fresh_rollouts + costs.filtered_rollouts + costs.probe_rollouts == training.generated_rollouts
        assert costs.generated_tokens == training.generated_tokens
        assert costs.trained_tokens == sum(len(row.completion) for seen in training.steps for row in seen.rows)
        assert costs.optimizer_steps == sum(seen.updates for seen in training.steps) == 2 * STEPS
        assert costs.fresh_rollouts + costs.replayed_rollouts == 8 * 4 * STEPS

    def test_evaluations_hold_every_answer(self, training: Training) -> None:
        """The accuracy of a set is the share of its right answers, question by question; completions have a length."""
        samples = training.log.spec["evaluation"]["samples_per_question"]
        for point in training.log.evaluations:
            for name, accuracy in point.accuracies.items():
                assert np.isclose(accuracy, sum(point.right[name]) / (samples * len(point.right[name])))
                assert point.completions[name]["tokens"] > 0

    def test_phases_add_up_and_evaluation_is_off_the_clock(self, training: Training) -> None:
        """The phases of a step sum to its seconds, the steps to the clock; every phase that happened has time."""
        for step in training.log.steps:
            assert abs(sum(step.phases.values()) - step.seconds) < 1e-6
            assert min(step.phases[name] for name in ("rollout", "update")) > 0
        total = sum(step.seconds for step in training.log.steps)
        assert abs(total - training.log.steps[-1].costs.training_seconds) < 1e-6
        last = training.log.evaluations[-1]
        assert last.costs.training_seconds == training.log.steps[-1].costs.training_seconds

    def test_kill_and_resume_give_the_same_next_selection(self, training: Training, resumed: Training) -> None:
        """From its checkpoint on, the run selects, samples, replays and scores what the run that never stopped does."""
        whole, rest = training.log.steps[RESUME_AFTER:], resumed.log.steps[-(STEPS - RESUME_AFTER) :]
        assert [s.step for s in rest] == [s.step for s in whole]
        for name in ("question_ids", "pass_rates", "replayed_question_ids", "staleness"):
            assert [getattr(s, name) for s in rest] == [getattr(s, name) for s in whole], name
        assert _counts(rest[-1].costs) == _counts(whole[-1].costs)
        assert [e.accuracies for e in resumed.log.evaluations[-1:]] == [e.accuracies for e in training.log.evaluations[-1:]]

    def test_switched_off_it_is_the_plain_trainer(self, plain: tuple[list[Rows], list[Rows]]) -> None:
        """GRPO through Halfway trains, bit for bit, on the batches of the engine's own trainer without it."""
        ours, theirs = plain
        assert len(ours) == len(theirs) > 0
        for mine, other in zip(ours, theirs, strict=True):
            assert Counter(row.tokens for row in mine) == Counter(row.tokens for row in other)

    def test_clipped_loss_and_gradient(self) -> None:
        """Loss and gradient are within half a millionth of the method's formulas, so that any two backends agree to 1e-6."""
        for case in loss_cases():
            expected, slope = reference_loss(case)
            loss, gradient = self.loss_and_gradient(case)
            assert abs(loss - expected) < 5e-7, case.correction
            assert float(np.abs(gradient - slope).max()) < 5e-7, case.correction


def _tokens(groups: Sequence[PromptGroup]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(tuple(r.prompt_token_ids.tolist()), tuple(r.completion_token_ids.tolist())) for g in groups for r in g.rollouts]


def _counts(costs: Any) -> dict[str, Any]:
    return {name: value for name, value in costs.to_json().items() if not name.endswith("seconds")}
