"""What readers of the page tripped over: each of these was wrong once."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.records.learning_watch import STEPS_WITHOUT_GRADIENT, LearningWatch
from harness.stats import TargetRule, resolve_target
from harness.types import Costs, StepRecord
from reports.analysis import analyse
from reports.condensed import condense
from reports.figures.style import percent_ticks
from reports.page.nothing_learned import longest_without_gradient, nothing_learned
from reports.page.verdict import verdict_cards
from tests.reports.ledgers import read, write_run
from tests.reports.pages import build_report
from tests.reports.test_build import text_of
from tests.stats.curves import curve

SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]


def page_of(folder: Path, paths: list[Path], target: dict[str, object]) -> str:
    """The page's text."""
    return text_of(build_report(read(paths), folder / "o", title="T", baseline="grpo", target=target).read_text("utf-8"))


def test_ticks_are_not_rounded_to_other_ticks() -> None:
    """Ticks at 12.5, 15 and 17.5 % were labelled 12, 15 and 18 %."""
    assert [percent_ticks()(share) for share in (0.125, 0.15, 0.175, 1.0)] == ["12.5 %", "15 %", "17.5 %", "100 %"]


def test_an_arm_that_never_reached_says_so_and_no_number(tmp_path: Path) -> None:
    """Its headline was the bound of a ratio, "at most 0.83×", which reads like an estimate."""
    paths = [write_run(tmp_path, "grpo", s, steps=24, accuracies=SLOW) for s in (1, 2, 3)]
    paths += [write_run(tmp_path, "rr", s, steps=24, pace=0.4, accuracies=[0.1] + [0.3] * 6) for s in (1, 2, 3)]
    [card] = verdict_cards(analyse(map(condense, read(paths)), baseline="grpo", target={"share_of_gain": 0.9}))
    assert card["estimate"] == "missed 3 of 3"
    assert "at most 0.83×" in card["sentence"]


def test_misses_on_both_sides_are_explained(tmp_path: Path) -> None:
    """The word was "open"."""
    paths = [write_run(tmp_path, label, s, steps=24, accuracies=SLOW) for label in ("grpo", "rr") for s in (1, 2, 3)]
    assert "unknown (misses on both sides)" in page_of(tmp_path, paths, {"accuracy": 0.9})


def test_without_a_target_nothing_is_compared_anywhere(tmp_path: Path) -> None:
    """A flat baseline: the card said "no difference shown" beside the sentence "not compared"."""
    paths = [write_run(tmp_path, label, s, steps=24, accuracies=[0.2] * 7) for label in ("grpo", "rr") for s in (1, 2, 3)]
    text = page_of(tmp_path, paths, {"share_of_gain": 0.9})
    assert "rr on spell-backward: not compared" in text
    assert "no difference shown" not in text
    assert "undecided (" not in text


@pytest.mark.parametrize("rule", [TargetRule("final"), TargetRule("accuracy", 0.25)])
def test_a_target_at_or_below_the_start_is_refused(rule: TargetRule) -> None:
    """A falling baseline gave "1.00× [1.00, 1.00]": everybody is there before training."""
    target = resolve_target(rule, [curve([0.3, 0.2, 0.2])])
    assert target.accuracy is None
    assert "not above the baseline's first evaluation (30.0 %)" in target.note


def test_an_evaluation_that_is_not_a_number_is_left_out_and_named(tmp_path: Path) -> None:
    """The page said "nan points"."""
    paths = [write_run(tmp_path, "grpo", s, steps=24, accuracies=SLOW) for s in (1, 2)]
    paths.append(write_run(tmp_path, "grpo", 3, steps=24, accuracies=[0.1, math.nan, *SLOW[2:]]))
    text = page_of(tmp_path, paths, {"share_of_gain": 0.9})
    assert "nan" not in text.lower().split()
    assert "grpo / seed 3 : evaluations without a number as accuracy are left out (step 4)" in text


def step(number: int, informative: float, reward: float) -> StepRecord:
    """A step record with what the watch looks at."""
    return StepRecord(
        step=number, question_ids=[1], pass_rates=[reward], replayed_question_ids=[], staleness=[], non_degenerate_share=informative,
        dropped_groups=0, updates=1, seconds=1.0, phases={"update": 1.0}, costs=Costs(training_steps=number), loss=0.0,
        mean_reward=reward, mean_completion_tokens=5.0,
    )  # fmt: skip


def test_a_run_warns_once_when_nothing_is_learned() -> None:
    """One informative step, then only degenerate groups: the tenth of them warns, the eleventh does not again."""
    watch = LearningWatch()
    said = [watch.warning(step(k, 0.5 if k == 1 else 0.0, 0.0)) for k in range(1, STEPS_WITHOUT_GRADIENT + 4)]
    assert [k for k, message in enumerate(said, start=1) if message] == [STEPS_WITHOUT_GRADIENT + 1]
    assert "no rollout has been rewarded yet" in str(said[STEPS_WITHOUT_GRADIENT])


def test_the_page_says_that_nothing_was_learned(tmp_path: Path) -> None:
    """All groups degenerate from step 5 on, never a reward: before the verdict, in the alarms."""
    runs = [condense(log) for log in read([write_run(tmp_path, label, 1, steps=24, accuracies=SLOW) for label in ("grpo", "rr")])]
    runs[1].steps["non_degenerate_share"][4:] = 0.0
    runs[1].steps["mean_reward"][:] = 0.0
    assert [longest_without_gradient(r) for r in runs] == [0, 20]
    base, arm = analyse(runs, baseline="grpo", target={"share_of_gain": 0.9}).arms
    assert nothing_learned(base) == ""
    assert nothing_learned(arm) == (
        "Nothing was learned by rr on spell-backward (seed 1) for up to 20 steps in a row: all their groups were degenerate, "
        "so no gradient came of them. No rollout was ever rewarded."
    )
