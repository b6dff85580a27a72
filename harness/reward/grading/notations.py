"""Notations with a meaning of their own: times and ratios ``9:30``, numerals ``52_8``, congruences ``3 \\pmod 7``."""

from __future__ import annotations

import re
from fractions import Fraction

from harness.reward.grading.evaluate import Undefined, value
from harness.reward.grading.expressions import parse
from harness.reward.grading.kinds import Answer, Clock, Congruence, Numeral, Ratio, Read, Value
from harness.reward.grading.tokens import Tokens, Unreadable, spelling, split
from harness.reward.grading.vocabulary import BASE_WORDS

_AFTERNOON = re.compile(r"(a|p) *m", re.IGNORECASE)


def colons(tokens: Tokens, read: Read) -> Answer | None:
    """``9:30`` is a time of day (hours, then two digits of minutes); other numbers with colons, or with ``to``, are ratios."""
    parts = [part for part, _ in split(tokens, lambda t: t.text == ":" or (t.kind == "text" and t.text.lower() == "to"))]
    if len(parts) < 2:
        return None
    if not all(parts):
        raise Unreadable
    if len(parts) == 2 and (clock := _clock(*parts)) is not None:
        return clock
    return Ratio(tuple(read(part) for part in parts))


def _clock(hours: Tokens, minutes: Tokens) -> Clock | None:
    if len(hours) != 1 or not re.fullmatch(r"\d\d?", hours[0].text) or not re.fullmatch(r"[0-5]\d", minutes[0].text):
        return None
    hour, rest = int(hours[0].text), spelling(minutes[1:]).replace(".", "").strip()
    if hour > 24:
        return None
    if half := _AFTERNOON.fullmatch(rest):
        hour = hour % 12 + 12 * (half[1].lower() == "p")
    elif rest:
        return None
    return Clock(hour, int(minutes[0].text))


def numeral(tokens: Tokens, _read: Read) -> Answer | None:
    """``1011_2``, ``(52)_{8}``, ``1A_{16}``, ``52_{\\text{eight}}``; base ten is a plain number."""
    places = [i for i, t in enumerate(tokens) if t.text == "_"]
    if len(places) != 1:
        return None
    digits = "".join(t.text for t in tokens[: places[0]] if t.text not in "(){}").upper()
    base_text = "".join(t.text for t in tokens[places[0] + 1 :] if t.text not in "(){}").lower()
    base = BASE_WORDS.get(base_text) or (int(base_text) if re.fullmatch(r"[1-9]\d?", base_text) else 0)
    if not re.fullmatch(r"\d[\dA-Z]*", digits) or not 2 <= base <= 36:
        return None
    if base == 10:
        return Value(parse(tokens[: places[0]]))
    return Numeral(digits.lstrip("0") or "0", base)


def congruence(tokens: Tokens, _read: Read) -> Answer | None:
    """``x \\equiv 3 \\pmod 7``, ``3 \\pmod{7}``, ``3, 5 (mod 7)``: residues and their modulus; None where no modulus stands at the end."""
    place = next((i for i, t in enumerate(tokens) if t.text in (r"\pmod", "mod")), 0)
    if not place or any(t.text in (r"\pmod", "mod") for t in tokens[place + 1 :]):
        return None
    left = tokens[: place - (tokens[place - 1].text == "(")]
    modulus = _integer(tuple(t for t in tokens[place + 1 :] if t.text not in "(){}"))
    if modulus < 2:
        raise Unreadable
    sides = [part for part, _ in split(left, lambda t: t.text in (r"\equiv", "="))]
    if len(sides) > 2:
        raise Unreadable
    parts = [p for p, _ in split(sides[-1], lambda t: t.text == "," or (t.kind == "text" and t.text in ("and", "or")))]
    return Congruence(frozenset(Fraction(_integer(p) % modulus) for p in parts if p), modulus)


def _integer(tokens: Tokens) -> int:
    try:
        found = value(parse(tokens))
    except Undefined:
        raise Unreadable from None
    if not isinstance(found, Fraction) or found.denominator != 1:
        raise Unreadable
    return found.numerator
