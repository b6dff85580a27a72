"""The reward ``number``: the last number of a completion against a gold answer that is a number, exactly.

Both are read as rationals: ``0.75``, ``3/4`` and ``7.5e-1`` are equal, ``1,234`` is 1234, and a currency or per cent sign is not looked at.
Thoughts before ``</think>`` do not count.
"""

from __future__ import annotations

import re
from fractions import Fraction

#: The number is looked for in the last so many characters.
TAIL = 1_000
#: Longest number that is read, and greatest exponent: more would only cost time.
_LONGEST, _GREATEST_EXPONENT = 100, 300
_SIGN = r"(?<![\w.)\]}])[-+\u2212]"
_UNSIGNED = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = re.compile(rf"(?P<sign>{_SIGN})?(?P<digits>{_UNSIGNED})(?:[eE](?P<exponent>[-+]?\d+)|\s?/\s?(?P<divisor>\d+)(?![\d.]))?")
_BESIDE = re.compile(r"[\s$€£¥%]+")
_THOUGHT = "</think>"


def number_value(text: str) -> Fraction | None:
    """The number that a text is, apart from white space and a currency or per cent sign; None if it is something else.

    >>> number_value("$1,234.50"), number_value("-3/4"), number_value("about 5")
    (Fraction(2469, 2), Fraction(-3, 4), None)
    """
    match = _NUMBER.fullmatch(_BESIDE.sub("", text))
    return _value(match) if match else None


def last_number(completion: str) -> Fraction | None:
    """The last number of a completion; None if it has none.

    >>> last_number("5 apples and 7 pears make 12."), last_number("x = -5"), last_number("10-5")
    (Fraction(12, 1), Fraction(-5, 1), Fraction(5, 1))
    """
    tail = completion[completion.rfind(_THOUGHT) + len(_THOUGHT) :] if _THOUGHT in completion else completion
    found = list(_NUMBER.finditer(tail[-TAIL:]))
    return _value(found[-1]) if found else None


def same_number(completion: str, gold: str) -> float:
    """1.0 if the completion's last number is the gold answer, else 0.0; a gold answer that is no number has no right answers."""
    wanted = number_value(gold)
    return float(wanted is not None and last_number(completion) == wanted)


def _value(match: re.Match[str]) -> Fraction | None:
    exponent, divisor = int((match["exponent"] or "0")[:6]), int((match["divisor"] or "1")[:_LONGEST])
    if len(match[0]) > _LONGEST or abs(exponent) > _GREATEST_EXPONENT or not divisor:
        return None
    size = Fraction(match["digits"].replace(",", "")) * Fraction(10) ** exponent / divisor
    return -size if match["sign"] in ("-", "\u2212") else size
