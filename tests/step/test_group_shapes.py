"""Groups of different sizes, continued probes, subsets, stored rollouts in groups: what the driver makes of them, and what it counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.step.advantage import advantages
from harness.step.driver import UpdateReport
from harness.strategies.uniform import Uniform
from harness.strategy import Replay, StepContext, StrategyConfig
from harness.types import PromptGroup, Selection
from tests.step.small_runs import Continuing, Injecting, group, rollout, run_of


def test_advantages_by_hand() -> None:
    """Rewards 1 0 0 0: mean 1/4; deviation of the sample √(3/4·1/4·4/3) = 1/2; ε = 1e-4."""
    assert advantages(group(1, 0, 0, 0), "none").tolist() == [0.75, -0.25, -0.25, -0.25]
    assert advantages(group(1, 0, 0, 0), "std") == pytest.approx([0.75 / 0.5001, *[-0.25 / 0.5001] * 3])


def test_the_baseline_is_the_declared_scope() -> None:
    """Kept rollouts 1 and 0 of 1 0 0 0: over the kept ones ±1/2, over all of them the values of the whole group."""
    kept = group(1, 0, 0, 0).train_on([0, 2])
    assert advantages(kept, "none").tolist() == [0.5, -0.5]
    assert advantages(replace(kept, advantage_scope="all"), "none").tolist() == [0.75, -0.25]
    mixed = group(0, 0, 1, 0).with_stored([rollout(1, version=1)])
    assert advantages(mixed, "none") == pytest.approx([-0.4, -0.4, 0.6, -0.4, 0.6])  # mean 2/5 over five
    fresh = replace(mixed, advantage_scope="fresh")
    assert advantages(fresh, "none").tolist() == [-0.25, -0.25, 0.75, -0.25, 0.75]  # mean 1/4 over the four fresh ones
    assert mixed.replayed_flags == (False, False, False, False, True)


def test_a_scope_that_does_not_vary_has_no_deviation_to_divide_by() -> None:
    """Four fresh failures and a stored success: under the fresh baseline r − mean is 1, and divided by 0 + ε nothing, not 10,000."""
    mixed = replace(group(0, 0, 0, 0).with_stored([rollout(1, version=1)]), advantage_scope="fresh")
    assert advantages(mixed, "none").tolist() == [0, 0, 0, 0, 1]
    assert advantages(mixed, "std").tolist() == [0] * 5


@given(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.5 + 1e-8, 1.0]), min_size=1, max_size=9), st.sampled_from(["std", "none"]))
def test_a_degenerate_group_has_no_advantage(rewards: list[float], normalization: Any) -> None:
    """Advantages of a whole group sum to zero, and vanish where its rewards are equal within a millionth; elsewhere one is large."""
    made = group(*rewards)
    found = advantages(made, normalization)
    assert abs(found.sum()) < 1e-9 * len(rewards)
    assert made.is_degenerate == (np.abs(found).max() < 1e-6)


def test_a_group_is_degenerate_in_what_it_is_trained_on() -> None:
    """0 and 0 of 1 0 0 0 have no advantage among themselves; against the whole group's baseline they have one."""
    kept = group(1, 0, 0, 0).train_on([1, 2])
    assert kept.is_degenerate
    assert not replace(kept, advantage_scope="all").is_degenerate


@pytest.mark.parametrize("normalization", ["std", "none"])
def test_a_loss_weight_multiplies_the_advantages(normalization: Any) -> None:
    """Three times the weight, three times the advantages; a weight of zero leaves none."""
    plain = advantages(group(1, 0, 0, 0), normalization)
    assert advantages(group(1, 0, 0, 0, loss_weight=3.0), normalization) == pytest.approx(3 * plain)
    assert not advantages(group(1, 0, 0, 0, loss_weight=0.0), normalization).any()


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_loss_weights_are_finite_and_not_negative(weight: float) -> None:
    """A weight that would turn the loss around, or make it no number, is refused."""
    with pytest.raises(ValueError, match="must be finite and not negative"):
        group(1, 0, loss_weight=weight)


@pytest.mark.parametrize("positions", [[], [0, 0], [4], [-1]])
def test_subsets_that_do_not_exist_are_refused(positions: list[int]) -> None:
    """Nothing, a rollout twice, a rollout that is not there."""
    with pytest.raises(ValueError, match="cannot train on"):
        group(1, 0, 0, 0).train_on(positions)


class Sizes(Uniform):
    """Rolls out 2, 3, …, 17 times."""

    requires = frozenset({"group_sizes"})

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return Selection(self.take(num_groups, ctx), rollouts_per_question=np.arange(num_groups) + 2)


def test_rollouts_per_question() -> None:
    """Every question gets what was asked for it, in one call of the engine, and all of it is on the ledger."""
    run = run_of(Sizes(StrategyConfig()))
    batch = run.step()
    assert [g.size for g in batch.groups] == list(range(2, 18))
    assert run.engine.calls == [("rollout", [g.question_id for g in batch.groups], list(range(2, 18)))]
    assert run.driver.costs.fresh_rollouts == run.engine.rollouts_generated == sum(range(2, 18))
    assert run.driver.costs.generated_tokens == run.engine.tokens_generated


