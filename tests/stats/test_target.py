"""Costs, targets, crossings and misses (docs/protocol.md), with numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.records.curves import curve_of
from harness.stats import (
    CostModel,
    Crossing,
    Reach,
    TargetRule,
    check_plateau,
    crossing_index,
    parse_target,
    reach,
    reach_everywhere,
    reach_rate,
    resolve_target,
    steep_shares,
)
from harness.types import Costs, EvalPoint
from tests.stats.curves import curve

accuracies = st.lists(st.integers(0, 100).map(lambda k: k / 100), min_size=1, max_size=30)
targets = st.integers(0, 100).map(lambda k: k / 100)
rules = st.sampled_from(["sustained", "first"])


@pytest.mark.parametrize(
    ("accuracy", "rule", "index"),
    [
        ([0.1, 0.4, 0.2, 0.4, 0.4], "first", 1),  # a lucky evaluation counts under the paper's rule
        ([0.1, 0.4, 0.2, 0.4, 0.4], "sustained", 3),  # .3 with the next one: not confirmed; .4 with .4: confirmed
        ([0.1, 0.5, 0.3, 0.2], "sustained", 1),  # the mean with the next one is exactly the target
        ([0.1, 0.2, 0.4], "first", 2),
        ([0.1, 0.2, 0.4], "sustained", None),  # the last evaluation alone has nobody to confirm it
        ([0.1, 0.3, 0.6, 0.6], "sustained", 2),  # .3 is below the target, although its mean with .6 is above
        ([0.1, 0.2], "first", None),
        ([], "sustained", None),
    ],
)
def test_crossing_rules(accuracy: list[float], rule: Crossing, index: int | None) -> None:
    """Target .4: `first` takes the first evaluation there, `sustained` the first that the next one confirms."""
    assert crossing_index(np.array(accuracy), 0.4, rule) == index


def test_cost_is_that_of_the_evaluation_unless_interpolation_is_asked_for() -> None:
    """From .2 at 10 s to .6 at 20 s the line is at .4 after 15 s; the rule charges 20 s."""
    run = curve([0.0, 0.2, 0.6, 0.6])
    assert reach(run, 0.4).cost == 20
    assert reach(run, 0.4, cost="generated_tokens").cost == 2000
    assert reach(run, 0.4, interpolate=True).cost == pytest.approx(15)


def test_a_miss_is_infinite_and_remembers_its_budget() -> None:
    """Rule 5: +infinity, censored at the last evaluation, counted in the reach rate."""
    outcome = reach(curve([0.1, 0.2, 0.3]), 0.9)
    assert (outcome.cost, outcome.budget, outcome.reached) == (float("inf"), 20.0, False)
    assert reach_rate([outcome, Reach(3.0, 9.0, 1), Reach(4.0, 9.0, 2), Reach(9.0, 9.0, 3)]) == 0.75
    assert reach(curve([]), 0.1) == Reach(float("inf"), 0.0, None)
    assert reach_rate([]) == 0.0


def test_no_target_means_everybody_misses() -> None:
    """Where no target can be resolved nobody is credited."""
    assert not reach(curve([0.9, 0.9, 0.9]), None).reached


@given(accuracies, targets, targets, rules)
def test_a_higher_target_never_comes_earlier(accuracy: list[float], a: float, b: float, rule: Crossing) -> None:
    """Monotone in the target."""
    low, high = sorted((a, b))
    run = curve(accuracy)
    assert reach(run, low, rule=rule).cost <= reach(run, high, rule=rule).cost


@given(accuracies, targets, rules, st.booleans())
def test_never_better_than_the_first_evaluation_at_the_target(
    accuracy: list[float], target: float, rule: Crossing, interpolate: bool
) -> None:
    """No rule credits a run with a cost before the first evaluation at the target (or the line that leads to it)."""
    at = [i for i, a in enumerate(accuracy) if a >= target]
    earliest = 10.0 * max(at[0] - interpolate, 0) if at else float("inf")
    assert reach(curve(accuracy), target, rule=rule, interpolate=interpolate).cost >= earliest


@given(accuracies, targets, rules)
def test_one_crossing_is_charged_on_every_ledger(accuracy: list[float], target: float, rule: Crossing) -> None:
    """All ledgers at once give what each gives alone."""
    run = curve(accuracy)
    assert reach_everywhere(run, target, rule) == {cost: reach(run, target, cost=cost, rule=rule) for cost in run.costs}
    assert not any(found.reached for found in reach_everywhere(run, None).values())


@given(accuracies, accuracies, targets, rules)
def test_later_points_take_nothing_back(accuracy: list[float], more: list[float], target: float, rule: Crossing) -> None:
    """A crossing, once there, does not move when the run goes on."""
    before = reach(curve(accuracy), target, rule=rule)
    after = reach(curve(accuracy + more), target, rule=rule)
    if before.reached:
        assert (after.cost, after.index) == (before.cost, before.index)
    else:
        assert after.cost >= 10.0 * (len(accuracy) - 1)


def test_share_of_gain_is_resolved_from_the_median_baseline() -> None:
    """Starts .10 .12 .14 → .12; gains .40 .30 .32 → .32; 75 % of it: .12 + .24 = .36."""
    runs = [curve([0.10, 0.3, 0.50]), curve([0.12, 0.3, 0.42], seed=2), curve([0.14, 0.3, 0.46], seed=3)]
    target = resolve_target(TargetRule("share_of_gain", 0.75), runs)
    assert target.accuracy == pytest.approx(0.36)
    assert (target.start, target.final, target.provisional) == (0.12, 0.46, False)
    assert resolve_target(TargetRule("final"), runs).accuracy == 0.46


def test_a_target_equal_to_the_final_accuracy_is_met_by_the_run_it_came_from() -> None:
    """.1 + 1·(.7 − .1) is .7 up to rounding (0.7 − 0.1 = 0.6 − 1e-16 in binary); the run at .7 has reached it."""
    run = curve([0.1, 0.4, 0.7, 0.7])
    target = resolve_target(TargetRule("share_of_gain", 1.0), [run])
    assert reach(run, target.accuracy).cost == 20


def test_unfinished_baselines_decide_only_while_there_is_no_complete_one() -> None:
    """A target from unfinished runs is marked provisional; complete runs alone decide as soon as there are any."""
    part = curve([0.1, 0.2], seed=1, complete=False)
    whole = curve([0.1, 0.3, 0.5], seed=2)
    assert resolve_target(TargetRule("final"), [part]).accuracy == 0.2
    assert resolve_target(TargetRule("final"), [part]).provisional
    assert resolve_target(TargetRule("final"), [part, whole]).accuracy == 0.5


def test_a_baseline_that_learned_nothing_gives_no_target() -> None:
    """A share of no gain would be met before training; it is refused with a message instead."""
    target = resolve_target(TargetRule(), [curve([0.3, 0.3, 0.2])])
    assert target.accuracy is None
    assert "did not improve" in target.note
    assert "no baseline run" in resolve_target(TargetRule(), []).note
    assert "not above" in resolve_target(TargetRule("accuracy", 0.3), [curve([0.3, 0.5])]).note


@pytest.mark.parametrize(
    ("given_", "rule"),
    [
        ({}, TargetRule("share_of_gain", 0.9, "sustained")),
        ({"share_of_gain": 0.5}, TargetRule("share_of_gain", 0.5, "sustained")),
        ({"accuracy": 0.4, "crossing": "first"}, TargetRule("accuracy", 0.4, "first")),
        ({"final": True}, TargetRule("final", 1.0, "sustained")),
        ({"share_of_gain": None, "accuracy": 0.4, "final": False}, TargetRule("accuracy", 0.4, "sustained")),
    ],
)
def test_targets_as_a_suite_writes_them(given_: dict[str, object], rule: TargetRule) -> None:
    """Every form of a suite's target table is read, resolved specs with empty fields included."""
    assert parse_target(given_) == rule


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"share_of_gian": 0.9}, "did you mean 'share_of_gain'"),
        ({"crossing": "frist"}, "did you mean 'first'"),
        ({"share_of_gain": 1.5}, "above 0 and at most 1"),
        ({"accuracy": "high"}, "must be a number"),
        ({"accuracy": 0.4, "final": True}, "together"),
    ],
)
def test_bad_targets_are_refused_in_words(given_: dict[str, object], words: str) -> None:
    """One clear sentence for each way to get it wrong."""
    with pytest.raises(UserError, match=words):
        parse_target(given_)


