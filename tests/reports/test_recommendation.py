"""Which arm to try first, from tables made by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from harness.errors import UserError
from reports.recommendation import NEAR, CourseRow, committed_rows, distance, recommend, sentences

HEAD = (
    "course,combination,group_size,mean_pass_rate,all_wrong,all_right,informative,headroom,headroom_low,headroom_high,headroom_shown,"
    "arm,baseline,n,reached,price,at_least,at_most,low,high,verdict"
)
#: Two courses alike (quick: rr and dots; mini: rr) and one in which nearly everything is right.
TABLE = f"""{HEAD}
quick,words,8,0.4,0.30,0.10,0.60,1.8,1.5,2.1,True,rr,grpo,5,5,1,1.3,1.3,1.1,1.5,faster
quick,words,8,0.4,0.30,0.10,0.60,1.8,1.5,2.1,True,dots,grpo,5,5,1,1.4,1.4,1.05,1.9,faster
quick,words,8,0.4,0.30,0.10,0.60,1.8,1.5,2.1,True,rr,grpo,5,5,5,1.9,1.9,1.6,2.2,faster
quick,words,8,0.4,0.30,0.10,0.60,1.8,1.5,2.1,True,dots,grpo,5,5,5,0.9,0.9,0.7,1.2,undecided
mini,sums,8,0.4,0.35,0.10,0.55,,,,False,rr,grpo,5,5,1,1.0,1.0,0.9,1.1,undecided
mini,easy,8,0.9,0.05,0.75,0.20,1.1,0.9,1.3,False,rr,grpo,5,2,1,0,0.8,0,0.9,slower
"""
START = {"all_wrong": 0.28, "all_right": 0.12, "informative": 0.60}


@pytest.fixture
def rows(tmp_path: Path) -> list[CourseRow]:
    """The table, read from a file."""
    path = tmp_path / "courses.csv"
    path.write_text(TABLE, encoding="utf-8")
    return committed_rows(path)


def test_the_arm_whose_lower_end_is_highest(rows: list[CourseRow]) -> None:
    """dots has the larger ratio (1.4), rr the higher lower end (1.1 over 1.05); .02 away from quick, .07 from mini."""
    found = recommend(START, rows, 1.0)
    assert (found.nearest.where, found.distance) == ("quick/words", pytest.approx(0.02))
    assert distance(START, rows[4]) == pytest.approx(0.07)
    assert found.arm is not None
    assert (found.arm.arm, found.price, len(found.compared)) == ("rr", 1.0, 2)
    assert [row.where for row in found.elsewhere] == ["mini/sums"]
    said = sentences(found, "mine", START, 1.0)
    assert said[0] == "mine: try rr first: 1.30× [1.10, 1.50], n = 5 over grpo at μ = 1, reached by 5 runs."
    assert said[1] == (
        "mine starts with all wrong 0.28, all right 0.12, informative 0.60; the nearest committed course is quick/words "
        "(all wrong 0.30, all right 0.10, informative 0.60, groups of 8)."
    )
    assert said[2].startswith("It is the best of 2 arms there")
    assert said[3] == "On 1 other near courses: undecided on 1."


def test_of_courses_that_are_near_alike_the_one_with_more_arms(tmp_path: Path) -> None:
    """other/words is .004 nearer than quick/words (.016 and .02, both .02), and compared one arm instead of two."""
    path = tmp_path / "courses.csv"
    path.write_text(TABLE + "other,words,8,0.4,0.296,0.104,0.60,,,,False,rr,grpo,5,5,1,1.0,1.0,0.9,1.1,undecided\n", encoding="utf-8")
    found = recommend(START, committed_rows(path), 1.0)
    assert found.nearest.where == "quick/words"
    assert found.arm is not None
    assert [row.where for row in found.elsewhere] == ["mini/sums", "other/words"]


def test_the_nearest_price_of_the_table(rows: list[CourseRow]) -> None:
    """3 is nearer to 5 than to 1 on a log scale (√5 = 2.24), 2 to 1; the words say so."""
    assert recommend(START, rows, 3.0).price == 5.0
    found = recommend(START, rows, 2.0)
    assert found.price == 1.0
    assert "at μ = 1, the price of the table nearest to 2, reached" in sentences(found, "mine", START, 2.0)[0]


def test_no_arm_surely_cheaper(rows: list[CourseRow]) -> None:
    """On mini/sums rr may be no gain at all: plain GRPO, and that the course had no oracle."""
    start = {"all_wrong": 0.40, "all_right": 0.10, "informative": 0.50}
    found = recommend(start, rows, 1.0)
    assert (found.nearest.where, found.arm) == ("mini/sums", None)
    said = sentences(found, "mine", start, 1.0)
    assert said[0] == "mine: no recommendation; use plain grpo. No arm on the nearest course has an interval above 1 at μ = 1."
    assert "the headroom of an oracle is not known" in said[2]


def test_no_course_is_near(rows: list[CourseRow]) -> None:
    """A base model that is nearly always wrong: .52 away from the nearest, whatever was faster there."""
    start = {"all_wrong": 0.87, "all_right": 0.0, "informative": 0.13}
    found = recommend(start, rows, 1.0)
    assert (found.near, found.arm) == (False, None)
    assert found.distance == pytest.approx(0.52)
    assert found.distance > NEAR
    assert sentences(found, "mine", start, 1.0)[0].endswith("use plain grpo. No committed course is near enough.")


def test_few_pairs_never_recommend(rows: list[CourseRow]) -> None:
    """An interval above 1 without the verdict (fewer than five pairs) is not enough."""
    from dataclasses import replace

    four = [replace(r, n=4, verdict="undecided") for r in rows]
    assert recommend(START, four, 1.0).arm is None


def test_a_miss_is_a_range(rows: list[CourseRow]) -> None:
    """Zero to .8, as long as nothing else is known."""
    assert rows[5].ratio == "0× to 0.80× [0.00, 0.90], n = 5"
    assert math.isnan(rows[4].headroom)


@pytest.mark.parametrize("price", [0.0, -1.0, math.inf, math.nan])
def test_a_price_is_a_positive_number(rows: list[CourseRow], price: float) -> None:
    """One sentence."""
    with pytest.raises(UserError, match="must be a number above 0"):
        recommend(START, rows, price)


def test_damaged_tables_name_the_line(tmp_path: Path) -> None:
    """A missing column, a word for a number, an absent file; an empty file holds no rows."""
    path = tmp_path / "courses.csv"
    path.write_text(TABLE.replace(",verdict", "", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"courses\.csv, line 1: no column 'verdict'"):
        committed_rows(path)
    path.write_text(TABLE.replace("0.30", "much", 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"courses\.csv, line 2: all_wrong is 'much'"):
        committed_rows(path)
    path.write_text("", encoding="utf-8")
    assert committed_rows(path) == []
    with pytest.raises(UserError, match="cannot read"):
        committed_rows(tmp_path / "absent.csv")


def test_the_packaged_table_can_be_read() -> None:
    """Absent, or whole."""
    assert all(row.n > 0 for row in committed_rows())
