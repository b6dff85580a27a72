"""A chapter of the findings, and how tables, arms and verdicts are written in it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from matplotlib.figure import Figure

from benchmarks.course.course import Course
from harness.stats import SpeedUp, TokenPrices
from reports import words
from reports.arms import SECONDS, Arm, Combination
from reports.page.parts import Table

#: Verdicts of an arm at a price; ``missed``: no run of it reached the target, whatever the ratio.
FASTER, SLOWER, UNDECIDED, MISSED = "faster", "slower", "undecided", "missed"


@dataclass(slots=True)
class Chapter:
    """blocks: paragraphs and tables in Markdown. figures: (name of the file, what it shows, figure)."""

    title: str
    blocks: list[str] = field(default_factory=list)
    figures: list[tuple[str, str, Figure]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Place:
    """One arm, or the baseline, where it was measured."""

    course: Course
    combination: Combination
    arm: Arm

    @property
    def where(self) -> str:
        return where_of(self.course, self.combination.name)

    def at(self, ledger: str) -> SpeedUp | None:
        """The ratio on a ledger, None where nothing was compared; seconds of a simulated course are no cost of anything."""
        found = None if self.course.simulated and ledger == SECONDS else self.arm.speed_ups.get(ledger)
        return found if found is not None and found.n else None


def where_of(course: Course, combination: str) -> str:
    """Course and combination; a simulated one says so wherever it stands."""
    return f"{course.name} / {combination}" + (" (simulated)" if course.simulated else "")


def combinations(courses: Iterable[Course]) -> Iterator[tuple[Course, Combination]]:
    """Every combination with a baseline, in the order of the courses."""
    for course in courses:
        yield from ((course, c) for c in course.analysis.combinations if c.baseline is not None)


def compared(courses: Iterable[Course]) -> list[Place]:
    """Every arm that was compared with the baseline of its combination."""
    return [Place(course, c, a) for course, c in combinations(courses) for a in c.arms if not a.is_baseline and a.speed_ups]


def ledgers(courses: Sequence[Course]) -> list[tuple[str, str]]:
    """(ledger, words) that arms are compared on: measured seconds and every price that all courses have."""
    prices: list[TokenPrices] = [p for p in courses[0].analysis.prices if all(p in c.analysis.prices for c in courses)] if courses else []
    return [(SECONDS, "measured seconds"), *((p.ledger, p.label) for p in prices)]


def verdict(place: Place, ledger: str) -> str | None:
    """By the rule of the report; None where the arm was not compared on that ledger."""
    found = place.at(ledger)
    if found is None:
        return None
    if not place.arm.reached:
        return MISSED
    return found.verdict if found.verdict in (FASTER, SLOWER) else UNDECIDED


def ratio(found: SpeedUp | None, *, bold: bool = True) -> str:
    """``1.31× [1.12, 1.50]``, bold where the verdict is one (unless ``bold`` is off); a dash where nothing was compared."""
    if found is None or not found.n:
        return words.NO_VALUE
    text = f"{words.speed_up(found)} {words.interval(found)}"
    return f"**{text}**" if bold and found.verdict in (FASTER, SLOWER) else text


def label(arm: Arm) -> str:
    """The arm's name, marked where it is an upper bound."""
    return f"`{arm.strategy}`" + (" (upper bound)" if arm.oracle else "")


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; bars in cells are escaped."""
    lines = [list(heads), ["---"] * len(heads), *map(list, rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markdown_of(table: Table) -> str:
    """A table of the report's page."""
    return markdown([text for text, _ in table.heads], ([cell.text for cell in row] for row in table.rows))


def listed(names: Sequence[str]) -> str:
    """``a, b and c``."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}" if names else "none"


def bold_note() -> str:
    """What every table of ratios means."""
    return (
        "Ratios are costs of the baseline over costs of the arm to the same target, median over paired seeds with its 95 % interval; above "
        "1 the arm is cheaper. Bold: five pairs or more and an interval without 1."
    )