def test_plateau_check_measures_how_far_one_deviation_moves_the_crossing() -> None:
    """Two seeds ±.01 around a line of .01 per 10 s: deviation √2·.01, so the crossing moves by 14.14 s of 100 s."""
    line = [0.1 + 0.01 * i for i in range(11)]
    runs = [curve([a + 0.01 for a in line]), curve([a - 0.01 for a in line], seed=2)]
    found = check_plateau(runs, 0.15)
    assert found is not None
    assert found.deviation == pytest.approx(0.01 * 2**0.5)
    assert found.shift == pytest.approx(0.1414, abs=1e-4)
    assert not found.flagged
    # One deviation above the target is beyond the end of the curve: the shift is at least the rest of the budget.
    flat = [curve([0.1, 0.4, 0.4, 0.4, 0.4]), curve([0.1, 0.42, 0.42, 0.42, 0.42], seed=2)]
    flagged = check_plateau(flat, 0.41)
    assert flagged is not None
    assert flagged.flagged
    assert flagged.shift == pytest.approx(0.75)


def test_plateau_check_says_nothing_where_it_knows_nothing() -> None:
    """One seed has no deviation unless a known one is assumed, and then that is said."""
    run = [curve([0.1 + 0.05 * i for i in range(11)])]
    assert check_plateau(run, 0.3) is None
    assumed = check_plateau(run, 0.3, assumed_deviation=0.005)
    assert assumed is not None
    assert (assumed.measured, assumed.flagged) == (False, False)
    assert check_plateau(run, None, assumed_deviation=0.1) is None
    assert check_plateau(run, 5.0, assumed_deviation=0.1) is None