def test_probes_are_continued_and_merged_and_counted_once() -> None:
    """A continued group is its probe rollouts and one more; it is observed once, whole; the others as the probes they are."""
    selector = Continuing()
    run = run_of(selector)
    batch = run.step()
    for made, probe in zip(batch.groups, selector.probes, strict=False):
        assert made.rollouts[:3] == probe.rollouts
        assert (made.size, made.source) == (4, "fresh")
    costs = run.driver.costs
    assert (costs.probe_rollouts, costs.fresh_rollouts, costs.filtered_rollouts) == (20 * 3, 16, 0)
    assert costs.generated_tokens == run.engine.tokens_generated
    assert [(g.source, g.size) for g in selector.seen] == [("probe", 3)] * 4 + [("fresh", 4)] * 16


class Postponing(Uniform):
    """Continues the questions that it probed in the step before, three times each, and probes those of the next."""

    requires = frozenset({"probe", "mixed_groups", "behaviour_log_probs"})
    waiting: tuple[PromptGroup, ...] = ()

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        started = self.waiting or tuple(ctx.probe(self.take(num_groups, ctx), 3))
        self.waiting = tuple(ctx.probe(self.take(num_groups, ctx), 3))
        return Selection(np.array([g.question_id for g in started]), started=started)


@pytest.mark.parametrize("lag", [0, 5])
def test_a_probe_of_the_step_before_is_charged_once(lag: int) -> None:
    """16 · 3 probes a step, twice that in the first, and one more rollout of each group; also where all steps sample from one policy."""
    run = run_of(Postponing(StrategyConfig()))
    for _ in range(3):
        run.engine.policy_version = max(0, run.driver.step - lag)
        with run.clock.phase("update"):
            batch = run.driver.next_batch()
        run.driver.finish_step(batch, UpdateReport(updates=1, loss=0.0, trained_tokens=0))
    costs = run.driver.costs
    assert (costs.probe_rollouts, costs.fresh_rollouts, costs.filtered_rollouts) == (4 * 16 * 3, 3 * 16, 0)
    assert costs.rollouts == run.engine.rollouts_generated
    assert costs.generated_tokens == run.engine.tokens_generated


class Halving(Uniform):
    requires = frozenset({"partial_groups"})

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        return group.train_on([0, 3])


def test_rollouts_not_trained_on_are_filtered() -> None:
    """Two of four rollouts trained on: half is fresh, half filtered, none lost."""
    run = run_of(Halving(StrategyConfig()))
    batch = run.step()
    assert all(g.trained_rollouts == (g.rollouts[0], g.rollouts[3]) for g in batch.groups)
    assert (run.driver.costs.fresh_rollouts, run.driver.costs.filtered_rollouts) == (32, 32)


def test_stored_rollouts_in_fresh_groups() -> None:
    """They come after the fresh ones, count as replayed, are marked for the off-policy correction, and take their part's scope."""
    run = run_of(Uniform(StrategyConfig()), Injecting(), pool_size=16)
    first, second = run.step(), run.step()
    assert {g.advantage_scope for g in first.groups} == {"kept"}
    for made in second.groups:
        assert made.size == 5
        assert made.replayed_flags == (False,) * 4 + (True,)
        assert made.rollouts[4].policy_version == 0
        assert made.policy_version == 1
        assert made.advantage_scope == "fresh"
    assert run.driver.costs.replayed_rollouts == 16
    assert run.driver.costs.fresh_rollouts == 2 * 64


class Undeclared(Uniform):
    """Does what its mode says without saying so."""

    requires = frozenset({"probe"})

    def __init__(self, mode: str) -> None:
        super().__init__(StrategyConfig())
        self.mode = mode

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        ids = self.take(num_groups, ctx)
        if self.mode == "unselected":
            return Selection(ids, started=tuple(ctx.probe(np.array([(ids.max() + 1) % 256]), 2)))
        if self.mode in ("shape", "zero"):
            return Selection(ids, rollouts_per_question=np.zeros(num_groups - (self.mode == "shape"), np.int64))
        return Selection(ids)

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        return group.train_on([0]) if self.mode == "subset" else group


class Emptying(Replay[StrategyConfig]):
    requires = frozenset({"group_sizes"})

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        return []


class Mixing(Injecting):
    requires = frozenset({"group_sizes"})


@pytest.mark.parametrize(
    ("mode", "replay", "words"),
    [
        ("unselected", None, "which it did not select"),
        ("shape", None, "rollouts_per_question must be 16 integers"),
        ("zero", None, "less than one rollout"),
        ("subset", None, "instead of 16 of 4 without requires"),
        ("", Emptying(StrategyConfig()), "left no group to train on"),
        ("", Mixing(), "stored rollouts into a group without requires"),
    ],
)
def test_what_was_not_declared_is_refused_in_words(mode: str, replay: Any, words: str) -> None:
    """A backend meets only what a strategy declared; every breach names the strategy."""
    run = run_of(Undeclared(mode), replay, pool_size=256 if replay is None else 16)
    with pytest.raises(ValueError, match=words) as caught:
        [run.step() for _ in range(2)]
    assert "'test'" in str(caught.value)


class Overselecting(Uniform):
    """Rolls out twice what is missing, refuses the first question of every round, allows three refills."""

    max_refills = 3

    def round_size(self, missing: int, ctx: StepContext) -> int:
        return 2 * missing

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return group.question_id % 2 == 0


def test_rounds_of_their_own_size() -> None:
    """32 questions for 16 groups; what is admitted beyond the batch is not trained on and counted as filtered."""
    run = run_of(Overselecting(StrategyConfig()))
    batch = run.step()
    assert len(batch.groups) == 16
    assert len(run.engine.calls[0][1]) == 32
    assert len(run.engine.calls) <= 4
    assert run.driver.costs.fresh_rollouts == 64
    assert run.driver.costs.fresh_rollouts + run.driver.costs.filtered_rollouts == run.engine.rollouts_generated
