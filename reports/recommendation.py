"""Which arm to try first on a suite, from the committed results of whole courses: those of the course whose start is most like its own.

``data/courses.csv`` has one row per course, combination, charged arm and price of a generated token; ``benchmarks/courses.py pack``
writes it from the archives of measured courses.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib import resources
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.stats import TokenPrices
from reports import words

NAME = "courses.csv"

#: Prices that the table has rows for; between them the nearest on a log scale is used.
TABLE_PRICES = (1 / 3, 0.5, 1.0, 2.0, 5.0, 10.0)

#: The shares of groups that a start is compared on.
SHARES = ("all_wrong", "all_right", "informative")

#: Largest difference of a share at which two starts count as alike: the width of the band of all-right groups in real training.
NEAR = 0.15


@dataclass(frozen=True, slots=True)
class CourseRow:
    """One arm of a committed course at one price.

    Shares are of groups of ``group_size`` at the start. at_least, at_most: bounds of the ratio of costs, baseline over arm, equal where
    it is known exactly; low, high: its interval, NaN without one. headroom_shown: whether an oracle showed that selection can gain
    something there; headroom: its ratio in generated tokens, NaN where it is not known.
    """

    course: str
    combination: str
    group_size: int
    mean_pass_rate: float
    all_wrong: float
    all_right: float
    informative: float
    headroom: float
    headroom_low: float
    headroom_high: float
    headroom_shown: bool
    arm: str
    baseline: str
    n: int
    reached: int
    price: float
    at_least: float
    at_most: float
    low: float
    high: float
    verdict: str

    @property
    def where(self) -> str:
        """Course and combination."""
        return f"{self.course}/{self.combination}"

    @property
    def ratio(self) -> str:
        """``1.31× [1.12, 1.50], n = 5``."""
        exact = math.isclose(self.at_least, self.at_most)
        shown = words.factor(self.at_least) if exact else f"{words.factor(self.at_least)} to {words.factor(self.at_most)}"
        interval = "no interval" if math.isnan(self.low) else f"[{self.low:.2f}, {'∞' if math.isinf(self.high) else f'{self.high:.2f}'}]"
        return f"{shown} {interval}, n = {self.n}"


@dataclass(frozen=True, slots=True)
class Recommendation:
    """arm: the row of the arm to try first, None for plain GRPO. nearest: the course that is most like the start; distance: its largest
    difference of a share. compared: every arm there at ``price``, the one of the table that is nearest to what was asked. elsewhere: the
    arm's rows on other courses that are near.
    """

    arm: CourseRow | None
    nearest: CourseRow
    distance: float
    price: float
    compared: tuple[CourseRow, ...]
    elsewhere: tuple[CourseRow, ...]

    @property
    def near(self) -> bool:
        """Whether the nearest course is near enough to say anything."""
        return self.distance <= NEAR


def committed_rows(path: Path | None = None) -> list[CourseRow]:
    """The rows of a table, by default the packaged one; none where it is absent or empty.

    Raises UserError for a file that cannot be read or a line that is no row of this table.
    """
    if path is None:
        packaged = resources.files("reports") / "data" / NAME
        text, name = (packaged.read_text(encoding="utf-8") if packaged.is_file() else ""), NAME
    else:
        try:
            text, name = path.read_text(encoding="utf-8-sig"), str(path)
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    reader = csv.DictReader(io.StringIO(text))
    absent = [f.name for f in fields(CourseRow) if f.name not in (reader.fieldnames or ())]
    if reader.fieldnames and absent:
        raise UserError(f"{name}, line 1: no column {absent[0]!r}; write the table again with 'benchmarks/courses.py table'")
    return [_row(cells, name, reader.line_num) for cells in reader]


def _row(cells: Mapping[str, str], name: str, line: int) -> CourseRow:
    found: dict[str, Any] = {}
    for f in fields(CourseRow):
        cell = cells[f.name]
        try:
            found[f.name] = _READ[str(f.type)](cell)
        except (TypeError, ValueError, KeyError) as error:
            raise UserError(
                f"{name}, line {line}: {f.name} is {cell!r}; write the table again with 'benchmarks/courses.py table'"
            ) from error
    return CourseRow(**found)


_READ: dict[str, Any] = {
    "str": str, "int": int, "float": lambda cell: float(cell) if cell else math.nan, "bool": {"True": True, "False": False}.__getitem__,
}  # fmt: skip


def distance(start: Mapping[str, float], row: CourseRow) -> float:
    """Largest difference of the shares of all-wrong, all-right and informative groups."""
    return max(abs(start[name] - float(getattr(row, name))) for name in SHARES)


def recommend(start: Mapping[str, float], rows: Sequence[CourseRow], price: float) -> Recommendation:
    """What to try first from a start (``SHARES`` of its groups) at a price of a generated token, in trained tokens.

    On the nearest course, of the arms whose interval lies above 1 the one with the greatest lower end. Of courses that are near alike, to
    the two digits that shares of some hundred groups have, the one that compared the most arms. Raises UserError for a price that is no
    positive number, ValueError without rows.
    """
    if not rows:
        raise ValueError("no rows to recommend from")
    if not (math.isfinite(price) and price > 0):
        raise UserError(f"the price of a generated token is {price:g}; it must be a number above 0")
    arms = Counter(where for where, _ in {(r.where, r.arm) for r in rows})
    nearest = min(rows, key=lambda r: (round(distance(start, r), 2), -arms[r.where], r.where))
    here = [r for r in rows if r.where == nearest.where]
    used = min({r.price for r in here}, key=lambda p: (abs(math.log(p / price)), p))
    compared = tuple(sorted((r for r in here if r.price == used), key=lambda r: (-r.at_least, r.arm)))
    away = distance(start, nearest)
    faster = [r for r in compared if r.verdict == "faster" and r.low > 1]
    arm = max(faster, key=lambda r: (r.low, r.arm)) if faster and away <= NEAR else None
    elsewhere = tuple(
        r for r in rows if arm is not None and r.arm == arm.arm and r.price == used and r.where != arm.where and distance(start, r) <= NEAR
    )
    return Recommendation(arm, nearest, away, used, compared, elsewhere)


def sentences(found: Recommendation, name: str, start: Mapping[str, float], price: float) -> list[str]:
    """The recommendation for the combination ``name`` in words, the answer first."""
    row, label = found.nearest, TokenPrices(found.price).label
    shares = "all wrong {all_wrong:.2f}, all right {all_right:.2f}, informative {informative:.2f}"
    theirs = shares.format(**{k: getattr(row, k) for k in SHARES})
    regime = (
        f"{name} starts with {shares.format(**start)}; the nearest committed course is {row.where} ({theirs}, groups of {row.group_size})"
    )
    if not found.near:
        return [
            f"{name}: no recommendation; use plain {row.baseline}. No committed course is near enough.",
            f"{regime}, whose shares differ by up to {found.distance:.2f} (near: {NEAR} at most).",
        ]
    asked = "" if math.isclose(found.price, price, rel_tol=1e-2) else f", the price of the table nearest to {price:g}"
    if found.arm is None:
        return [
            f"{name}: no recommendation; use plain {row.baseline}. No arm on the nearest course has an interval above 1 at {label}{asked}.",
            f"{regime}.",
            *_uncertain(found),
        ]
    arm = found.arm
    return [
        f"{name}: try {arm.arm} first: {arm.ratio} over {arm.baseline} at {label}{asked}, reached by {arm.reached} runs.",
        f"{regime}.",
        *_uncertain(found),
    ]


def _uncertain(found: Recommendation) -> list[str]:
    """What keeps the answer from being sure."""
    row, said = found.nearest, []
    if len(found.compared) > 1 and found.arm is not None:
        said.append(f"It is the best of {len(found.compared)} arms there, and the best of several tends to be overestimated.")
    if not row.headroom_shown:
        known = "is not known" if math.isnan(row.headroom) else f"was {words.factor(row.headroom)}"
        said.append(f"That course did not show what selection is worth: the headroom of an oracle {known}.")
    if found.arm is not None:
        verdicts = [r.verdict for r in found.elsewhere]
        counts = ", ".join(f"{v} on {verdicts.count(v)}" for v in sorted(set(verdicts)))
        said.append(f"On {len(verdicts)} other near courses: {counts}." if verdicts else "No other committed course with this arm is near.")
    said.append("Committed courses are miniatures; ranks need not transfer, so compare it with the baseline on your own suite.")
    return said
