"""Brackets: points, intervals, finite sets, unions, matrices."""

from __future__ import annotations

from harness.reward.grading.evaluate import Undefined, value
from harness.reward.grading.kinds import Answer, Interval, Listing, Matrix, Read, Tuple, Value
from harness.reward.grading.regions import Region, Span, reals, region
from harness.reward.grading.tokens import Token, Tokens, Unreadable, enclosed, spelling, split

#: Lists with more entries are opaque.
MAX_ITEMS = 200
_SET_OPERATORS = (r"\cup", r"\cap", r"\setminus")
_MATRICES = frozenset({"pmatrix", "bmatrix", "matrix", "Bmatrix", "smallmatrix", "array"})


def as_region(answer: Answer) -> Region | None:
    """The set of reals that an answer is; a finite set and a pair in brackets are ones too."""
    if isinstance(answer, Interval):
        return answer.region
    try:
        if isinstance(answer, Tuple) and len(answer.items) == 2 and answer.opening in "([" and answer.closing in ")]":
            low, high = (value(i.expression) for i in answer.items if isinstance(i, Value) and not i.unit)
            return region([Span(low, answer.opening == "[", high, answer.closing == "]")])
        if isinstance(answer, Listing) and answer.joiner != "and" and any(isinstance(i, Tuple | Interval) for i in answer.items):
            parts = [as_region(i) for i in answer.items]
            return None if None in parts else region([span for part in parts if part for span in part.spans])
        if isinstance(answer, Listing) and all(isinstance(i, Value) for i in answer.items):
            points = [value(i.expression) for i in answer.items if isinstance(i, Value)]
            return region([Span(p, True, p, True) for p in points])
    except (Undefined, ValueError):
        pass
    return None


def constant_set(tokens: Tokens, _read: Read) -> Answer | None:
    """ℝ and ∅."""
    text = spelling(tokens)
    if text in (r"\mathbb R", r"\R"):
        return Interval(reals())
    return Listing(()) if text == r"\emptyset" else None


def union(tokens: Tokens, read: Read) -> Answer | None:
    """``A \\cup B``, ``A \\setminus B``, ``A \\cap B``, from left to right."""
    if not any(t.text in _SET_OPERATORS for t in tokens):
        return None
    parts: list[tuple[Tokens, str]] = []
    start = 0
    for i, token in enumerate([*tokens, Token("cmd", r"\cup")]):
        if token.text in _SET_OPERATORS:
            parts.append((tokens[start:i], tokens[start - 1].text if start else ""))
            start = i + 1
    total = as_region(read(parts[0][0]))
    for part, operator in parts[1:]:
        right = as_region(read(part))
        if total is None or right is None:
            return None
        total = {r"\cup": total.union, r"\cap": total.intersection, r"\setminus": total.without}[operator](right)
    return None if total is None else Interval(total)


def brackets(tokens: Tokens, read: Read) -> Answer | None:
    """``(1, 2)``, ``[0, 1)``, ``]0, 1[``, ``\\langle 1, 2\\rangle``, ``\\{1, 2\\}``, ``\\{x : x > 1\\}``."""
    foreign = foreign_interval(tokens)
    if not foreign and not enclosed(tokens):
        return None
    opening, closing, inside = tokens[0].text, tokens[-1].text, tokens[1:-1]
    if foreign:
        opening, closing = "[" if opening == "[" else "(", "]" if closing == "]" else ")"
    if opening == r"\{":
        return _set(inside, read)
    if opening not in ("(", "[", r"\langle"):
        return None
    parts = [part for part, _ in split(inside, lambda t: t.text in (",", ";"))]
    if len(parts) < 2:
        return None
    if len(parts) > MAX_ITEMS or not all(parts):
        raise Unreadable
    return Tuple("(" if opening == r"\langle" else opening, ")" if closing == r"\rangle" else closing, tuple(read(p) for p in parts))


def foreign_interval(tokens: Tokens) -> bool:
    """Brackets that point outwards: ``]1, 2[``, ``[1, 2[``, ``]1, 2]``."""
    return (
        len(tokens) >= 5
        and tokens[0].text in ("[", "]")
        and tokens[-1].text in ("[", "]")
        and (tokens[0].text, tokens[-1].text) != ("[", "]")
        and not any(t.text in ("[", "]", *_SET_OPERATORS) for t in tokens[1:-1])
    )


def matrix(tokens: Tokens, read: Read) -> Answer | None:
    """``\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}``, whatever its brackets."""
    if tokens[0].text in ("(", "[") and enclosed(tokens) and tokens[1].text == r"\begin":
        tokens = tokens[1:-1]
    name = environment(tokens)
    if name not in _MATRICES:
        return None
    start = next(i for i, t in enumerate(tokens) if t.text == "}") + 1
    end = max(i for i, t in enumerate(tokens) if t.text == r"\end")
    if name == "array" and tokens[start].text == "{":
        start = next(i for i in range(start, end) if tokens[i].text == "}") + 1
    rows = [row for row, _ in split(tokens[start:end], lambda t: t.text == r"\newline") if row]
    cells = tuple(tuple(read(cell) for cell, _ in split(row, lambda t: t.text == "&")) for row in rows)
    if not cells or len({len(row) for row in cells}) != 1 or sum(len(row) for row in cells) > MAX_ITEMS:
        raise Unreadable
    return Matrix(cells)


def environment(tokens: Tokens) -> str:
    """The name of the environment that all tokens are in, or an empty string."""
    last = max((i for i, t in enumerate(tokens) if t.text == r"\end"), default=0)
    if tokens[0].text != r"\begin" or not last or any(t.text == r"\begin" for t in tokens[1:]):
        return ""
    first = next((i for i, t in enumerate(tokens) if t.text == "}"), 0)
    name, closed = (spelling(part).replace(" ", "") for part in (tokens[1:first], tokens[last + 1 :]))
    return name if name == closed else ""


def _set(inside: Tokens, read: Read) -> Answer:
    if not inside:
        return Listing(())
    bar = next((i for i, t in enumerate(inside) if t.text in ("|", ":")), 0)
    if bar:
        return _builder(inside[:bar], read(inside[bar + 1 :]))
    found = read(inside)
    # A set whose one element is a set is not that set.
    several = isinstance(found, Listing) and not enclosed(inside) and found.items
    return Listing(found.items) if isinstance(found, Listing) and several else Listing((found,))


def _builder(left: Tokens, condition: Answer) -> Answer:
    """``\\{x : x > 1\\}`` is what the condition says of x; Unreadable where x is not any real number."""
    real = len(left) == 1 or spelling(left[1:]) in (r"\in \mathbb R", r"\in R")
    if isinstance(condition, Interval) and condition.variable == left[0].text and real:
        return Interval(condition.region)
    raise Unreadable
