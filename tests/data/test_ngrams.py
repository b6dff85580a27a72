"""Overlap of questions by runs of 13 words, worked out by hand."""

from __future__ import annotations

import time

import numpy as np
import pytest

from harness.data.ngrams import GramIndex, grams, words_of

LETTERS = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"]


def test_words_of_mathematics() -> None:
    """Case, white space and punctuation are set aside; commands and numbers are words."""
    assert words_of("Let $x^2 = \\frac{10}{3}$. FIND\n$x$!") == ["let", "x", "2", "\\frac", "10", "3", "find", "x"]


def test_runs_of_thirteen_words() -> None:
    """15 words have three; 13 have one; fewer have none."""
    assert grams(" ".join(LETTERS[:15])) == {tuple(LETTERS[:13]), tuple(LETTERS[1:14]), tuple(LETTERS[2:15])}
    assert grams(" ".join(LETTERS[:13])) == {tuple(LETTERS[:13])}
    assert grams(" ".join(LETTERS[:12])) == set()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" ".join(["new", *LETTERS[1:14], "end"]), True),  # 13 words of it
        (" ".join(["new", *LETTERS[1:13], "end"]), False),  # 12 words
        (" ".join(LETTERS[:16]).upper() + "!", True),
        ("Short one?", False),  # too short to say anything
    ],
)
def test_thirteen_words_in_a_row_are_an_overlap(text: str, found: bool) -> None:
    """Of a training set of one long and one short question."""
    index = GramIndex([" ".join(LETTERS), "short one"])
    assert index.overlapping(["nothing alike", text]) == ([1] if found else [])


def test_the_wording_of_a_template_is_no_overlap() -> None:
    """An instruction of 14 words under eleven questions is ignored, under ten it is not."""
    instruction = " ".join(LETTERS[:14])
    pool = [f"{i} {instruction}" for i in range(11)]
    assert GramIndex(pool).overlapping([f"99 {instruction}"]) == []
    assert GramIndex(pool[:10]).overlapping([f"99 {instruction}"]) == [0]


@pytest.mark.slow
def test_a_pool_of_the_papers_size_takes_seconds() -> None:
    """10,240 questions of 60 words against six sets of 500: below ten seconds on any machine that can train."""
    rng = np.random.default_rng(0)
    vocabulary = np.array([f"w{i}" for i in range(5000)])
    texts = [" ".join(rng.choice(vocabulary, 60)) for _ in range(13_240)]
    start = time.perf_counter()
    index = GramIndex(texts[:10_240])
    found = [index.overlapping(texts[10_240 + 500 * i : 10_740 + 500 * i]) for i in range(6)]
    assert time.perf_counter() - start < 10
    assert found == [[]] * 6
