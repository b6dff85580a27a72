"""Values of expressions and their equality: exact fractions where possible, otherwise 60 digits; letters stand for sample numbers.

Two expressions with letters are equal if they agree wherever both are defined, which is tried at a fixed set of points: integers,
positive and negative fractions. Two different expressions that agree to 40 digits at all of them do not occur by chance. Comparison
is relative, so that 10⁻¹² is not 2·10⁻¹² and 2022!+1 is not 2022!.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

import mpmath

from harness.reward.grading.expressions import Expr

#: Exact numbers have at most so many bits; larger ones are rounded to 60 digits.
MAX_BITS = 200_000
#: Exponents, factorials and arguments of functions beyond this are not computed.
MAX_SIZE = 10**9
#: Relative difference below which two numbers of 60 digits are the same.
TOLERANCE = mpmath.mpf(10) ** -40
_INTEGERS = 8
_POINTS = _INTEGERS + 6
_MP = mpmath.MPContext()
_MP.dps = 60
INFINITY = _MP.mpf("inf")

Number = Any  # Fraction, or mpmath's mpf or mpc


class Undefined(Exception):
    """The expression has no value at this point, or one that is too large to compute."""


def same_expression(left: Expr, right: Expr) -> bool:
    """Whether both are equal wherever both are defined."""
    if left == right:
        return True
    found = ratio(left, right)
    return found is not None and close(found, Fraction(1))


def value(expression: Expr, point: Mapping[str, Fraction] | None = None, real: bool = False) -> Number:
    """The number that the expression is at a point. ``real``: a root of a negative number is undefined. Raises Undefined."""
    try:
        found = _evaluate(expression, point or {}, real)
    except (ZeroDivisionError, OverflowError, ValueError, TypeError, mpmath.libmp.NoConvergence):
        raise Undefined from None
    if not isinstance(found, Fraction) and _MP.isnan(found):
        raise Undefined
    return found


def ratio(left: Expr, right: Expr) -> Number | None:
    """``left / right`` if that is one number at all points (1 for equal expressions), None otherwise.

    >>> from harness.reward.grading.expressions import parse
    >>> from harness.reward.grading.tokens import tokenise
    >>> ratio(parse(tokenise("4x-2y")), parse(tokenise("2x-y")))
    Fraction(2, 1)
    """
    names = sorted(left.symbols() | right.symbols())
    real = bool(names) and not (left.has("const", "i") or right.has("const", "i"))
    found: list[Number] = []
    zeros = 0
    for k in range(_POINTS if names else 1):
        point = {name: _coordinate(name, k) for name in names}
        try:
            a, b = value(left, point, real), value(right, point, real)
            if infinite(a) or infinite(b):
                if not names:
                    return Fraction(1) if a == b else None
                continue
        except Undefined:
            continue
        if close(a, b):
            a = b = Fraction(0) if zero(a) else Fraction(1)
        if zero(a) and zero(b):
            zeros += 1
        elif zero(a) or zero(b):
            return None
        else:
            found.append(_divide(a, b))
            if not close(found[0], found[-1]):
                return None
    if len(found) + zeros < min(2, _POINTS if names else 1):
        return None
    return found[0] if found else Fraction(1)


def close(a: Number, b: Number) -> bool:
    """Equal: exactly for fractions, to 40 digits otherwise."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a == b
    a, b = _float(a), _float(b)
    if infinite(a) or infinite(b):
        return bool(a == b)
    difference = abs(a - b)
    # Two sums that cancel leave a rest of 10⁻⁶⁰ instead of zero; exact fractions never do.
    return bool(difference <= TOLERANCE * max(abs(a), abs(b)) or difference < _MP.mpf(10) ** -55)


def zero(a: Number) -> bool:
    """Whether it is zero, or the rest of a sum that cancelled."""
    return a == 0 if isinstance(a, Fraction) else bool(abs(a) < _MP.mpf(10) ** -55)


def infinite(a: Number) -> bool:
    """Whether it is ±∞."""
    return not isinstance(a, Fraction) and bool(_MP.isinf(a))


def sort_key(a: Number) -> Any:
    """A real number for comparisons of size; Undefined for others."""
    if isinstance(a, Fraction):
        return a
    if not isinstance(a, _MP.mpf):
        raise Undefined
    return a


def less(a: Number, b: Number) -> bool:
    """``a < b`` for real numbers."""
    return not close(a, b) and bool(_float(sort_key(a)) < _float(sort_key(b)))


def _seed(name: str) -> bytes:
    # The bytes that Python seeds with for a text; half of a surrogate pair, which an answer may hold, has none of its own.
    return name.encode("utf-8", "surrogatepass")


@lru_cache(maxsize=2_000)
def _coordinate(name: str, k: int) -> Fraction:
    """A number for a letter, the same every time: integers first, then positive and negative fractions."""
    rng = random.Random(_seed(name))  # seeded with a text: the same on every machine, and independent for different letters
    if k < _INTEGERS:
        return Fraction(rng.sample(range(1, 15), _INTEGERS)[k])
    # An even denominator, so that (-1)^n is defined for integers only.
    fraction = Fraction(2 * random.Random(_seed(f"{name}/{k}")).randint(0, 95) + 1, 64)
    return fraction if k % 2 else -fraction


def _float(a: Number) -> Any:
    return _MP.mpf(a.numerator) / a.denominator if isinstance(a, Fraction) else a


