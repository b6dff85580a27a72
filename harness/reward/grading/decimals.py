"""Numerals as they are written: their exact value, and how many digits they show."""

from __future__ import annotations

import re
from fractions import Fraction

from harness.reward.grading.tokens import Unreadable

#: Decimal exponents beyond this are not written out.
MAX_EXPONENT = 10_000


def decimal(text: str) -> Fraction:
    """The exact value of a numeral such as ``12``, ``.5`` or ``1.5e-3``."""
    mantissa, _, exponent = text.lower().partition("e")
    power = int(exponent[:8] or 0)
    if abs(power) > MAX_EXPONENT:
        raise Unreadable
    return Fraction(mantissa.rstrip(".") if mantissa[0] != "." else "0" + mantissa) * Fraction(10) ** power


def written_digits(text: str) -> int:
    """Significant digits of a decimal as it is written; 0 for what is no decimal.

    >>> written_digits("0.00120"), written_digits("12")
    (3, 0)
    """
    match = re.fullmatch(r"(\d*)\.(\d+)(?:e[+-]?\d+)?", text.lower())
    return len((match[1] + match[2]).lstrip("0")) if match else 0
