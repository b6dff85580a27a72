"""Sets of real numbers as unions of intervals, with their algebra: ``x>3`` or ``x<1`` is ℝ without [1, 3]."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.reward.grading.evaluate import INFINITY, close, infinite, less

#: An end of an interval: a fraction, a number of 60 digits, or ±∞.
End = Any


@dataclass(frozen=True, slots=True)
class Span:
    """From ``low`` to ``high``, ends included or not; a point where both are the same and included."""

    low: End
    closed_low: bool
    high: End
    closed_high: bool

    def empty(self) -> bool:
        """Whether no number is in it."""
        return less(self.high, self.low) or (close(self.low, self.high) and not (self.closed_low and self.closed_high))


@dataclass(frozen=True, slots=True)
class Region:
    """A union of spans, sorted, none of which touch."""

    spans: tuple[Span, ...]

    def union(self, other: Region) -> Region:
        """Numbers in either."""
        return region([*self.spans, *other.spans])

    def intersection(self, other: Region) -> Region:
        """Numbers in both."""
        return region([_meet(a, b) for a in self.spans for b in other.spans])

    def without(self, other: Region) -> Region:
        """Numbers in this one only."""
        rest = self
        for span in other.spans:
            left = Span(-INFINITY, False, span.low, not span.closed_low)
            right = Span(span.high, not span.closed_high, INFINITY, False)
            rest = rest.intersection(region([left, right]))
        return rest

    def same(self, other: Region) -> bool:
        """Equality of the sets."""
        return len(self.spans) == len(other.spans) and all(
            close(a.low, b.low) and close(a.high, b.high) and a.closed_low == b.closed_low and a.closed_high == b.closed_high
            for a, b in zip(self.spans, other.spans, strict=True)
        )


def region(spans: list[Span]) -> Region:
    """The union of spans: empty ones dropped, those that touch joined."""
    merged: list[Span] = []
    for span in sorted((s for s in spans if not s.empty()), key=_Low):
        last = merged[-1] if merged else None
        if last is not None and not less(last.high, span.low) and (not close(last.high, span.low) or last.closed_high or span.closed_low):
            merged[-1] = _joined(last, span)
        else:
            merged.append(span)
    return Region(tuple(Span(s.low, s.closed_low and not infinite(s.low), s.high, s.closed_high and not infinite(s.high)) for s in merged))


def reals() -> Region:
    """ℝ."""
    return Region((Span(-INFINITY, False, INFINITY, False),))


def ray(operator: str, end: End) -> Region:
    """The numbers that are ``<``, ``<=``, ``>``, ``>=`` or ``!=`` an end."""
    closed = operator.endswith("=")
    if operator == "!=":
        return reals().without(region([Span(end, True, end, True)]))
    low = operator.startswith(">")
    return region([Span(end, closed, INFINITY, False) if low else Span(-INFINITY, False, end, closed)])


class _Low:
    """Order by the lower end, included ones first."""

    def __init__(self, span: Span) -> None:
        self.span = span

    def __lt__(self, other: _Low) -> bool:
        if close(self.span.low, other.span.low):
            return self.span.closed_low and not other.span.closed_low
        return less(self.span.low, other.span.low)


def _joined(a: Span, b: Span) -> Span:
    if close(a.high, b.high):
        return Span(a.low, a.closed_low, a.high, a.closed_high or b.closed_high)
    return Span(a.low, a.closed_low, b.high, b.closed_high) if less(a.high, b.high) else a


def _meet(a: Span, b: Span) -> Span:
    if close(a.low, b.low):
        low, closed_low = a.low, a.closed_low and b.closed_low
    else:
        low, closed_low = (b.low, b.closed_low) if less(a.low, b.low) else (a.low, a.closed_low)
    if close(a.high, b.high):
        high, closed_high = a.high, a.closed_high and b.closed_high
    else:
        high, closed_high = (a.high, a.closed_high) if less(a.high, b.high) else (b.high, b.closed_high)
    return Span(low, closed_low, high, closed_high)
