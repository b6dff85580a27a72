"""Quality of predictions against numbers worked out by hand; the comparison with scipy is in tests/predictor."""

from __future__ import annotations

import numpy as np
import pytest

from harness.numerics.prediction_quality import prediction_quality


def test_prediction_quality_by_hand() -> None:
    """Perfect order, shifted by .1: Pearson and Spearman 1, MAE .1; ties share their mean rank."""
    observed = np.array([0.0, 0.25, 0.5, 0.75])
    quality = prediction_quality(observed + 0.1, observed)
    assert (quality.n, quality.mae, quality.pearson, quality.spearman) == pytest.approx((4, 0.1, 1, 1))
    ties = prediction_quality(np.array([1.0, 1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0, 4.0]))
    assert ties.spearman == pytest.approx(4.5 / np.sqrt(4.5 * 5))  # ranks 1.5 1.5 3 4 against 1 2 3 4


@pytest.mark.parametrize("predicted", [[0.5, 0.5, 0.5, 0.5], [0.1, 0.9]])
def test_no_correlation_without_spread_or_with_two_points(predicted: list[float]) -> None:
    """A constant has none; two points always have one of ±1, which says nothing."""
    observed = np.linspace(0, 1, len(predicted))
    quality = prediction_quality(np.array(predicted), observed)
    assert np.isnan(quality.pearson)
    assert np.isnan(quality.spearman)
