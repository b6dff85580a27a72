"""Numbers with units, percent and money: what stands before and after the number is read, not dropped."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from harness.reward.grading.decimals import written_digits
from harness.reward.grading.expressions import Expr, number, parse
from harness.reward.grading.kinds import Answer, Read, Value
from harness.reward.grading.tokens import Tokens, Unreadable
from harness.reward.grading.units import DEGREE, DOLLAR, MULTIPLIERS, Unit, known, parse_unit


def quantity(tokens: Tokens, _read: Read | None = None) -> Value | None:
    """``5``, ``5 \\text{ cm}^2``, ``\\$5.50``, ``7.41\\%``, ``45^\\circ``, ``2 hours 30 minutes``. Raises Unreadable."""
    if not tokens:
        raise Unreadable
    money = [i for i, t in enumerate(tokens) if t.text == r"\dollar"]
    if money:
        if len(money) > 1 or money[0] not in (0, 1, len(tokens) - 1):
            raise Unreadable
        inner = quantity(tokens[: money[0]] + tokens[money[0] + 1 :])
        if inner is None or inner.percent or inner.unit not in (None, DOLLAR):
            raise Unreadable
        return Value(inner.expression, DOLLAR, digits=inner.digits)
    if tokens[-1].text == r"\%" or (tokens[-1].kind == "text" and tokens[-1].text.lower() == "percent"):
        return Value(parse(tokens[:-1]), percent=True, digits=_digits(tokens[:-1]))
    degrees, scale = _degrees(tokens)
    if degrees:
        return Value(parse(degrees), scale)
    start = next((i for i, t in enumerate(tokens) if t.kind == "text" and i > 0), None)
    if tokens[0].kind == "text" and len(tokens) > 1:
        if tokens[0].text not in ("euro", "gbp"):
            raise Unreadable
        tokens = tokens[1:] + tokens[:1]
        start = len(tokens) - 1
    if start is None or (len(tokens[start].text) == 1 and not _follows_number(tokens, start)):
        return Value(parse(tokens), digits=_digits(tokens))
    return _with_unit(tokens, start)


def sum_of_quantities(items: Sequence[Answer]) -> Value | None:
    """``2 hours and 30 minutes``: items of one dimension, each in a smaller unit than the one before, are one quantity."""
    total, last = [], None
    for item in items:
        if not isinstance(item, Value) or item.unit is None or item.percent or not known(item.unit):
            return None
        if last is not None and (item.unit.dimensions != last.dimensions or item.unit.scale >= last.scale):
            return None
        last = item.unit
        total.append(Expr("mul", (item.expression, number(last.scale))))
    if last is None or len(total) < 2:
        return None
    return Value(Expr("add", tuple(total)), Unit(Fraction(1), last.dimensions), compound=True)


def _with_unit(tokens: Tokens, start: int) -> Value:
    """The number before the first word, the unit after it; several such pairs are a sum."""
    end = start
    while end < len(tokens) and not (tokens[end].kind == "num" and tokens[end - 1].kind == "text"):
        end += 1
    if end < len(tokens):
        first, rest = _with_unit(tokens[:end], start), quantity(tokens[end:])
        found = sum_of_quantities([first, rest]) if rest is not None and not rest.compound else None
        if found is None:
            raise Unreadable
        return found
    head, factor = parse(tokens[:start]), 1
    if tokens[start].text.lower() in MULTIPLIERS:
        factor, start = MULTIPLIERS[tokens[start].text.lower()], start + 1
        head = Expr("mul", (head, number(factor)))
    digits = _digits(tokens[:start]) if factor == 1 else 0
    if start == len(tokens):
        return Value(head, digits=digits)
    unit = parse_unit(tokens[start:])
    if unit is None:
        raise Unreadable
    return Value(head, unit, digits=digits)


def _degrees(tokens: Tokens) -> tuple[Tokens, Unit]:
    """What stands before a final degree sign, also before ``°C`` and ``°F``."""
    texts = [t.text for t in tokens]
    unit = DEGREE
    if texts[-1] in ("C", "F") and r"\circ" in texts:
        unit, tokens, texts = Unit(Fraction(1), ((f"degree {texts[-1]}", 1),)), tokens[:-1], texts[:-1]
    for form in (["^", r"\circ"], ["^", "{", r"\circ", "}"]):
        if texts[-len(form) :] == form and r"\circ" not in texts[: -len(form)]:
            head = tokens[: -len(form)]
            return (head, unit) if all(t.kind == "num" or t.text in "+-*/." or t.text in (r"\frac", "{", "}") for t in head) else ((), unit)
    return (), unit


def _follows_number(tokens: Tokens, i: int) -> bool:
    """Whether a single letter in roman type is a unit: ``5 \\text{ m}``, ``10^{-19} \\mathrm{C}``."""
    return tokens[i - 1].kind == "num" or tokens[i - 1].text == "}"


def _digits(tokens: Tokens) -> int:
    """Significant digits of a number written as a decimal, with a power of ten or without."""
    texts = [t.text for t in tokens if t.text not in "+-"]
    return written_digits(texts[0]) if texts and (len(texts) == 1 or texts[1:4] == ["*", "10", "^"]) else 0
