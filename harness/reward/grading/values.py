"""When two numbers or formulas are the same answer: units, percent, and families of solutions."""

from __future__ import annotations

from fractions import Fraction

from harness.reward.grading.evaluate import Number, Undefined, close, ratio, same_expression, value
from harness.reward.grading.expressions import Expr, number
from harness.reward.grading.kinds import Value
from harness.reward.grading.units import DEGREE, Unit

#: A decimal with at least so many digits stands for the number it rounds: programs print 0.3333333333333333 for 1/3.
FLOAT_DIGITS = 10
_PARAMETERS = frozenset("kmnl")


def same_value(one: Value, two: Value) -> bool:
    """Equal numbers in equal units.

    A side without a unit takes the other's: ``12`` is ``12 cm``, and ``50`` is ``50 %`` as much as ``0.5`` is; but the parts of
    ``2 hours 30 minutes`` mean nothing alone.
    """
    if one.percent != two.percent:
        percent, plain = (one, two) if one.percent else (two, one)
        return plain.unit is None and (_equal(percent, plain) or _equal(Value(_scaled(percent, Fraction(1, 100))), plain))
    if one.unit is not None and two.unit is not None:
        return one.unit.dimensions == two.unit.dimensions and _equal(_in_base_units(one, one.unit), _in_base_units(two, two.unit))
    if one.unit is None and two.unit is None:
        return _equal(one, two) or _same_family(one.expression, two.expression)
    measured, plain = (one, two) if one.unit else (two, one)
    if measured.compound:
        return False
    return _equal(measured, plain) or (measured.unit == DEGREE and _equal(Value(Expr("deg", (measured.expression,))), plain))


def _in_base_units(v: Value, unit: Unit) -> Value:
    return v if unit.scale == 1 else Value(_scaled(v, unit.scale))


def _scaled(v: Value, factor: Fraction) -> Expr:
    return Expr("mul", (v.expression, number(factor)))


def _equal(one: Value, two: Value) -> bool:
    return same_expression(one.expression, two.expression) or _rounds(one, two) or _rounds(two, one)


def _rounds(rounded: Value, exact: Value) -> bool:
    """Whether a long decimal is the other number, rounded to its last digit; the other one must not be a decimal itself."""
    if rounded.digits < FLOAT_DIGITS or exact.expression.symbols():
        return False
    try:
        a, b = value(rounded.expression), value(exact.expression)
    except Undefined:
        return False
    if not isinstance(a, Fraction) or a == 0 or (isinstance(b, Fraction) and _terminates(b)):
        return False
    relative = ratio(exact.expression, rounded.expression)
    return relative is not None and bool(abs(relative - 1) <= Fraction(1, 10 ** (rounded.digits - 1)))


def _terminates(a: Fraction) -> bool:
    """Whether the decimal expansion ends."""
    rest = a.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    return rest == 1


def _same_family(one: Expr, two: Expr) -> bool:
    """``π/4 + nπ`` and ``5π/4 + kπ`` are the same numbers: equal periods, starts that differ by whole periods."""
    a, b = _start_and_period(one), _start_and_period(two)
    if a is None or b is None or not close(abs(a[1]), abs(b[1])):
        return False
    steps = (a[0] - b[0]) / a[1]
    nearest = round(float(steps.real if not isinstance(steps, Fraction) else steps))
    return close(steps + 1_000, Fraction(nearest + 1_000))


def _start_and_period(e: Expr) -> tuple[Number, Number] | None:
    """Start and period of a family that one integer letter runs through; only of angles, where π or degrees stand in it."""
    letters = e.symbols()
    if len(letters) != 1 or not letters <= _PARAMETERS or not (e.has("const", "pi") or e.has("deg")):
        return None
    (letter,) = letters
    try:
        at = [value(e, {letter: Fraction(k)}, real=True) for k in (0, 1, 2, -3)]
    except Undefined:
        return None
    period = at[1] - at[0]
    if close(period, Fraction(0)) or not close(at[2], at[0] + 2 * period) or not close(at[3], at[0] - 3 * period):
        return None
    return at[0], period
