"""k-center reference sets: spread out, without repeats."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import UserError
from harness.predictor.diverse import k_center


def test_every_cluster_gets_a_reference() -> None:
    """Five tight clusters of very different sizes: five references, one in each; random references miss some."""
    rng = np.random.default_rng(0)
    sizes = [200, 100, 20, 5, 2]
    centres = 10 * rng.standard_normal((5, 3))
    points = np.concatenate([c + 0.01 * rng.standard_normal((n, 3)) for c, n in zip(centres, sizes, strict=True)])
    labels = np.repeat(np.arange(5), sizes)
    assert set(labels[k_center(points, 5, rng)].tolist()) == set(range(5))


@given(st.integers(1, 30), st.data())
def test_always_that_many_different_questions(count: int, data: st.DataObject) -> None:
    """Any size up to N, coinciding questions included: no repeats."""
    size = data.draw(st.integers(1, count))
    points = np.random.default_rng(count).integers(0, 2, (count, 2)).astype(float)
    assert len(set(k_center(points, size, np.random.default_rng(0)).tolist())) == size


def test_more_references_than_questions_is_refused() -> None:
    """One clear sentence."""
    with pytest.raises(UserError, match="4 diverse references out of 3"):
        k_center(np.zeros((3, 2)), 4, np.random.default_rng(0))