@pytest.mark.parametrize(
    ("apart", "steep"),
    [
        (0.01, (0.9, 0.75, 0.5)),  # deviation .014; the flat part rises by .002 a second: 7 s of 100 s at .54
        (0.03, (0.75, 0.5)),  # .042: 21 s at .54; at .45, .01 a second: 4 s
        (0.08, (0.5,)),  # .113: from .45 (45 s) to .563 (82 s); from .30 to .413: 11 s
        (0.2, ()),  # .283: from .30 (30 s) to .583 (91 s)
    ],
)
def test_shares_of_the_gain_without_a_plateau(apart: float, steep: tuple[float, ...]) -> None:
    """A baseline that rises by .1 in 10 s until .5 and by .02 from there to .6: targets at 90, 75, 50 % of the gain are .54, .45, .30."""
    line = [0.1 * i for i in range(6)] + [0.5 + 0.02 * i for i in range(1, 6)]
    runs = [curve([a + apart for a in line]), curve([a - apart for a in line], seed=2)]
    assert steep_shares(runs) == steep
    assert steep_shares(runs[:1]) == ()
    assert steep_shares(runs[:1], assumed_deviation=apart * 2**0.5) == steep


def test_curve_of_a_ledger_carries_every_cost() -> None:
    """rollouts = fresh + probe + filtered; token cost = 2·generated + 2·forward + 6·trained."""
    from pathlib import Path

    from harness.records.ledger import RunLog

    costs = Costs(training_seconds=3.0, fresh_rollouts=64, probe_rollouts=8, filtered_rollouts=4, oracle_rollouts=100)
    costs.generated_tokens, costs.forward_tokens, costs.trained_tokens = 1000, 300, 700
    spec = {"combination": {"name": "words"}, "strategy": {"label": "dots"}, "seed": 7}
    log = RunLog(Path("ledger.jsonl"), "id", spec, evaluations=[EvalPoint(1, 0.5, {"test": 0.5}, 10, costs)])
    found = curve_of(log)
    assert (found.combination, found.strategy, found.seed, found.complete) == ("words", "dots", 7, False)
    assert {k: v.tolist() for k, v in found.costs.items() if k in ("rollouts", "token_cost")} == {
        "rollouts": [76.0],
        "token_cost": [2 * 1000 + 2 * 300 + 6 * 700],
    }
    assert curve_of(log, CostModel(generated=1, forward=0, trained=0)).costs["token_cost"].tolist() == [1000.0]
