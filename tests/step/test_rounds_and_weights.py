"""Whole rounds admitted, loss weights, smaller batches, and the identity of rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from harness.strategies.uniform import Uniform
from harness.strategy import Replay, StepContext, StrategyConfig
from harness.types import PromptGroup
from tests.step.small_runs import Continuing, Injecting, run_of


class Weighing(Uniform):
    """Trains twice as hard on questions with an even number."""

    requires = frozenset({"loss_weights"})

    def weigh(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[float]:
        return [2.0 if g.question_id % 2 == 0 else 1.0 for g in groups]


class Unweighed(Weighing):
    requires = frozenset()


class Miscounting(Weighing):
    def weigh(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[float]:
        return [1.0]


def test_loss_weights_reach_the_batch() -> None:
    """The weights that a selector gives are those of the batch's groups; undeclared or too few ones are refused."""
    batch = run_of(Weighing(StrategyConfig())).step()
    assert [g.loss_weight for g in batch.groups] == [2.0 - g.question_id % 2 for g in batch.groups]
    with pytest.raises(ValueError, match="'loss_weights'"):
        run_of(Unweighed(StrategyConfig())).step()
    with pytest.raises(ValueError, match="1 loss weights for 16 groups"):
        run_of(Miscounting(StrategyConfig())).step()


class BestHalf(Uniform):
    """Admits the half of a round with the highest pass rates; leaves the batch short."""

    requires = frozenset({"group_sizes"})
    max_refills = 0
    fill_short_batches = False

    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[bool]:
        least = np.median([g.pass_rate for g in groups])
        return [g.pass_rate > least for g in groups]


class Unanswered(Uniform):
    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[bool]:
        return []


def test_a_round_is_admitted_as_a_whole() -> None:
    """The batch is what is above the round's median, and short; the rest is filtered. An answer for every group is asked for."""
    run = run_of(BestHalf(StrategyConfig()))
    batch = run.step()
    least = np.median([g.pass_rate for g in batch.fresh])
    assert [g.question_id for g in batch.groups] == [g.question_id for g in batch.fresh if g.pass_rate > least]
    assert run.driver.costs.filtered_rollouts == 4 * (16 - len(batch.groups)) > 0
    run.engine.ability[:] = 100.0  # every group is right: none is above the median, and the step ends with all of them
    assert len(run.step().groups) == 16
    with pytest.raises(ValueError, match="admitted or refused 0 of a round of 16 groups"):
        run_of(Unanswered(StrategyConfig())).step()


class Shrinking(Injecting):
    """Rolls out 12 questions for a batch of 16."""

    wanted = 12

    def num_fresh(self, num_groups: int, replayed: Sequence[PromptGroup], ctx: StepContext) -> int:
        return self.wanted


def test_a_replay_may_ask_for_fewer_fresh_groups() -> None:
    """A batch of 12 where 16 are usual; a number that makes no sense is refused."""
    shrinking = Shrinking()
    assert len(run_of(Uniform(StrategyConfig()), shrinking).step().groups) == 12
    shrinking.wanted = 17
    with pytest.raises(ValueError, match="wants 17 fresh groups in a batch of 16"):
        run_of(Uniform(StrategyConfig()), shrinking).step()


def test_every_rollout_has_a_uid_of_its_own() -> None:
    """Over steps, refills and probes no uid comes twice; another run of the same seed gives the same ones."""

    def uids() -> list[str]:
        run = run_of(Continuing())
        return [r.uid for _ in range(3) for g in run.step().fresh for r in g.rollouts]

    first = uids()
    assert len(set(first)) == len(first) == 3 * 64
    assert uids() == first


class Repeating(Injecting):
    """Puts the same stored rollout into a group twice."""

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        return [g.with_stored([self.stored[g.question_id]] * 2) if g.question_id in self.stored else g for g in groups]


def test_a_rollout_is_trained_on_once_a_batch() -> None:
    """The same stored rollout twice in a batch would count twice in the loss."""
    run = run_of(Uniform(StrategyConfig()), Repeating(), pool_size=16)
    run.step()
    with pytest.raises(ValueError, match=r"same stored rollout of question \d+ into the batch twice"):
        run.step()


class Silent(Injecting):
    """Adds stored rollouts in mix() without asking for their log-probs."""

    requires = frozenset({"group_sizes", "mixed_groups"})


def test_replay_requires_the_log_probs_of_sampling() -> None:
    """It follows from overriding replay(); stored rollouts that come in through mix() are refused without it."""

    class Undeclared(Replay[StrategyConfig]):
        def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
            return []

    assert Undeclared.requires == {"behaviour_log_probs"}
    assert Silent.requires == {"group_sizes", "mixed_groups"}
    assert Replay.requires == frozenset()
    run = run_of(Uniform(StrategyConfig()), Silent(), pool_size=16)
    run.step()
    with pytest.raises(ValueError, match="'behaviour_log_probs'"):
        run.step()
