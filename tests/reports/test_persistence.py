"""Whether hard questions stay hard, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reports.analysis import analyse
from reports.condensed import condense
from reports.page.regime import regime_notes, regime_section
from reports.persistence import LEAST_REVISITED, Persistence, persistence, revisited
from reports.regime import run_regime
from tests.made_records import step
from tests.reports.ledgers import read, write_run


def test_questions_of_both_ends_by_hand() -> None:
    """Six steps: the first two and the last two. Question 1 is seen twice at the start (.25 and .75, mean .5, sampling variance
    (.1875/3 + .1875/3)/4 = .03125) and once at the end (1, no variance); 2 only at the start, 3 in the middle; 4 at both."""
    seen = [
        ([1, 2], [0.25, 0.5]), ([1, 4], [0.75, 0.0]), ([3], [0.5]), ([3], [0.5]), ([1], [1.0]), ([4, 5], [0.5, 0.5]),
    ]  # fmt: skip
    records = [step(i, question_ids=ids, pass_rates=rates) for i, (ids, rates) in enumerate(seen, start=1)]
    found = revisited(records, group_size=4)
    assert found.T.tolist() == [[0.5, 1.0, 0.03125, 0.0], [0.0, 0.5, 0.0, pytest.approx(0.25 / 3)]]
    assert revisited(records[:2], 4).shape == (4, 0)


def test_correlation_and_its_correction_by_hand() -> None:
    """Half of the questions at 0 then .5, half at .5 then 1: r = 1 without noise. With ends swapped for a quarter r = .5, and where
    half of each end's variance is sampling, .5/√(.5·.5) = 1. Too few, or all alike: not measured."""
    start, end = np.repeat([0.0, 0.5], 20), np.repeat([0.5, 1.0], 20)
    none = np.zeros(40)
    assert persistence([np.stack([start, end, none, none])]) == Persistence(40, pytest.approx(1.0), pytest.approx(1.0))
    end[[*range(5), *range(20, 25)]] = [1.0] * 5 + [0.5] * 5
    half = np.full(40, start.var(ddof=1) / 2)
    found = persistence([np.stack([start[:20], end[:20], half[:20], half[:20]]), np.stack([start[20:], end[20:], half[20:], half[20:]])])
    assert found == Persistence(40, pytest.approx(0.5), pytest.approx(1.0))
    drowned = np.full(40, start.var(ddof=1))
    assert persistence([np.stack([start, end, drowned, drowned])]) == Persistence(40, pytest.approx(0.5), None)
    assert persistence([np.stack([start, end, none, none])[:, : LEAST_REVISITED - 1]]) is None
    assert persistence([np.stack([none, end, none, none])]) is None
    assert persistence([]) is None


def test_the_page_says_it_or_that_it_was_not_measured(tmp_path: Path) -> None:
    """Random pass rates: nothing persists, and a note says so; of a few questions nothing is said."""
    run = condense(read([write_run(tmp_path, "grpo", 1, steps=24)])[0])
    analysis = analyse([run], baseline="grpo", target={"share_of_gain": 0.9})
    [combination] = analysis.combinations
    run.revisits = np.empty((4, 0))
    section = regime_section(analysis, {})
    assert section is not None
    assert section.tables[0].rows[0][6].text == "not measured"
    assert all(len(row) == len(section.tables[0].heads) for row in section.tables[0].rows)
    start, end = np.tile([0.0, 1.0], 20), np.repeat([0.0, 1.0], 20)
    run.revisits = np.stack([start, end, np.zeros(40), np.zeros(40)])
    section = regime_section(analysis, {})
    assert section is not None
    assert section.tables[0].rows[0][6].text == "0.00, 0.00 corrected (n = 40)"
    assert any(note.endswith("is soon out of date here.") for note in regime_notes(combination, run_regime(combination)))
