"""The saturating curve: it finds what it was made from, and keeps sooner and higher apart."""

from __future__ import annotations

import numpy as np
import pytest

from harness.stats import fit_saturating

COSTS = np.linspace(0.0, 100.0, 26)


def made(asymptote: float, middle: float, sharpness: float, start: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Evaluations without noise."""
    with np.errstate(divide="ignore"):
        return COSTS, start + (asymptote - start) / (1 + (middle / COSTS) ** sharpness)


def test_it_finds_what_the_curve_was_made_from() -> None:
    """To the grid's resolution: 3.4 % in the middle."""
    found = fit_saturating([made(0.6, 30.0, 2.0)] * 3)
    assert found is not None
    assert found.asymptote.value == pytest.approx(0.6, abs=0.01)
    assert found.middle.value == pytest.approx(30.0, rel=0.035)
    assert found.sharpness == pytest.approx(2.0, abs=0.11)
    assert found.error < 0.003
    assert (found.start, found.beyond) == (pytest.approx(0.1), False)
    assert found.asymptote.low == pytest.approx(found.asymptote.value)  # equal runs have no spread


def test_sooner_and_higher_are_two_things() -> None:
    """One arm arrives in half the cost at the same accuracy, the other heads higher at the same pace; seeds scatter by a point."""
    rng = np.random.default_rng(5)

    def seeds(asymptote: float, middle: float) -> list[tuple[np.ndarray, np.ndarray]]:
        return [(COSTS, made(asymptote, middle, 2.0)[1] + rng.normal(0, 0.01, len(COSTS))) for _ in range(5)]

    base, sooner, higher = (fit_saturating(seeds(a, m)) for a, m in ((0.5, 30.0), (0.5, 15.0), (0.7, 30.0)))
    assert base is not None
    assert sooner is not None
    assert higher is not None
    assert base.middle.low is not None
    assert sooner.middle.high is not None
    assert sooner.middle.high < base.middle.low
    assert sooner.asymptote.value == pytest.approx(base.asymptote.value, abs=0.03)
    assert base.asymptote.high is not None
    assert higher.asymptote.low is not None
    assert higher.asymptote.low > base.asymptote.high
    assert higher.middle.value == pytest.approx(base.middle.value, rel=0.15)


def test_a_curve_that_is_cut_short_is_called_an_extrapolation() -> None:
    """Only the first tenth of the rise was seen."""
    costs, accuracy = made(0.9, 400.0, 2.0)
    found = fit_saturating([(costs, accuracy)])
    assert found is not None
    assert found.beyond
    assert found.asymptote.low is None


def test_nothing_to_fit() -> None:
    """Too few evaluations, or a fall."""
    assert fit_saturating([(COSTS[:3], np.array([0.1, 0.2, 0.3]))]) is None
    assert fit_saturating([(COSTS, np.linspace(0.5, 0.1, len(COSTS)))]) is None
