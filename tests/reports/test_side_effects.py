"""What selection may damage, worked out by hand."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from harness.records.ledger import RunLog
from harness.types import Costs, EvalPoint
from reports.analysis import analyse
from reports.arms import Analysis
from reports.condensed import condense
from reports.evaluation_columns import evaluation_columns
from reports.page.build import write_report
from reports.page.side_effects import damage_sentence, side_effects_table
from reports.page.verdict import verdict_cards
from reports.side_effects import damages, measures_of
from tests.reports.ledgers import read, write_run

SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
FAST = [0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5]


def arms(folder: Path, seeds: int, other: list[float] = SLOW) -> Analysis:
    """The baseline and rr, both with an evaluation set that does not decide."""
    curves = {"grpo": SLOW, "rr": other}
    paths = [write_run(folder, label, s, steps=24, accuracies=curves[label]) for label in curves for s in range(1, seeds + 1)]
    runs = [condense(log) for log in read(paths)]
    for run in runs:
        lower = (0.08 + 0.02 * run.seed) if run.strategy == "rr" else 0.0
        run.final_accuracies = {"test": 0.5, "other-domain": 0.3 - lower}
        if run.strategy == "rr":
            run.steps["mean_completion_tokens"] = np.linspace(10.0, 33.0, 24)
    return analyse(runs, baseline="grpo", target={"share_of_gain": 0.9})


def test_length_and_accuracy_on_every_set(tmp_path: Path) -> None:
    """rr ends 10, 12 and 14 points lower on a set that does not decide: -12, deviation 2, t(2) = 4.3027, so ± 5.0; and 21 tokens longer.
    With three pairs nothing is marked."""
    analysis = arms(tmp_path, 3)
    table = side_effects_table(analysis, analysis.combinations[0])
    assert table is not None
    assert [head for head, _ in table.heads][2:] == ["final accuracy on test", "final accuracy on other-domain (does not decide)"]
    assert [cell.text for cell in table.rows[0]] == ["grpo", "10.0 → 10.0", "50.0 %", "30.0 %"]
    assert [cell.text for cell in table.rows[1]] == [
        "rr", "12.0 → 31.0 (+21.0 [21.0, 21.0])", "50.0 % (+0.0 [0.0, 0.0])", "18.0 % (-12.0 [-17.0, -7.0])",
    ]  # fmt: skip
    assert {cell.kind for cell in table.rows[1]} == {""}


def test_an_arm_that_is_faster_and_damages_something_says_so(tmp_path: Path) -> None:
    """Five pairs: 10 to 18 points lower, -14, deviation √10 = 3.16, t(4) = 2.7764: ± 3.9; and 210 % longer. The card says both."""
    analysis = arms(tmp_path, 5, FAST)
    [combination] = analysis.combinations
    base, arm = combination.arms
    found = damages(arm, base, measures_of(combination))
    assert [d.measure.name for d in found] == ["tokens per training completion", "final accuracy on other-domain (does not decide)"]
    sentence = (
        "Faster, but worse in this: tokens per training completion +21.0 [21.0, 21.0]; "
        "final accuracy on other-domain (does not decide) -14.0 [-17.9, -10.1] (points)."
    )
    assert damage_sentence(arm, combination) == sentence
    assert verdict_cards(analysis)[0]["damage"] == sentence
    table = side_effects_table(analysis, combination)
    assert table is not None
    assert [cell.kind for cell in table.rows[1]] == ["", "warn", "", "warn"]
    write_report(analysis, tmp_path / "out", title="T")
    assert "Faster, but worse in this" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    with open(tmp_path / "out" / "results.csv", encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert row["worse_than_baseline"] == "tokens per training completion; final accuracy on other-domain (does not decide)"


def test_a_slower_arm_or_a_tiny_change_is_no_damage_beside_the_verdict(tmp_path: Path) -> None:
    """The sentence belongs to “faster”; and .5 points for sure are below the least change that is called damage."""
    analysis = arms(tmp_path, 5)
    [combination] = analysis.combinations
    assert damage_sentence(combination.arms[1], combination) == ""
    for run in combination.arms[1].runs:
        run.final_accuracies = {"test": 0.495}
        run.steps["mean_completion_tokens"] = np.full(24, 10.9)
    assert damages(combination.arms[1], combination.arms[0], measures_of(combination)) == []


def log_of(*points: EvalPoint, samples: int) -> RunLog:
    """A log with these evaluations on one deciding set and one that is only shown."""
    return RunLog(
        Path("l"), "id", {"evaluation": {"sets": ["test"], "also": ["far"], "samples_per_question": samples}}, evaluations=list(points)
    )


def point(step: int, right: list[int], tokens: float) -> EvalPoint:
    """An evaluation with two samples of every question."""
    found = {"tokens": tokens, "truncated": 0.25, "entropy": 1.5 - step}
    return EvalPoint(step, 0.5, {"test": 0.5}, 4, Costs(), right={"test": right, "far": [2]}, completions={"test": found, "far": {}})


def test_columns_of_evaluations_by_hand() -> None:
    """Two samples: any right of 4 questions is 3/4, then 2/4. Two were right in both samples; at the end 2 and 1 of their 4 answers are."""
    found = evaluation_columns(log_of(point(0, [2, 2, 1, 0], 10.0), point(1, [2, 1, 0, 0], 14.0), samples=2))
    assert found.pass_at_k is not None
    assert found.pass_at_k.tolist() == pytest.approx([0.75, 0.5])
    assert (found.easy_questions, found.easy_accuracy) == (2, pytest.approx(0.75))
    assert {name: values.tolist() for name, values in found.completions.items()} == {
        "tokens": [10.0, 14.0], "truncated": [0.25, 0.25], "entropy": [1.5, 0.5],
    }  # fmt: skip


def test_ledgers_without_answers_per_question_claim_nothing() -> None:
    """Those of earlier versions: no pass@k, no easy questions, no completions."""
    old = [EvalPoint(step, 0.5, {"test": 0.5}, 4, Costs()) for step in (0, 1)]
    found = evaluation_columns(log_of(*old, samples=2))
    assert (found.pass_at_k, found.completions, found.easy_questions, found.easy_accuracy) == (None, {}, 0, None)


def test_everything_that_was_recorded_is_in_the_table_and_the_csv(tmp_path: Path) -> None:
    """Entropy 1.5 → .5 of both arms, pass@2 of .5, easy questions 75 %; curves.csv has them at every evaluation."""
    analysis = arms(tmp_path, 3)
    columns = evaluation_columns(log_of(*(point(s, [2, 2 - min(s, 1), 1 - min(s, 1), 0], 10.0) for s in range(7)), samples=2))
    for run in analysis.runs:
        run.evaluations = columns
    few = side_effects_table(analysis, analysis.combinations[0])
    assert few is not None
    assert few.heads[-1][0] == "pass@2"  # two easy questions say nothing
    columns.easy_questions = 12
    table = side_effects_table(analysis, analysis.combinations[0])
    assert table is not None
    heads = [head for head, _ in table.heads]
    assert heads[1:4] == ["tokens per completion", "truncated completions", "entropy, nats per token"]
    assert heads[-2:] == ["pass@2", "on easy questions (about 12)"]
    assert [cell.text for cell in table.rows[0]][1:4] == ["10.0 → 10.0", "25.0 % → 25.0 %", "1.50 → -4.50"]
    assert [cell.text for cell in table.rows[0]][-2:] == ["50.0 %", "75.0 %"]
    write_report(analysis, tmp_path / "out", title="T")
    with open(tmp_path / "out" / "curves.csv", encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert [row[k] for k in ("completion_tokens", "completion_truncated", "completion_entropy", "pass_at_k")] == [
        "10",
        "0.25",
        "1.5",
        "0.75",
    ]
