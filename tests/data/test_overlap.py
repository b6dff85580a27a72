"""When two questions are the same question."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.data.overlap import normalised, repeats, shared


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Find $x$ if  $x\\,=\\left(1\\right)$.", "find x if x=(1)"),
        ("What is $\\dfrac{1}{2}$?", "What is \\frac{1}{2}"),
        ("Compute \\[ 2^{3} \\]\n", "Compute \\[2^3\\]"),
        ("ﬁnd ２", "find 2"),
    ],
)
def test_spelling_is_set_aside(one: str, other: str) -> None:
    """White space, dollars, braces, LaTeX spacing and sizes, capitals, the final stop, and compatibility characters."""
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("x = 1", "x = 2"), ("x < 1", "x > 1"), ("a - b", "a + b"), ("\\leftarrow a", "arrow a"), ("\\theta", "\\beta"), ("1.5", "15")],
)
def test_what_is_asked_is_not(one: str, other: str) -> None:
    """Numbers, signs, relations and the names of symbols stay."""
    assert normalised(one) != normalised(other)


@given(st.text(max_size=60))
def test_normalised_twice_is_normalised_once_for_repeats(text: str) -> None:
    """A text repeats itself, whatever is in it, and is shared with itself."""
    assert repeats([text, text]) == [1]
    assert shared([text], [text]) == [0]


def test_positions() -> None:
    """Where the repeats and the shared ones stand, in order."""
    assert repeats(["a", "b", "A.", "c", "$b$", "b"]) == [2, 4, 5]
    assert shared(["a", "b", "c"], ["C?", "$a$"]) == [0, 2]
