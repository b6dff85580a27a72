"""From ledgers to the folder of a report in one call, over the path that the command line takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from harness.records.ledger import RunLog
from reports.analysis import analyse
from reports.condensed import Run, condense
from reports.page.build import write_report


def build_report(
    logs: Iterable[RunLog | Run],
    out: Path,
    *,
    title: str,
    baseline: str,
    target: Mapping[str, Any],
    expected: Iterable[tuple[str, str, int]] = (),
    **page: Any,
) -> Path:
    """Condense, analyse and write; ``page`` goes to :func:`reports.page.build.write_report`. Returns the path of ``index.html``."""
    runs = [log if isinstance(log, Run) else condense(log) for log in logs]
    return write_report(analyse(runs, baseline=baseline, target=target, expected=expected), out, title=title, **page)
