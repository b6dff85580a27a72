"""Integrals, sums, limits and products: read by math-verify's parser, the one part of grading that uses it."""

from __future__ import annotations

import functools
import logging
import re
from typing import Any

from harness.reward.spec import RewardError

_CALCULUS = re.compile(r"\\(?:i*int|sum|prod|lim|frac\s*\{\s*\\?(?:mathrm\{)?d\}?\s*\}|det)(?![a-z])")
#: Statements and lists are not values; the parser would read a part of them.
_NO_VALUE = re.compile(r"[,;<>]|(?<![_{\w])=|\\(?:le|ge|ne|lt|gt|in|text|begin)(?![a-z])")
#: Two numbers are the same if they agree to so many digits.
DIGITS = 30


def needs_calculus(answer: str, gold: str) -> bool:
    """Whether one side is a value that only a computer algebra system can give."""
    return bool(_CALCULUS.search(answer) or _CALCULUS.search(gold))


def load_parser() -> None:
    """Import math-verify now, outside the time limit of an answer. Raises RewardError where it is not installed."""
    try:
        import math_verify  # noqa: F401
    except ModuleNotFoundError as error:
        raise RewardError("reward 'math-verify' needs the package math-verify: pip install 'math-verify[antlr4_13_2]'") from error
    logging.disable(logging.CRITICAL)  # it logs every answer that it cannot parse


def same_by_calculus(answer: str, gold: str) -> bool:
    """Whether both have one value, which math-verify confirms and 30 digits do not refute."""
    from math_verify import verify

    if _NO_VALUE.search(_without_bounds(answer)) or _NO_VALUE.search(_without_bounds(gold)):
        return False
    left, right = _parse(answer), _parse(gold)
    if not left or not right or not verify(right, left, timeout_seconds=None):
        return False
    a, b = left[0], right[0]
    if getattr(a, "free_symbols", True) or getattr(b, "free_symbols", True):
        return bool(getattr(a, "free_symbols", None) == getattr(b, "free_symbols", None))
    difference = (a.doit() - b.doit()).evalf(DIGITS)
    return bool(difference.is_number and abs(difference) <= abs(b.doit().evalf(DIGITS)) * 10 ** (5 - DIGITS))


@functools.lru_cache(maxsize=10_000)
def _parse(text: str) -> Any:
    # The library's own time-outs are off: the process's clock stops an answer that takes too long.
    from math_verify import parse

    return parse(f"\\boxed{{{text}}}", parsing_timeout=None)


def _without_bounds(text: str) -> str:
    """Without what stands below and above signs: ``k=1`` under a sum is no equation."""
    text = re.sub(r"\\[,;:! ]", " ", text)
    return re.sub(r"[_^]\s*(?:\{[^{}]*\}|.)", "", text)
