"""What an answer can be. All are immutable; :mod:`.compare` says when two of them are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from harness.reward.grading.expressions import Expr
from harness.reward.grading.regions import Region
from harness.reward.grading.tokens import Tokens
from harness.reward.grading.units import Unit


@dataclass(frozen=True, slots=True)
class Value:
    """A number or a formula, with its unit if it has one. digits: significant digits if it is written as a decimal, else 0.

    compound: made of several units (``2 hours 30 minutes``), so that it says nothing without them.
    """

    expression: Expr
    unit: Unit | None = None
    percent: bool = False
    compound: bool = False
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words, in lower case, without articles and punctuation."""

    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Opaque:
    """What no rule reads: equal to its own spelling only."""

    spelling: str


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers, or a finite set; their order does not matter. joiner: ``and``, ``or`` or empty (commas)."""

    items: tuple[Answer, ...]
    joiner: str = ""


@dataclass(frozen=True, slots=True)
class Tuple:
    """A point, a vector, or an interval with two ends: brackets and entries in order."""

    opening: str
    closing: str
    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Interval:
    """A set of real numbers; variable: the letter it is a condition on, if it was written as one."""

    region: Region
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Named:
    """``name = answer``."""

    name: str
    answer: Answer


@dataclass(frozen=True, slots=True)
class Equation:
    """``left = right``; equal to another one if the differences of their sides are proportional."""

    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Inequality:
    """``left < right`` (or ``<=``, written the other way round if need be) that is no interval of one letter."""

    operator: str
    left: Expr
    right: Expr


@dataclass(frozen=True, slots=True)
class Ratio:
    """``a : b : …``"""

    parts: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Clock:
    """A time of day, ``9:30``; a ratio only where the other side can be nothing else."""

    hours: int
    minutes: int


@dataclass(frozen=True, slots=True)
class Numeral:
    """Digits in a base that is not ten: the notation is the answer, so only the same notation is equal."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Congruence:
    """``residues modulo modulus``, each residue reduced."""

    residues: frozenset[Fraction]
    modulus: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of entries. A matrix with one row or column is also a vector."""

    rows: tuple[tuple[Answer, ...], ...]


Answer = Value | Words | Opaque | Listing | Tuple | Interval | Named | Equation | Inequality | Ratio | Clock | Numeral | Congruence | Matrix
#: What readers of one kind use for the parts of an answer.
Read = Callable[[Tokens], Answer]