def _evaluate(e: Expr, point: Mapping[str, Fraction], real: bool) -> Number:
    if e.op == "num":
        return e.value
    if e.op == "sym":
        if str(e.value) not in point:
            raise Undefined
        return point[str(e.value)]
    if e.op == "const":
        return {"pi": _MP.pi, "e": _MP.e, "oo": INFINITY}[str(e.value)] * 1 if e.value != "i" else _MP.mpc(0, 1)
    args = [_evaluate(a, point, real) for a in e.args]
    if e.op == "add":
        total = args[0]
        for a in args[1:]:
            total = _limited(_pair(total, a, lambda x, y: x + y))
        return total
    if e.op == "neg":
        return -args[0]
    if e.op == "mul":
        return _limited(_pair(args[0], args[1], lambda x, y: x * y))
    if e.op == "div":
        return _divide(args[0], args[1])
    if e.op == "pow":
        return _power(args[0], args[1], real)
    if e.op == "root":
        return _root(args[0], args[1], real)
    return _function(e.op, args, real)


def _pair(a: Number, b: Number, operation: Any) -> Number:
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return operation(a, b)
    return operation(_float(a), _float(b))


def _divide(a: Number, b: Number) -> Number:
    if b == 0:
        raise Undefined
    return _limited(_pair(a, b, lambda x, y: x / y))


def _limited(a: Number) -> Number:
    if isinstance(a, Fraction) and a.numerator.bit_length() + a.denominator.bit_length() > MAX_BITS:
        return _float(a)
    return a


def _power(base: Number, exponent: Number, real: bool) -> Number:
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        n = exponent.numerator
        if abs(n) > MAX_SIZE and base not in (0, 1, -1):
            raise Undefined
        if isinstance(base, Fraction):
            if base == 0 and n < 0:
                raise Undefined
            bits = max(base.numerator.bit_length(), base.denominator.bit_length())
            if bits * abs(n) <= MAX_BITS or base in (0, 1, -1):
                return base ** (n % 2 if abs(n) > MAX_SIZE else n)
        return _float(base) ** n
    if isinstance(exponent, Fraction) and exponent.denominator < 1_000:
        return _power(_root(base, Fraction(exponent.denominator), real), Fraction(exponent.numerator), real)
    base, exponent = _float(base), _float(exponent)
    if infinite(base) or infinite(exponent) or abs(exponent) > MAX_SIZE:
        raise Undefined
    if real and (not isinstance(base, _MP.mpf) or base < 0):
        raise Undefined
    return base**exponent


def _root(a: Number, index: Number, real: bool) -> Number:
    if not isinstance(index, Fraction) or index.denominator != 1 or not 1 <= index <= 1_000:
        return _power(a, _divide(Fraction(1), index), real)
    n = index.numerator
    negative = isinstance(a, Fraction | _MP.mpf) and a < 0
    if negative and n % 2:
        return -_root(-a, index, real)
    if negative and real:
        raise Undefined
    if isinstance(a, Fraction) and a >= 0:
        over, under = _exact_root(a.numerator, n), _exact_root(a.denominator, n)
        if over is not None and under is not None:
            return Fraction(over, under)
    return _MP.root(_float(a), n)


def _exact_root(a: int, n: int) -> int | None:
    if n == 2:
        root = math.isqrt(a)
        return root if root * root == a else None
    if a.bit_length() > 180:
        return None
    root = int(_MP.nint(_MP.root(_MP.mpf(a), n)))
    return root if root**n == a else None


def _function(name: str, args: list[Number], real: bool) -> Number:
    if name in ("gcd", "lcm", "max", "min"):
        if not all(isinstance(a, Fraction) for a in args):
            raise Undefined
        if name in ("max", "min"):
            return max(args) if name == "max" else min(args)
        if any(a.denominator != 1 for a in args):
            raise Undefined
        return Fraction((math.gcd if name == "gcd" else math.lcm)(*(a.numerator for a in args)))
    a = args[0]
    if name == "abs":
        return abs(a)
    if name == "deg":
        return _float(a) * _MP.pi / 180
    if name in ("floor", "ceil"):
        return Fraction((math.floor if name == "floor" else math.ceil)(sort_key(a)))
    if name == "mod":
        if not isinstance(a, Fraction) or not isinstance(args[1], Fraction) or args[1] == 0:
            raise Undefined
        return a % args[1]
    if name in ("fact", "binom"):
        return _combinatorial(args)
    return _elementary(name, _float(a), real)


def _combinatorial(args: list[Number]) -> Number:
    n, k = args[0], args[-1]
    if not all(isinstance(a, Fraction) and a.denominator == 1 and 0 <= a <= MAX_SIZE for a in args):
        raise Undefined
    if len(args) == 1:
        return Fraction(math.factorial(n.numerator)) if n <= 10_000 else _MP.factorial(n.numerator)
    return Fraction(math.comb(n.numerator, k.numerator)) if n <= 20_000 else _MP.binomial(n.numerator, k.numerator)


def _elementary(name: str, a: Number, real: bool) -> Number:
    if (infinite(a) or abs(a) > MAX_SIZE) and name not in ("ln", "log"):
        raise Undefined
    if name in ("ln", "log"):
        if a == 0 or (real and (not isinstance(a, _MP.mpf) or a < 0)):
            raise Undefined
        return _MP.log(a)
    functions = {
        "exp": _MP.exp, "sin": _MP.sin, "cos": _MP.cos, "tan": _MP.tan, "cot": _MP.cot, "sec": _MP.sec, "csc": _MP.csc, "arcsin": _MP.asin,
        "arccos": _MP.acos, "arctan": _MP.atan, "sinh": _MP.sinh, "cosh": _MP.cosh, "tanh": _MP.tanh,
    }  # fmt: skip
    if name not in functions:
        raise Undefined
    if real and name in ("arcsin", "arccos") and abs(a) > 1:
        raise Undefined
    return functions[name](a)
