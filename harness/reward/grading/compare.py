"""When two answers are the same, kind by kind; of two kinds that have nothing in common, never."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from harness.reward.grading import values
from harness.reward.grading.calculus import needs_calculus
from harness.reward.grading.evaluate import close, ratio
from harness.reward.grading.expressions import Expr, number
from harness.reward.grading.kinds import (
    Answer,
    Clock,
    Equation,
    Inequality,
    Interval,
    Listing,
    Matrix,
    Named,
    Opaque,
    Ratio,
    Tuple,
    Value,
)
from harness.reward.grading.reader import readings
from harness.reward.grading.sets import as_region

_ELLIPSIS = Opaque(r"\ldots")


def same_answer(answer: str, gold: str) -> bool:
    """Whether an answer says what the gold answer says, both as the inside of a box.

    >>> same_answer(r"x = \\\\frac{10}{4}", "2.5"), same_answer("x > 3", "3")
    (True, False)
    """
    return any(same(a, g) for g in readings(gold) for a in readings(answer))


def readable(text: str) -> bool:
    """Whether a rule reads the text; otherwise only its own spelling equals it."""
    return needs_calculus(text, "") or any(not isinstance(found, Opaque) for found in readings(text))


def same(answer: Answer, gold: Answer) -> bool:
    """Whether two answers are the same; symmetric but for ``a + b = 7``, which answers the gold 7 but is not answered by it."""
    if isinstance(answer, Opaque) and not answer.spelling:
        return False
    if answer == gold:
        return True
    if isinstance(answer, Equation) and isinstance(gold, Value):
        return _sum_of_letters(answer.left) and not answer.right.symbols() and values.same_value(Value(answer.right), gold)
    return _same(answer, gold) or _same(gold, answer)


def _same(one: Answer, two: Answer) -> bool:
    """Every pair of kinds in one order."""
    if isinstance(one, Named):
        return _same_named(one, two)
    if isinstance(one, Listing):
        return _same_listing(one, two)
    if isinstance(one, Value):
        return isinstance(two, Value) and values.same_value(one, two)
    if isinstance(one, Interval):
        region = as_region(two)
        free = not isinstance(two, Interval) or not one.variable or not two.variable or one.variable == two.variable
        return free and region is not None and one.region.same(region)
    if isinstance(one, Tuple):
        return _same_tuple(one, two)
    if isinstance(one, Matrix):
        return isinstance(two, Matrix) and _same_rows(one, two)
    if isinstance(one, Equation):
        return isinstance(two, Equation) and ratio(_difference(one), _difference(two)) is not None
    if isinstance(one, Inequality):
        return isinstance(two, Inequality) and _same_inequality(one, two)
    if isinstance(one, Ratio):
        return _same_ratio(one, two)
    return False


def _same_named(one: Named, two: Answer) -> bool:
    if isinstance(two, Named) and one.name == two.name:
        return same(one.answer, two.answer)
    if isinstance(two, Named | Equation):
        left, right = _as_equation(one), _as_equation(two)
        return left is not None and right is not None and _same(left, right)
    return not isinstance(two, Interval) and same(one.answer, two)


def _as_equation(answer: Named | Equation) -> Equation | None:
    if isinstance(answer, Equation):
        return answer
    if isinstance(answer.answer, Value) and answer.answer.unit is None and len(answer.name) == 1:
        return Equation(Expr("sym", value=answer.name), answer.answer.expression)
    return None


def _same_listing(one: Listing, two: Answer) -> bool:
    if len(one.items) == 1 and isinstance(two, Value):  # {5} for 5, as in "the set of solutions"
        return same(one.items[0], two)
    if isinstance(two, Tuple):
        return _distinct_names(one.items) and _in_order([_unnamed(i) for i in one.items], two.items)
    if not isinstance(two, Listing) or len(one.items) != len(two.items):
        return False
    a, b = one.items, two.items
    if _ELLIPSIS in a or _ELLIPSIS in b:
        return _in_order(a, b)
    if _distinct_names(a) != _distinct_names(b) and not (_named(a) and _named(b)):
        if _indexed(a) or _indexed(b):
            return _matched([_unnamed(i) for i in a], [_unnamed(i) for i in b])
        return _in_order([_unnamed(i) for i in a], [_unnamed(i) for i in b])
    return _matched(a, list(b))


def _matched(items: Sequence[Answer], others: list[Answer]) -> bool:
    """Whether the items are the others in some order."""
    for item in items:
        found = next((k for k, other in enumerate(others) if same(item, other)), None)
        if found is None:
            return False
        del others[found]
    return not others


def _in_order(items: Sequence[Answer], others: Sequence[Answer]) -> bool:
    return len(items) == len(others) and all(same(a, b) for a, b in zip(items, others, strict=True))


def _indexed(items: Sequence[Answer]) -> bool:
    """``x_1 = 5, x_2 = 7``: values of one letter, in no order."""
    return len({i.name.partition("_")[0] for i in items if isinstance(i, Named)}) == 1


def _distinct_names(items: Sequence[Answer]) -> bool:
    """``x = 5, y = 7``: each entry is named, and no two alike."""
    names = [i.name for i in items if isinstance(i, Named)]
    return len(items) > 1 and len(set(names)) == len(items)


def _named(items: Sequence[Answer]) -> bool:
    return any(isinstance(i, Named) for i in items)


def _unnamed(item: Answer) -> Answer:
    return item.answer if isinstance(item, Named) else item


def _same_tuple(one: Tuple, two: Answer) -> bool:
    if isinstance(two, Tuple):
        return (one.opening, one.closing) == (two.opening, two.closing) and _in_order(one.items, two.items)
    if (one.opening, one.closing) != ("(", ")"):
        return False
    if isinstance(two, Matrix):
        return 1 in (len(two.rows), len(two.rows[0])) and _in_order(one.items, [cell for row in two.rows for cell in row])
    return isinstance(two, Value) and _same_vector(one, two)


def _same_vector(one: Tuple, two: Value) -> bool:
    """``(2, 3)`` is ``2\\hat{i} + 3\\hat{j}``."""
    units = [Expr("sym", value=rf"\hat{name}") for name in "ijk"]
    entries = [i.expression for i in one.items if isinstance(i, Value) and i.unit is None]
    if len(entries) != len(one.items) or len(entries) not in (2, 3) or not two.expression.symbols() & {u.value for u in units}:
        return False
    terms = tuple(Expr("mul", pair) for pair in zip(entries, units, strict=False))
    return values.same_value(Value(Expr("add", terms)), two)


def _same_rows(one: Matrix, two: Matrix) -> bool:
    return len(one.rows) == len(two.rows) and all(_in_order(a, b) for a, b in zip(one.rows, two.rows, strict=True))


def _same_inequality(one: Inequality, two: Inequality) -> bool:
    factor = ratio(_difference(one), _difference(two)) if one.operator == two.operator else None
    return factor is not None and (one.operator == "!=" or (isinstance(factor, Fraction) and factor > 0) or close(abs(factor), factor))


def _difference(relation: Equation | Inequality) -> Expr:
    return Expr("add", (relation.left, Expr("neg", (relation.right,))))


def _same_ratio(one: Ratio, two: Answer) -> bool:
    """``2 : 3`` is ``4 : 6`` and ``2/3``; one with an ellipsis equals its own entries only."""
    if isinstance(two, Clock) and two.minutes >= 10:  # nobody writes the ratio 6:3 as 6:03
        two = Ratio((Value(number(two.hours)), Value(number(two.minutes))))
    if isinstance(two, Value):
        two = Ratio((two, Value(number(1))))
    if not isinstance(two, Ratio) or len(one.parts) != len(two.parts):
        return False
    plain = all(isinstance(p, Value) and p.unit is None and not _is_zero(p) for p in (*one.parts, *two.parts))
    if not plain:
        return _in_order(one.parts, two.parts)
    a, b = ([p.expression for p in r.parts if isinstance(p, Value)] for r in (one, two))
    return all(values.same_value(Value(Expr("mul", (a[0], b[k]))), Value(Expr("mul", (a[k], b[0])))) for k in range(1, len(a)))


def _is_zero(v: Value) -> bool:
    return values.same_value(v, Value(number(0)))


def _sum_of_letters(e: Expr) -> bool:
    """``a + b``, ``abc``, ``\\sin A``: a formula of letters without numbers, whose value a question may ask for."""
    return e.op not in ("num", "pow", "const", "fact") and all(_sum_of_letters(a) for a in e.args)
