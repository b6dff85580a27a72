"""docs/findings.md from made-up records, checked against numbers worked out by hand (see ``made_course``)."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.course.archive import LIMIT_MIB
from benchmarks.course.course import Course, course_of_runs
from benchmarks.course.table import table_of
from benchmarks.courses import COURSES, pack
from benchmarks.finding import lean
from benchmarks.finding.answer import answer_table, regimes_table
from benchmarks.finding.chapter import listed
from benchmarks.finding.claims import claim_tables
from benchmarks.finding.parts import batch_chapter, tuned, values_of
from benchmarks.finding.ranks import known, place_of, rank_correlation, spearman
from benchmarks.finding.regimes import time_chapter
from benchmarks.finding.selection import in_steps, selection_chapter
from benchmarks.finding.targets import targets_chapter
from benchmarks.finding.verdicts import conclusion
from benchmarks.findings import FRONTIER, PAGE, README, archived, chapters, page, versions_that_differ, write
from harness.errors import UserError
from harness.stats import SpeedUp
from harness.tuning.lock_file import LockedParameter, LockedStudy, LockedTrial, TuningLock
from reports.exports.csv_rows import result_rows, to_csv
from reports.recommendation import NAME
from tests.benchmarks.made_course import REACHED, SUITE, made_runs
from tests.edits import edited

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Course]:
    """A measured course and a simulated one with the same arms, in which ``rr`` and ``history`` change places."""
    folder = tmp_path_factory.mktemp("courses")
    first = made_runs(folder)
    second = made_runs(folder, "other", "simulator", {**REACHED, "rr": REACHED["history"], "history": REACHED["grpo"]}, missing=0)
    return [course_of_runs(str(path), folder / "runs") for path in (first, second)]


@pytest.fixture(scope="module")
def text(two: list[Course]) -> str:
    """The page."""
    return page(two, chapters(two))


def row(text: str, *begin: str) -> list[str]:
    """The cells of the one row that begins with these cells, without them."""
    rows = [[c.strip() for c in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| ")]
    [found] = [r[len(begin) :] for r in rows if tuple(r[: len(begin)]) == begin]
    return found


def chapter(text: str, title: str) -> str:
    """One chapter of the page."""
    [found] = [part for part in text.split("\n## ")[1:] if part.startswith(f"{title}\n")]
    return found


def test_ratios_at_every_price(text: str) -> None:
    """rr: 20 s / 16 s; (640/3 + 640)/(320/3 + 640) = 8/7; 1280/960; (5·640 + 640)/(5·320 + 640) = 12/7. history: half of everything."""
    part = chapter(text, "What every arm saves")
    assert row(part, "made / words", "`rr`") == [
        "5", "5 of 5", "**1.25× [1.25, 1.25]**", "**1.14× [1.14, 1.14]**", "**1.33× [1.33, 1.33]**", "**1.71× [1.71, 1.71]**",
    ]  # fmt: skip
    assert row(part, "made / words", "`history`") == ["5", "5 of 5", *["**2.00× [2.00, 2.00]**"] * 4]


def test_a_tie_a_miss_and_few_pairs(text: str) -> None:
    """dots: 40/36 = 1.11 to 40/44 = .91 around 1; dots-rr spent 48·.4 = 19.2 s of 20, at most 1.04; the oracle has four pairs only."""
    part = chapter(text, "What every arm saves")
    assert row(part, "made / words", "`dots`")[2] == "1.00× [0.91, 1.11]"
    assert row(part, "made / words", "`dots-rr`")[1:3] == ["0 of 5", "at most 1.04× [0.00, 1.04]"]
    assert row(part, "made / words", "`oracle` (upper bound)")[:3] == ["4", "4 of 4", "2.00× [2.00, 2.00]"]


def test_other_targets(text: str, tmp_path: Path) -> None:
    """Where all seeds rise at once no target is on a plateau, and ratios are the same at every one.

    One seed at step 24, one at 32, three at 40: deviation .083 = √((2·.018 + 2·.027) / 13). From .47 (step 39.6) and .425 (39) one
    more is never reached, which leaves 8.4 and 9 of 48 steps; from .35 (38) it takes 1.1.
    """
    part = chapter(text, "Where the target lies")
    assert row(part, "made / words", "a fixed accuracy") == ["0 %"] * 3
    assert row(part, "made", "`rr`") == ["**1.33× [1.33, 1.33]**"] * 3
    uneven = course_of_runs(str(made_runs(tmp_path, "uneven", reached=REACHED | {"grpo": (24, 32, 40, 40, 40)})), tmp_path / "runs")
    found = targets_chapter([uneven])
    assert found is not None
    shifts = row("\n\n".join(found.blocks), "uneven / words", "a fixed accuracy")
    assert shifts == ["**17 %**", "**19 %**", "2 %"]  # 17.5 % in binary is just below


def test_seconds_of_a_simulated_course_are_none(text: str) -> None:
    """They are no cost; its prices stand."""
    assert row(chapter(text, "What every arm saves"), "other / words (simulated)", "`rr`")[2:4] == ["–", "**2.29× [2.29, 2.29]**"]


def test_conclusions_follow_the_verdicts(text: str) -> None:
    """Of the four charged arms of the measured course; neither the oracle nor the simulated course counts."""
    for at in ("In measured seconds", "At μ = 1"):
        assert (
            f"- {at}, of 4 comparisons on 1 combination: 2 faster than the baseline (`history` and `rr`), 0 slower, 1 undecided, "
            "1 without a run at the target (`dots-rr`).\n"
        ) in text


def test_against_the_lean_baseline(two: list[Course], monkeypatch: pytest.MonkeyPatch) -> None:
    """``rr`` as lean GRPO: a step costs 746.7, 960 and 2240; ``history`` takes half as many steps at 853.3, 1280 and 3840."""
    assert lean.lean_chapter(two) is None
    monkeypatch.setattr(lean, "LEAN", "rr")
    found = lean.lean_chapter(two)
    assert found is not None
    said = "\n\n".join(found.blocks)
    assert row(said, "made / words", "`history`") == ["5", "**1.75× [1.75, 1.75]**", "**1.50× [1.50, 1.50]**", "**1.17× [1.17, 1.17]**"]
    assert "`rr` |" not in said
    assert "`grpo`" not in said


def test_the_share_of_the_headroom(two: list[Course]) -> None:
    """The oracle halves the cost of the other course: ``history``, as dear as the baseline, uses nothing of that, ``rr`` more than all."""
    found = lean.headroom_chapter(two)
    assert found is not None
    said = "\n\n".join(found.blocks)
    assert row(said, "other", "`history`") == ["0 %"] * 4
    assert row(said, "other", "`rr`") == ["200 %", "119 %", "142 %", "178 %"]  # ln 4, 16/7, 8/3 and 24/7 over ln 2
    assert "`oracle`" not in said


def test_nothing_compared_gives_no_conclusion() -> None:
    """No sentence instead of zeros."""
    assert conclusion([], "price:1", "μ = 1") == ""
    assert [listed(names) for names in ([], ["a"], ["a", "b", "c"])] == ["none", "a", "a, b and c"]


def test_what_saves_in_which_regime(text: str) -> None:
    """The arms by verdict, at every price."""
    rows = [line for line in chapter(text, "What saves at which price in which regime").splitlines() if line.startswith("| made")]
    assert len(rows) == 4
    assert all(line.endswith("| `history`, `rr` | – | `dots` | `dots-rr` |") for line in rows)


def test_a_ratio_along_the_regime(two: list[Course]) -> None:
    """Five copies of one course have one regime: no ranks, no sentence; one course alone is too few."""
    assert "rank correlation" not in chapter(page(two, chapters(two)), "What saves at which price in which regime")
    found = rank_correlation([0.2, 0.4, 0.5, 0.6, 0.9], [5, 4, 3, 2, 1], of="combinations")
    assert found is not None
    assert found.text == "-1.00 [-1.00, -1.00], n = 5 combinations, p = 0.02"


def test_across_the_combinations_of_a_course(tmp_path: Path) -> None:
    """Two equal combinations: the pooled ratio is that of each, n the sum of their pairs, and no row where there is only one."""
    text = SUITE + '\n[[combinations]]\nname = "more"\n{engine}\nalgorithm = {{ learning_rate = 2e-3 }}\n'
    path = made_runs(tmp_path, suite=text, missing=0)
    course = course_of_runs(str(path), tmp_path / "runs")
    part = chapter(page([course], chapters([course])), "What every arm saves")
    assert row(part, "made", "`rr`")[:3] == ["2", "**1.25× [1.25, 1.25]**, n = 10", "**1.14× [1.14, 1.14]**, n = 10"]
    # The two combinations rank the arms alike.
    assert "| made / more | made / words | +1.00 [1.00, 1.00], n = 5 arms" in page([course], chapters([course]))


def test_headroom_with_its_interval_and_n(text: str) -> None:
    """Four pairs are too few to show it; five do."""
    part = chapter(text, "The regimes")
    assert "made / words: headroom (oracle in generated tokens) 2.00×, range of the pairs [2.00, 2.00], n = 4; it is **not** shown" in part
    assert "other / words (simulated): headroom (oracle in generated tokens) 2.00×, 95 % interval [2.00, 2.00], n = 5; it is 1.3×" in part
    assert row(part, "band of real training")[1] == "0.15 to 0.36"


def test_dots_replay_and_both(text: str) -> None:
    """Sorted by part; nothing was tuned."""
    part = chapter(text, "DOTS, rollout replay, and both")
    assert row(part, "made / words", "`dots-rr`")[:3] == ["`dots-rr`", "the suite's own", "0 of 5"]
    assert "- `rr`, without a search of its own, 1 comparison: in measured seconds 1 faster; at μ = ⅓ 1 faster; at μ = 1 1 faster" in part
    assert "they hinder each other (n = 5)" in part


def test_selection_and_coverage(two: list[Course], text: str) -> None:
    """Steps: history 2, rr none; a run of rr draws 4 groups in each of 48 steps."""
    part = chapter(text, "Selection against coverage")
    assert row(part, "made / words", "`history`")[-1] == "**2.00× [2.00, 2.00]**"
    assert row(part, "made / words", "`rr`")[2].endswith("in 192 draws")
    assert row(part, "made / words", "`grpo`")[-1] == "baseline"
    assert row(part, "made / words", "`rr`")[-2] == "8"
    found = selection_chapter(two[:1])
    assert found is not None
    assert [name for name, _, _ in found.figures] == ["selection"]


def test_another_batch_size_is_not_compared_in_steps(tmp_path: Path) -> None:
    """rr with half of the groups in a step: it stays in the table, and is left out of what compares steps."""
    halved = edited(SUITE, {'config = {{ capacity = 16 }}\n\n[[strategies]]\nname = "dots-rr"': (
        'config = {{ capacity = 16 }}\nalgorithm = {{ groups_per_step = 4 }}\n\n[[strategies]]\nname = "dots-rr"'
    )})  # fmt: skip
    course = course_of_runs(str(made_runs(tmp_path, suite=halved)), tmp_path / "runs")
    assert {p.arm.strategy for p in in_steps([course])} == {"dots", "dots-rr", "history", "oracle"}
    found = selection_chapter([course])
    assert found is not None
    assert row("\n".join(found.blocks), "made / words", "`rr`")[-2] == "4"


def test_the_simulator_against_measured_ranks(text: str) -> None:
    """At μ = 1: measured history 2, oracle 2, rr 1.33, dots-rr ≤ 1.11, dots 1; simulated rr 2.67, oracle 2, dots-rr, dots and history 1.

    Ranks 0, 1, 2, 3.5, 3.5 (dots, dots-rr, rr, history, oracle) against .5, 2, 4, .5, 3. Their deviations from 2 multiply to 3 − 0 + 0 −
    2.25 + 1.5 = 2.25; squares sum to 9.5 and 9.5: .24.
    """
    cells = row(chapter(text, "Does the simulator rank the arms as measured?"), "made / words", "other / words (simulated)")
    assert cells[1].startswith("+0.24 [")
    assert ", n = 5 arms, p = " in cells[1]
    assert "Do courses rank the arms alike?" not in text


def test_rank_correlation_by_hand() -> None:
    """Four arms in opposite order: −1, of 24 orders 2 are as extreme; ties share their rank; two arms say nothing."""
    found = rank_correlation([1, 2, 3, 4], [9, 7, 5, 1])
    assert found is not None
    assert (found.value, found.low, found.p) == (pytest.approx(-1), None, pytest.approx(2 / 24))
    # Ranks 0, 1.5, 1.5, 3 against 0, 1, 2, 3: 4.5 / sqrt(4.5 · 5).
    assert spearman(np.array([1.0, 2, 2, 4]), np.array([1.0, 2, 3, 4])) == pytest.approx(4.5 / np.sqrt(22.5))
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_rank_correlation_of_independent_rows() -> None:
    """Its interval holds 0 in about 95 of 100 cases, its test rejects in about 5."""
    rng = np.random.default_rng(1)
    found = [rank_correlation(rng.random(12), rng.random(12), draws=500) for _ in range(100)]
    assert sum(f.low <= 0 <= f.high for f in found) >= 85
    assert sum(f.p < 0.05 for f in found) <= 12


def test_an_arm_that_missed_is_ranked_by_its_bound() -> None:
    """At most 2, at least 3, from 1 to 4; unknown on both sides is no place."""
    for at_least, at_most, shown in [(0.0, 2.0, 2.0), (3.0, np.inf, 3.0), (1.0, 4.0, 2.0)]:
        found = SpeedUp(5, at_least, at_most, None, None, np.empty((0, 2)))
        assert known(found)
        assert np.exp(place_of(found)) == pytest.approx(shown)
    assert not known(SpeedUp(5, 0.0, np.inf, None, None, np.empty((0, 2))))


def study(label: str, best: int = 1) -> LockedStudy:
    trials = [(0, "complete", 1.0, 2, 4), (1, "complete", 0.5, 2, 8), (2, "pruned", 3.0, 0, 8), (3, "complete", 0.9, 1, 8)]
    return LockedStudy(
        combination="words", strategy=label, best=best, settings={}, training_seconds=1.0, generated_tokens=1, cost=1.0, depends_on={},
        parameters=(LockedParameter(name="groups_per_step", part="algorithm", range={"choices": [4, 8]}, importance=0.25),),
        trials=tuple(
            LockedTrial(number=n, state=state, value=value, reached=reached, settings={"groups_per_step": size}, runs=("a", "b"))
            for n, state, value, reached, size in trials
        ),
    )  # fmt: skip


def test_what_the_batch_size_does(two: list[Course]) -> None:
    """4 groups: one trial at 1; 8: two at .5 and .9, median .7, one pruned, one of three reached by both seeds."""
    lock = TuningLock(suite="made", cost="price:1", seeds=(1,), evaluation="validation", target="x", studies=(study("grpo"),))
    course = Course("made", two[0].facts, two[0].analysis, lock, {})
    found = batch_chapter([course])
    assert found is not None
    assert row(found.blocks[-1], "made / words", "`grpo`", "groups_per_step", "0.25", "4") == [
        "1",
        "0",
        "1 of 1",
        "1.00 [1.00, 1.00], n = 1",
    ]
    assert row(found.blocks[-1], "made / words", "`grpo`", "groups_per_step", "0.25", "8") == [
        "3",
        "1",
        "1 of 3",
        "0.70 [0.50, 0.90], n = 2",
    ]
    assert values_of(study("grpo"), "updates_per_batch") == []
    assert batch_chapter(two) is None


def test_where_settings_are_from(two: list[Course]) -> None:
    """Tuned itself, tuned for another, or the suite's own."""
    from benchmarks.finding.chapter import Place

    lock = TuningLock(
        suite="made", cost="price:1", seeds=(1,), evaluation="validation", target="x", studies=(study("grpo"), study("dots", 0))
    )
    course = Course("made", {**two[0].facts, "settings_of": [["words", "rr", "grpo"]]}, two[0].analysis, lock, {})
    [combination] = course.analysis.combinations
    said = {a.strategy: tuned(Place(course, combination, a)) for a in combination.arms}
    assert said["grpo"] == "tuned in 4 trials"
    assert said["dots"] == "tuned in 4 trials; the suite's own won"
    assert said["rr"] == "those tuned for `grpo`"
    assert said["dots-rr"] == "the suite's own"


