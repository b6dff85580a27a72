"""pass@k from n samples, worked out by hand."""

from __future__ import annotations

import math

import pytest

from harness.stats import pass_at_k


def test_pass_at_k_by_hand() -> None:
    """0, 1, 2 and 4 of 4 right: two drawn at random miss with 6/6, 3/6, 1/6 and 0; k = 1 is the share right, k = n any right."""
    right = [0, 1, 2, 4]
    assert pass_at_k(right, 4, 2) == pytest.approx(1 - (1 + 3 / 6 + 1 / 6 + 0) / 4)
    assert pass_at_k(right, 4, 1) == pytest.approx(7 / 16)
    assert pass_at_k(right, 4, 4) == pytest.approx(3 / 4)
    assert math.isnan(pass_at_k([], 4, 2))


def test_more_draws_than_samples_cannot_be_estimated() -> None:
    """There is no unbiased estimate of pass@5 from four samples."""
    with pytest.raises(ValueError, match="pass@5"):
        pass_at_k([1], 4, 5)
