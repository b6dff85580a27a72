"""The step driver: metering, refill, pairing by common random numbers, illegal strategies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from harness.errors import StrategyError, UserError
from harness.registry import strategy_entry
from harness.step.driver import UpdateReport
from harness.strategies.uniform import Uniform
from harness.strategy import NoReplay, Selector, StepContext, Strategy, StrategyConfig
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup, Selection


def simulated(selector: Selector[Any], **kwargs: Any) -> SimulatedRun:
    return SimulatedRun(Strategy("test", selector, NoReplay(StrategyConfig())), **kwargs)


class Refusing(Uniform):
    """Admits informative groups only (dynamic sampling), and remembers what it was shown."""

    def __init__(self) -> None:
        super().__init__(StrategyConfig())
        self.seen: list[str] = []

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        return not group.is_degenerate

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self.seen += [g.rollouts[0].uid for g in groups]


def test_refused_groups_are_refilled_and_metered_as_filtered() -> None:
    """The batch holds informative groups; everything generated is fresh or filtered, and observed once."""
    selector = Refusing()
    run = simulated(selector)
    run.driver.max_refills = 20
    batch = run.step()
    assert len(batch.groups) == 16
    assert not any(g.is_degenerate for g in batch.groups)
    costs = run.driver.costs
    assert costs.fresh_rollouts == 16 * 4
    assert costs.filtered_rollouts > 0
    assert costs.fresh_rollouts + costs.filtered_rollouts == run.engine.rollouts_generated
    assert len(selector.seen) == len(set(selector.seen)) == run.engine.rollouts_generated // 4


def test_an_all_degenerate_pool_ends_at_the_bound_with_a_full_batch() -> None:
    """Refill neither crashes nor runs for ever: after max_refills rounds refused groups fill the batch."""
    run = simulated(Refusing())
    run.engine.ability[:] = 100.0
    batch = run.step()
    assert len(batch.groups) == 16
    assert all(g.is_degenerate for g in batch.groups)
    assert run.engine.rollouts_generated == 16 * 4 * (1 + run.driver.max_refills)
    assert run.driver.costs.fresh_rollouts == 16 * 4


class Illegal(Selector[StrategyConfig]):
    def __init__(self, selection: Selection) -> None:
        super().__init__(StrategyConfig())
        self.selection = selection

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        return self.selection


@pytest.mark.parametrize(
    ("selection", "words"),
    [
        (Selection(np.arange(15)), "selected 15 questions where 16 were asked for"),
        (Selection(np.arange(16) + 250), "outside the pool of 256"),
        (Selection(np.array([*range(15), 0])), "twice in one step"),
        (Selection(np.arange(16) / 2), "flat integer array"),
        (Selection(np.arange(16), rollouts_per_question=np.full(16, 5)), "other than 4 rollouts"),
    ],
)
def test_illegal_selections_are_refused_in_words(selection: Selection, words: str) -> None:
    """A strategy's mistake is named, with the strategy."""
    with pytest.raises(ValueError, match=words) as caught:
        simulated(Illegal(selection)).step()
    assert "'test'" in str(caught.value)


class Peeking(Uniform):
    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        ctx.oracle_pass_rates(np.arange(4), 2)
        return super().select(num_groups, ctx)


def test_true_pass_rates_need_a_declaration() -> None:
    """Nobody gets free labels without being marked as an oracle."""
    with pytest.raises(StrategyError, match="requires"):
        simulated(Peeking(StrategyConfig())).step()


def test_a_strategy_never_sees_gold_answers() -> None:
    """The pool that strategies get holds prompts and metadata only."""
    from harness.types import Question, QuestionPool

    pool = QuestionPool([Question(0, "2+2=", "4", "sums")])
    assert pool[0].prompt == "2+2="
    with pytest.raises(AttributeError, match="answer"):
        pool[0].answer  # noqa: B018


def test_strategies_are_paired_by_common_random_numbers() -> None:
    """grpo and oracle on one seed roll out question q with the same random numbers at the same step and call."""
    first, second = (simulated(Uniform(StrategyConfig())) for _ in range(2))
    a, b = first.step(), second.step()
    assert [g.rewards.tolist() for g in a.groups] == [g.rewards.tolist() for g in b.groups]


def test_uniform_visits_the_whole_pool_once_an_epoch() -> None:
    """64 questions, 16 a step: every four steps each question exactly once, another order each epoch."""
    run = simulated(Uniform(StrategyConfig()), pool_size=64)
    epochs = [[g.question_id for _ in range(4) for g in run.step().groups] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(64))
    assert epochs[0] != epochs[1]


def test_a_batch_across_two_epochs_has_no_repeats() -> None:
    """24 questions, 16 a step: the second batch straddles the epochs and still holds 16 different questions."""
    run = simulated(Uniform(StrategyConfig()), pool_size=24)
    for _ in range(6):
        ids = [g.question_id for g in run.step().groups]
        assert len(set(ids)) == 16


def test_oracle_takes_the_nearest_to_one_half() -> None:
    """Its selected questions are nearer ½ than a uniform choice, and its labels are counted as uncharged."""
    oracle = SimulatedRun(strategy_entry("oracle").build({}))
    plain = SimulatedRun(strategy_entry("grpo").build({}))
    distance = []
    for run in (oracle, plain):
        ids = [g.question_id for _ in range(5) for g in run.step().groups]
        truth = 1 / (1 + np.exp(-run.engine.ability[ids]))
        distance.append(np.abs(truth - 0.5).mean())
    assert distance[0] < distance[1] / 2
    assert oracle.driver.costs.oracle_rollouts == 5 * 64 * 16
    assert oracle.driver.costs.rollouts == plain.driver.costs.rollouts


def test_a_loss_that_is_not_a_number_stops_the_books() -> None:
    """NaN never enters a record."""
    run = simulated(Uniform(StrategyConfig()))
    batch = run.driver.next_batch()
    with pytest.raises(FloatingPointError, match="loss is nan at step 1"):
        run.driver.finish_step(batch, UpdateReport(updates=1, loss=float("nan"), trained_tokens=0))
    assert run.driver.step == 0


def test_diagnostics_leave_out_what_cannot_be_computed() -> None:
    """A strategy that predicts one pass rate for all: an error and a count, no correlation; nothing from one that predicts nothing."""

    class Constant(Uniform):
        def predict(self, question_ids: Any, ctx: StepContext) -> Any:
            return np.full(len(question_ids), 0.5)

    found = simulated(Constant(StrategyConfig())).driver.diagnose(32, 4)
    assert set(found) == {"n", "mae", "reliability"}
    assert found["n"] == 32
    assert simulated(Uniform(StrategyConfig())).driver.diagnose(32, 4) == {}


def test_rewards_outside_of_zero_and_one_are_refused() -> None:
    """A reward of 2 makes no pass rate: the run stops with the question and the rewards."""
    run = simulated(Uniform(StrategyConfig()))
    made = run.engine._group

    def doubled(question_id: int, size: int, rng: np.random.Generator) -> PromptGroup:
        group = made(question_id, size, rng)
        return replace(group, rollouts=tuple(replace(r, reward=2.0) for r in group.rollouts))

    run.engine._group = doubled  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"was scored with rewards from 2 to 2; rewards lie between 0 and 1"):
        run.step()