def test_what_a_course_took_over_all_its_sittings(two: list[Course]) -> None:
    """Runs of earlier sittings have no file that says when they began, but their ledgers say how long they took: 30 minutes and 90."""
    found = time_chapter([replace(two[0], run_seconds=[1800.0, 5400.0])])
    assert found is not None
    assert row(str(found.blocks[-1]), "made", "runs")[-2:] == ["2.00 h", "2"]


def test_time_and_limits(text: str) -> None:
    """28·1000 + 60 s from first start to last end, 29 minutes busy; what is missing is named."""
    assert row(chapter(text, "What the courses took"), "made", "runs")[:3] == ["29", "7.79 h", "29.0 min"]
    part = chapter(text, "What cannot be concluded")
    for words in (
        "No headroom is shown on words", "runs that missed the target: `dots-rr` (5 of 5)", "no verdict: `oracle` (upper bound)",
        "`oracle` (upper bound) (1 missing)", "**other** (simulated, not measured)", "No arm was tuned on made / words and other / words",
    ):  # fmt: skip
        assert words in part


def test_the_page_from_archives_is_that_of_the_runs(two: list[Course], tmp_path: Path) -> None:
    """Packed and read back; with the figures that it shows beside it, the same bytes again."""
    path = made_runs(tmp_path)
    pack(str(path), tmp_path / "runs", tmp_path / "kept")
    [course] = archived(tmp_path / "kept")
    write([course], tmp_path / "a" / "findings.md")
    written = (tmp_path / "a" / "findings.md").read_text(encoding="utf-8")
    assert written == page(two[:1], chapters(two[:1]))
    images = re.findall(r"\]\((images/.*)\)", written)
    assert len(images) == 3
    before = [(tmp_path / "a" / image).read_bytes() for image in images]
    write([course], tmp_path / "a" / "findings.md")
    assert [(tmp_path / "a" / image).read_bytes() for image in images] == before


