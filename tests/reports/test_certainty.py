"""For what a report's verdicts hold, and what its pairs can detect at every price, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.stats import SpeedUp, TokenPrices
from reports.analysis import analyse
from reports.arms import Analysis
from reports.condensed import condense
from reports.detectable import detectable_speed_ups, scatter
from reports.page.certainty import certainty_notes, scope_sentence
from tests.reports.ledgers import read, write_run

SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]


def two_arms(folder: Path) -> Analysis:
    """Five pairs of equal runs."""
    paths = [write_run(folder, label, s, steps=24, accuracies=SLOW) for label in ("grpo", "rr") for s in range(1, 6)]
    return analyse([condense(log) for log in read(paths)], baseline="grpo", target={"share_of_gain": 0.9})


def ratios(*values: float) -> SpeedUp:
    """Pairs known exactly."""
    return SpeedUp(len(values), 1.0, 1.0, None, None, np.array([[v, v] for v in values]))


def test_detectable_speed_ups_per_price_by_hand(tmp_path: Path) -> None:
    """Log ratios ±.1 and 0 scatter by .1·√(4/4) = .1 in time: exp(3.7174·.1/√5) = 1.18; twice as far at μ = 5: 1.39; none at μ = 1."""
    analysis = two_arms(tmp_path)
    [combination] = analysis.combinations
    arm = combination.arms[1]
    arm.speed_ups = {
        "training_seconds": ratios(*np.exp([-0.1, -0.1, 0.0, 0.1, 0.1])),
        "price:5": ratios(*np.exp([-0.2, -0.2, 0.0, 0.2, 0.2])),
        "price:1": ratios(1.0, 1.0, 1.0, 1.0, 1.0),
    }
    assert scatter([combination], "main") == pytest.approx(0.1)
    found = detectable_speed_ups(combination, [TokenPrices(1.0), TokenPrices(5.0)], 5)
    assert found == {"training_seconds": pytest.approx(1.181, abs=1e-3), "price:5": pytest.approx(1.394, abs=1e-3)}
    notes = certainty_notes(analysis)
    expected = "n = 5 pairs detect speed-ups from 1.18× in training time and 1.39× at μ = 5 (power 0.8)."
    assert any(note.endswith(expected) for note in notes)


def test_a_miniature_says_that_its_ranks_need_not_transfer(tmp_path: Path) -> None:
    """An embedded model is a miniature; a hub model is not, and its page names it; curves without runs say nothing."""
    analysis = two_arms(tmp_path)
    assert certainty_notes(analysis)[0] == (
        "Scope: measured with embedded:llama-64x2, a miniature. Ranks of a miniature need not transfer to larger models, other tasks or "
        "longer training; they say what is worth measuring there."
    )
    for run in analysis.runs:
        run.spec["combination"]["model"]["name"] = "org/model-7b"
    assert scope_sentence(analysis).startswith("Scope: measured with org/model-7b. Ranks of strategies need not transfer")
    for run in analysis.runs:
        run.spec = {"strategy": {}}
    assert scope_sentence(analysis) == ""
