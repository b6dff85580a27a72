"""Equations, inequalities and memberships: what an answer says about a letter is not the number at its end.

``x = 5`` names its answer, ``3 + 4 = 7`` is 7, ``x^2 + y^2 = 1`` is an equation and never the number 1; ``2 < x < 5`` is the interval.
"""

from __future__ import annotations

import re
from fractions import Fraction

from harness.reward.grading.evaluate import Number, Undefined, close, value
from harness.reward.grading.expressions import Expr, parse
from harness.reward.grading.kinds import Answer, Equation, Inequality, Interval, Named, Read, Tuple, Value
from harness.reward.grading.regions import Region, ray
from harness.reward.grading.sets import as_region
from harness.reward.grading.tokens import Tokens, Unreadable, enclosed, spelling, split
from harness.reward.grading.values import same_value

_COMPARISONS = {"<": "<", ">": ">", r"\le": "<=", r"\ge": ">=", r"\ne": "!="}
#: ``f(x)``, ``P(A|B)``, ``AB``, ``[ABC]``, ``\\frac{dy}{dx}``, ``|AB|``: what is asked for, by a name of several signs.
_LABEL = re.compile(
    r"\\?[A-Za-z]+(?: _ (?:\{[^{}]*\}|\S))?(?: ')*(?: \^ \{ - 1 \})? \( [^()]* \)|(?:\| )?(?:[A-Z] ){1,3}[A-Z](?: \|)?|\[ [A-Z ]+\]"
    r"|\\frac \{ d [a-z] \} \{ d [a-z] \}|\\(?:Pr|mathbb \{ [EP] \}) [(\[] [^()\[\]]* [)\]]|[EV] \[ [^\[\]]* \]|[A-Za-z]+ \( [^()]* \)"
)
#: A formula that is straight from minus this to this is taken to be straight.
_FAR = Fraction(10**9 + 1, 3)
_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!="}


def equation(tokens: Tokens, read: Read) -> Answer | None:
    """``name = answer``, a true statement about numbers (its right side), or an equation of two formulas."""
    exact = [part for part, _ in split(tokens, lambda t: t.text == r"\approx")]
    if len(exact) == 2 and all(exact) and not _is_name(exact[0]):
        return read(exact[0])
    sides = [part for part, _ in split(tokens, lambda t: t.text in ("=", r"\approx"))]
    if len(sides) < 2:
        return None
    if not all(sides):
        raise Unreadable
    if _is_name(sides[0]):
        _check_chain(sides[1:])
        return Named(_name(sides[0]), read(sides[-1]))
    try:
        formulas = [parse(side) for side in sides]
    except Unreadable:
        return _one_value([read(side) for side in sides])
    if not any(f.symbols() for f in formulas):
        _check_chain(sides)
        return Value(formulas[-1])
    if len(sides) > 2:
        raise Unreadable
    return Equation(*formulas)


def _one_value(sides: list[Answer]) -> Answer:
    """``\\frac12 = 50\\%``: quantities that are all the same are the last of them."""
    quantities = [side for side in sides if isinstance(side, Value)]
    if len(quantities) < len(sides) or not all(same_value(a, quantities[-1]) for a in quantities):
        raise Unreadable
    return quantities[-1]


def inequality(tokens: Tokens, _read: Read) -> Answer | None:
    """One letter between numbers is an interval; anything else keeps its two sides."""
    parts = split(tokens, lambda t: t.text in _COMPARISONS)
    if len(parts) < 2 or len(parts) > 3 or any(t.text == "=" for t in tokens):
        return None
    operators = [_COMPARISONS[before] for _, before in parts[1:]]
    if len(parts) == 2 and not parts[0][0]:  # "≥ 3"
        return Interval(ray(operators[0], value(parse(parts[1][0]))))
    sides = [parse(part) for part, _ in parts]
    letters = frozenset().union(*(side.symbols() for side in sides))
    if len(letters) == 1:
        (letter,) = letters
        rays = [_solved(a, o, b, letter) for a, o, b in zip(sides, operators, sides[1:], strict=False)]
        found: Region | None = None
        for step in rays:
            if step is None:
                break
            found = step if found is None else found.intersection(step)
        else:
            assert found is not None
            return Interval(found, letter)
    if len(sides) != 2:
        raise Unreadable
    left, right = sides
    operator = operators[0]
    return Inequality(_FLIPPED[operator], right, left) if operator.startswith(">") else Inequality(operator, left, right)


def membership(tokens: Tokens, read: Read) -> Answer | None:
    """``x \\in S`` is S, for x."""
    parts = [part for part, _ in split(tokens, lambda t: t.text == r"\in")]
    if len(parts) != 2:
        return None
    if not _is_name(parts[0]):
        raise Unreadable
    found = read(parts[1])
    region = as_region(found) if isinstance(found, Interval | Tuple) else None
    return Named(_name(parts[0]), found) if region is None else Interval(region, _name(parts[0]))


def _solved(left: Expr, operator: str, right: Expr, letter: str) -> Region | None:
    """The numbers for which an inequality holds that is linear in its letter; None for any other."""
    difference = Expr("add", (left, Expr("neg", (right,))))
    for side, other, comparison in ((left, right, operator), (right, left, _FLIPPED[operator])):
        if side.op == "sym" and not other.symbols():
            return ray(comparison, value(other))
    try:
        at: list[Number] = [value(difference, {letter: Fraction(k)}, real=True) for k in range(4)]
        far = {x: value(difference, {letter: x}, real=True) for x in (Fraction(-7, 3), -_FAR, _FAR)}
    except Undefined:
        return None
    slope = at[1] - at[0]
    straight = all(close(at[k + 1] - at[k], slope) for k in range(3)) and all(close(y, at[0] + slope * x) for x, y in far.items())
    if not straight or not isinstance(slope, Fraction) or slope == 0:
        return None
    return ray(operator if slope > 0 else _FLIPPED[operator], -at[0] / slope)


def _is_name(tokens: Tokens) -> bool:
    """A letter, perhaps with an index or an argument (``f(x)``), an angle, a point ``(x, y)``, or words."""
    if all(t.kind == "text" for t in tokens):
        return True
    if enclosed(tokens) and tokens[0].text == "(":
        return all(_is_name(part) for part, _ in split(tokens[1:-1], lambda t: t.text == ","))
    if any(t.text in (r"\angle", r"\triangle") for t in tokens):
        return not any(t.kind == "num" or t.text in "+-*/" for t in tokens)
    texts = [t.text for t in tokens]
    if _LABEL.fullmatch(" ".join(texts)):
        return True
    try:
        return parse(tokens).op == "sym"
    except Unreadable:
        return False


def _name(tokens: Tokens) -> str:
    return spelling(tokens).replace(" ", "")


def _check_chain(sides: list[Tokens]) -> None:
    """In ``= 3 + 4 = 7`` all numbers must be the same; Unreadable otherwise."""
    numbers = []
    for side in sides:
        try:
            formula = parse(side)
            if not formula.symbols():
                numbers.append(value(formula))
        except (Unreadable, Undefined):
            if len(sides) > 1:
                continue
    if any(not close(a, numbers[-1]) for a in numbers):
        raise Unreadable
