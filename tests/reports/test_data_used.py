"""Questions and weights as the runs recorded them: a difference between runs that are compared is said first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from reports.analysis import analyse
from reports.condensed import condense
from reports.page.appendix import trouble
from reports.page.data_used import data_table, mismatches
from reports.sides import compare_sides
from tests.reports.ledgers import read, write_run
from tests.reports.pages import build_report

GAIN = {"share_of_gain": 0.9}


def made_of(digest: str, *, commit: str = "c" * 40) -> dict[str, Any]:
    """A provenance record: 512 questions of one hash from the hub, 64 for testing from a file, a model at one commit."""
    questions = {"train": {"questions": 512, "hash": digest}, "test": {"questions": 64, "hash": "t" * 20}}
    sources = {"train": {"hub": "org/maths", "revision": "0123456789abcdef"}, "test": {"file": "/home/someone/secret/held-out.jsonl"}}
    return {"model": {"name": "org/model", "revision": "main", "commit": commit}, "questions": questions, "sources": sources}


def runs_of(folder: Path, found: dict[tuple[str, int], dict[str, Any]]) -> list[Path]:
    """One run per (strategy, seed) with its provenance."""
    return [write_run(folder, label, seed, steps=24, provenance=record) for (label, seed), record in found.items()]


def test_other_questions_are_said_before_the_verdict(tmp_path: Path) -> None:
    """dots got other training questions than grpo: named with hash, strategy and seeds at the top, and among the warnings."""
    paths = runs_of(
        tmp_path,
        {(label, seed): made_of("a" * 20 if label == "grpo" else "b" * 20) for label in ("grpo", "dots") for seed in (1, 2)},
    )
    analysis = analyse([condense(log) for log in read(paths)], baseline="grpo", target=GAIN)
    (sentence,) = mismatches(analysis.combinations[0])
    assert "train questions (512, hash aaaaaaaaaaaa: grpo seeds 1 2; 512, hash bbbbbbbbbbbb: dots seeds 1 2)" in sentence
    assert [(kind, what) for kind, _, what in trouble(analysis)] == [("mismatch", sentence)]
    page = build_report(read(paths), tmp_path / "out", title="t", baseline="grpo", target=GAIN).read_text()
    assert page.index('class="alarms"') < page.index("do not share their train questions") < page.index('class="cards"')


def test_equal_questions_raise_no_alarm_and_are_listed(tmp_path: Path) -> None:
    """One row per split and for the model: how many, where from, hash or commit; a file by its name alone, never its folder."""
    paths = runs_of(tmp_path, {(label, seed): made_of("a" * 20) for label in ("grpo", "dots") for seed in (1, 2)})
    analysis = analyse([condense(log) for log in read(paths)], baseline="grpo", target=GAIN)
    assert mismatches(analysis.combinations[0]) == []
    rows = [[cell.text for cell in row[1:]] for row in data_table(analysis).rows]
    assert ["train", "512 questions from org/maths @ 0123456789ab", "aaaaaaaaaaaa", "4"] in rows
    assert ["test", "64 questions from held-out.jsonl", "tttttttttttt", "4"] in rows
    page = build_report(read(paths), tmp_path / "out", title="t", baseline="grpo", target=GAIN).read_text()
    assert "alarms" not in page.partition("<body>")[2]
    assert "secret" not in page


def test_other_weights_are_a_mismatch_too(tmp_path: Path) -> None:
    """The same model name at two commits: seeds are named."""
    paths = runs_of(tmp_path, {("grpo", 1): made_of("a" * 20), ("grpo", 2): made_of("a" * 20, commit="d" * 40)})
    (sentence,) = mismatches(analyse([condense(log) for log in read(paths)], baseline="grpo", target=GAIN).combinations[0])
    assert "do not share their model (cccccccccccc: grpo seed 1; dddddddddddd: grpo seed 2)" in sentence


def test_runs_that_recorded_nothing_are_left_alone(tmp_path: Path) -> None:
    """Ledgers of an earlier version have no provenance: no alarm, no row of questions."""
    paths = [write_run(tmp_path, "grpo", 1, steps=8), *runs_of(tmp_path, {("grpo", 2): made_of("a" * 20)})]
    analysis = analyse([condense(log) for log in read(paths)], baseline="grpo", target=GAIN)
    assert mismatches(analysis.combinations[0]) == []


def test_two_sides_on_other_questions_differ_in_words(tmp_path: Path) -> None:
    """Two versions of a task: the hash is among what differs."""
    sides = [
        [condense(log) for log in read(runs_of(tmp_path / name, {("grpo", s): made_of(digest * 20) for s in (1, 2)}))]
        for name, digest in (("old", "a"), ("new", "b"))
    ]
    found = compare_sides(("old", sides[0]), ("new", sides[1]), baseline="grpo", target=GAIN)
    assert ("train questions", "512, hash aaaaaaaaaaaa", "512, hash bbbbbbbbbbbb") in found.differs
