"""What selection and replay did, counted by hand from records."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.records.ledger import LedgerWriter, read_ledger
from harness.records.ledger_records import Attempt, RunStart
from harness.types import Costs, EvalPoint, StepRecord
from reports.analysis import analyse
from reports.condensed import Run, condense
from reports.figures.selection import calibration_error, reliability_of
from reports.page.parts import Drawer
from reports.page.selection import selection_section
from tests.reports.ledgers import ENVIRONMENT, mini_suite, read, spec, write_run


def step(number: int, ids: list[int], ages: list[int], **more: object) -> StepRecord:
    """A step record with what these tests look at."""
    return StepRecord(
        step=number, question_ids=ids, pass_rates=[0.5] * len(ids), replayed_question_ids=[0] * len(ages), staleness=ages,
        non_degenerate_share=1.0, dropped_groups=0, updates=1, seconds=1.0, phases={"update": 1.0}, costs=Costs(training_steps=number),
        loss=0.0, mean_reward=0.5, mean_completion_tokens=5.0, **more,  # type: ignore[arg-type]
    )  # fmt: skip


def run_of(folder: Path, steps: list[StepRecord], predictor: list[dict[str, object]]) -> Run:
    """One condensed run, through a real ledger on disk."""
    writer = LedgerWriter(folder / "a" / "ledger.jsonl")
    writer.write(RunStart("a", spec("words", "grpo", 1)))
    writer.write(Attempt(1, ENVIRONMENT, 0))
    for record in steps:
        writer.write(record)
    for index, diagnostics in enumerate(predictor):
        writer.write(EvalPoint(index, 0.5, {"test": 0.5}, 10, Costs(training_steps=index), diagnostics))
    writer.close()
    return condense(read_ledger(writer.path))


def test_ages_ratios_and_coverage_by_hand(tmp_path: Path) -> None:
    """Ages 1 1 | 2 3 40; questions 5 7 | 7 9 are 3 different ones after 2 steps; ratio classes add up over steps."""
    run = run_of(
        tmp_path,
        [
            step(1, [5, 7], [1, 1], importance_ratio={"mean": 1.0, "classes": [0, 0, 1, 5, 1, 0, 0]}, pool_size=20),
            step(2, [7, 9], [2, 3, 40], importance_ratio={"mean": 1.2, "classes": [1, 0, 0, 5, 0, 0, 2]}, pool_size=20),
        ],
        [],
    )
    assert run.replayed_ages.tolist() == [2, 1, 1, 0, 0, 0, 1]
    assert run.ratio_classes.tolist() == [1, 0, 1, 10, 1, 0, 2]
    assert run.coverage.tolist() == [2, 3]
    assert (run.distinct_questions, run.selected_questions, run.pool_size) == (3, 4, 20)
    assert run.importance_ratio == {"mean": pytest.approx(1.1)}


def test_reliability_by_hand(tmp_path: Path) -> None:
    """Two checks: 10 questions predicted .25 and seen at .35, 30 predicted .29 and seen at .19; 20 predicted 1 and seen at .9.

    The tenth from .2: predicted (2.5 + 8.7)/40 = .28, observed (3.5 + 5.7)/40 = .23. Error (40·.05 + 20·.1)/60 = .0667.
    """
    checks: list[dict[str, object]] = [{"reliability": [[10, 0.25, 0.35]]}, {"reliability": [[30, 0.29, 0.19], [20, 1.0, 0.9]]}]
    run = run_of(tmp_path, [step(1, [1], [])], checks)
    arm = analyse([run], baseline="grpo", target={"accuracy": 0.9}).arms[0]
    predicted, observed, count = reliability_of(arm)
    assert predicted.tolist() == pytest.approx([0.28, 1.0])
    assert observed.tolist() == pytest.approx([0.23, 0.9])
    assert count.tolist() == [40, 20]
    assert calibration_error(arm) == pytest.approx(4 / 60)


def test_old_ledgers_without_these_fields_still_load(tmp_path: Path) -> None:
    """Records of an earlier version: no classes, no reliability, no pool size; the page leaves the pictures out."""
    run = run_of(tmp_path, [step(1, [1], [1], importance_ratio={"mean": 1.0})], [{"pearson": 0.5, "spearman": 0.4, "mae": 0.2}])
    assert run.ratio_classes.tolist() == [0.0] * 7
    assert run.pool_size is None
    analysis = analyse([run], baseline="grpo", target={"accuracy": 0.9})
    pictures, (table, _) = selection_section(analysis, analysis.combinations[0], Drawer("c1"))
    names = [p.name for p in pictures]
    assert "c1-staleness" in names
    assert not {"c1-ratios", "c1-calibration"} & set(names)
    assert table.rows[0][2].text == "1 in 1 draws"


@pytest.mark.slow
def test_every_picture_is_there_where_it_was_recorded(tmp_path: Path) -> None:
    """Pass rates, coverage, correlation, calibration, ages and ratios; only the arms that have them."""
    analysis = analyse(map(condense, read(mini_suite(tmp_path))), baseline="grpo", target={"share_of_gain": 0.9})
    pictures, (table, _) = selection_section(analysis, analysis.combinations[0], Drawer("c1"))
    assert [p.name for p in pictures] == [
        f"c1-{n}" for n in ("non-degenerate", "pass-rates", "coverage", "predictor", "calibration", "staleness", "ratios")
    ]
    by_name = {p.name: p for p in pictures}
    assert [label for label, _ in by_name["c1-calibration"].legend] == ["dots", "dots-rr"]
    assert by_name["c1-ratios"].legend[3][0] == "0.95-1.05"
    grpo = next(row for row in table.rows if row[0].text == "grpo")
    assert grpo[3].sort == pytest.approx(float(grpo[2].sort or 0) / 512)


def test_pool_size_of_one_arm_is_not_guessed_for_another(tmp_path: Path) -> None:
    """Where one run did not record the size, coverage is in questions, not in shares."""
    runs = [condense(log) for log in read([write_run(tmp_path, label, 1, steps=8) for label in ("grpo", "rr")])]
    runs[0].pool_size = None
    analysis = analyse(runs, baseline="grpo", target={"accuracy": 0.2})
    pictures, _ = selection_section(analysis, analysis.combinations[0], Drawer("c1"))
    assert "different questions" in next(p.svg for p in pictures if p.name == "c1-coverage")
