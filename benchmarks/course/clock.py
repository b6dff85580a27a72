"""How long a course took, from the times of its files: ledgers hold durations, no times of day."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.records.ledger import LEDGER_NAME, LedgerError, read_ledger
from harness.types import Costs


@dataclass(frozen=True, slots=True)
class Duration:
    """runs: how many. wall_seconds: first start to last end. busy_seconds: of these, while at least one run was between its start and its
    end. processor_seconds: of training on the clock, evaluations and start-up left out, over all runs.
    """

    runs: int
    wall_seconds: float
    busy_seconds: float
    processor_seconds: float

    def to_json(self) -> dict[str, Any]:
        return {k: round(v, 1) if isinstance(v, float) else v for k, v in asdict(self).items()}


def duration(folders: Iterable[Path]) -> Duration | None:
    """Of the runs in these folders; None where no folder still says when its run began."""
    spans, processor = [], 0.0
    for folder in folders:
        starts = [p.stat().st_mtime for p in folder.glob("attempts/*/env.json")]
        if starts:
            spans.append((min(starts), (folder / LEDGER_NAME).stat().st_mtime))
            processor += _processor_seconds(folder / LEDGER_NAME)
    if not spans:
        return None
    return Duration(len(spans), max(e for _, e in spans) - min(s for s, _ in spans), covered(spans), processor)


def covered(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of (start, end) intervals."""
    total, until = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def _processor_seconds(ledger: Path) -> float:
    try:
        log = read_ledger(ledger)
    except LedgerError:
        return 0.0
    costs = max((r.costs for r in (*log.steps[-1:], *log.evaluations[-1:])), key=lambda c: c.cpu_seconds, default=Costs())
    return costs.cpu_seconds