def test_no_course_is_one_sentence(tmp_path: Path) -> None:
    """No archive at all, or not of that name."""
    with pytest.raises(UserError, match="there is no course; pack one"):
        chapters([])
    with pytest.raises(UserError, match="has no archive of quick; pack it with"):
        archived(tmp_path, ["quick"])


@pytest.mark.end_to_end
@pytest.mark.parametrize("script", ["courses.py", "findings.py"])
def test_scripts_run_from_anywhere(script: str, tmp_path: Path) -> None:
    """As a file, without the repository on the path."""
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--help"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout


@pytest.fixture(scope="module")
def committed() -> list[Course]:
    """The archives of this repository, read once."""
    if not list(COURSES.glob("*.tar.xz")):
        pytest.skip("no course is archived yet")
    return archived()


@pytest.mark.slow
def test_the_committed_page_is_what_the_script_writes(committed: list[Course]) -> None:
    """If this fails, run `python benchmarks/findings.py` and commit docs/findings.md with its figures."""
    found = chapters(committed)
    assert PAGE.read_text(encoding="utf-8") == page(committed, found)
    assert all((PAGE.parent / "images" / f"findings-{name}.svg").is_file() for c in found for name, _, _ in c.figures)
    readme = README.read_text(encoding="utf-8")
    assert f"<!-- answer -->\n{answer_table(committed)}\n<!-- /answer -->" in readme
    assert f"<!-- regimes -->\n{regimes_table(committed)}\n<!-- /regimes -->" in readme
    frontier = FRONTIER.read_text(encoding="utf-8")
    for place, table in claim_tables(committed).items():
        assert f"<!-- {place} -->\n{table}\n<!-- /{place} -->" in frontier, place


@pytest.mark.slow
def test_the_committed_table_is_that_of_the_archives(committed: list[Course]) -> None:
    """If this fails, run `python benchmarks/courses.py table` and commit reports/data/courses.csv."""
    made = table_of(sorted(committed, key=lambda course: course.name))
    assert (ROOT / "reports" / "data" / NAME).read_text(encoding="utf-8") == made


@pytest.mark.slow
def test_committed_tables_are_those_of_the_archives(committed: list[Course]) -> None:
    """SUITE.csv beside every archive, and no more than all archives may have."""
    for course in committed:
        made = to_csv(result_rows(course.analysis)).encode()
        assert (COURSES / f"{course.name}.csv").read_bytes() == made
    assert sum(p.stat().st_size for p in COURSES.glob("*.tar.xz")) <= LIMIT_MIB * 2**20


def test_versions_of_strategies_that_differ_are_named() -> None:
    """The committed courses hold two versions of frontier; one course alone holds one, and nothing is said."""
    courses = archived(COURSES, ["frontier", "frontier2"])
    said = versions_that_differ(courses)
    assert "`frontier` ran as frontier:1+1 in frontier and frontier:2+2 in frontier2" in said
    assert "`grpo`" not in said
    assert versions_that_differ(courses[:1]) == ""
