"""The table that ``halfway recommend`` reads, from made-up courses."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.course.course import course_of_runs
from benchmarks.course.table import rows_of, table_of
from benchmarks.courses import pack
from reports.recommendation import NAME, TABLE_PRICES, committed_rows
from tests.benchmarks.made_course import made_runs


def test_rows_by_hand(tmp_path: Path) -> None:
    """Four charged arms at six prices; rr at price p: (640 p + 640)/(320 p + 640), 1.5 at 2; four pairs do not show a headroom."""
    course = course_of_runs(str(made_runs(tmp_path)), tmp_path / "runs")
    rows = {(r.arm, round(r.price, 3)): r for r in rows_of(course)}
    assert len(rows) == 4 * len(TABLE_PRICES)
    assert rows["rr", 2.0].at_least == pytest.approx(1.5)
    assert (rows["rr", 2.0].verdict, rows["rr", 2.0].n, rows["rr", 2.0].group_size) == ("faster", 5, 8)
    assert rows["dots-rr", 1.0].at_least == 0
    assert rows["dots", 5.0].verdict == "undecided"
    assert (rows["rr", 1.0].headroom, rows["rr", 1.0].headroom_shown) == (pytest.approx(2.0), False)
    assert rows["rr", 1.0].informative == pytest.approx(1 - rows["rr", 1.0].all_wrong - rows["rr", 1.0].all_right)


def test_pack_writes_what_recommend_reads(tmp_path: Path) -> None:
    """Beside archives that are not the committed ones; simulated courses are no results."""
    pack(str(made_runs(tmp_path)), tmp_path / "runs", tmp_path / "kept")
    rows = committed_rows(tmp_path / "kept" / NAME)
    assert {(r.where, r.arm) for r in rows} == {("made/words", arm) for arm in ("dots", "rr", "dots-rr", "history")}
    simulated = course_of_runs(str(made_runs(tmp_path, "other", "simulator", missing=0)), tmp_path / "runs")
    assert len(table_of([simulated]).splitlines()) == 1


def test_a_strategy_without_its_parts_is_nothing_to_try(tmp_path: Path) -> None:
    """One run that left a part of its strategy out makes the course an ablation."""
    course = course_of_runs(str(made_runs(tmp_path)), tmp_path / "runs")
    assert len(table_of([course]).splitlines()) > 1
    course.analysis.runs[0].spec["strategy"]["config"]["without"] = ["prior"]
    assert len(table_of([course]).splitlines()) == 1
