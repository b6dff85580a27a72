"""Answers that are plain numbers, or tuples of them, compared exactly and at once; everything else is left to the parser.

Most gold answers in mathematics data are integers or fractions. A LaTeX parser takes milliseconds for those and up to 50 for a
tuple; this takes microseconds and is sure: it decides only where both sides are exact rationals in the same brackets.
"""

from __future__ import annotations

import functools
import re
from fractions import Fraction

#: Longer digit strings go to the parser, under its time limit.
_DIGITS = r"\d{1,30}"
_FRACTION = re.compile(rf"([+-]?)\\[dt]?frac\{{([+-]?{_DIGITS})\}}\{{({_DIGITS})\}}")
_SHORT_FRACTION = re.compile(r"([+-]?)\\[dt]?frac(\d)(\d)")
_RATIO = re.compile(rf"([+-]?{_DIGITS})(?:/({_DIGITS}))?")
_SPACING = re.compile(r"\\[,;:! ]|\\(?:left|right)(?![a-zA-Z])|\s|~")
#: ``(1,000)`` may be a thousand, ``1 000`` and ``1\\,000`` too: that is for the parser to say.
_UNSURE = re.compile(r"\d(?:\s|\\[,;:! ]|~)+\d|\d,\d{3}(?!\d)")

Value = Fraction | tuple[str | Fraction, ...]


@functools.lru_cache(maxsize=20_000)
def exact_value(text: str) -> Value | None:
    """A rational, or (opening bracket, rationals…), if that is all the text says; otherwise None.

    >>> exact_value(r"-\\dfrac{6}{4}"), exact_value("1.5"), exact_value("x")
    (Fraction(-3, 2), None, None)
    >>> exact_value(r"\\left( 1, \\frac12 \\right)")
    ('(', Fraction(1, 1), Fraction(1, 2))
    """
    if len(text) > 400:
        return None
    if _UNSURE.search(text):
        return None
    text = _SPACING.sub("", text)
    if "," not in text or text[0] + text[-1] not in ("()", "[]"):
        return _rational(text)
    items = [_rational(item) for item in text[1:-1].split(",")]
    found = [item for item in items if item is not None]
    return (text[0], *found) if len(found) == len(items) else None


def compare(answer: str, gold: str) -> float | None:
    """1.0 or 0.0 where both are exact values of one kind, None where a parser must decide."""
    wanted = exact_value(gold)
    found = None if wanted is None else exact_value(answer)
    if wanted is None or found is None or type(wanted) is not type(found):
        return None
    if isinstance(wanted, tuple) and isinstance(found, tuple) and wanted[0] != found[0]:
        return None
    return float(wanted == found)


def _rational(text: str) -> Fraction | None:
    if match := _FRACTION.fullmatch(text) or _SHORT_FRACTION.fullmatch(text):
        sign, over, under = match.groups()
        return _divide(int(over), int(under), -1 if sign == "-" else 1)
    if match := _RATIO.fullmatch(text):
        return _divide(int(match[1]), int(match[2] or 1))
    return None


def _divide(over: int, under: int, sign: int = 1) -> Fraction | None:
    return Fraction(sign * over, under) if under else None
