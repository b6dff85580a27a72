"""Which runs a report is made of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from harness.ledger import LedgerError, RunLog, read_ledger
from harness.runs import run_paths, run_status
from harness.spec import RunSpec


def finished_runs(runs: Sequence[RunSpec], runs_dir: Path) -> list[RunSpec]:
    """The runs that say something about their strategy.

    That is a run that is done, and one that failed in training itself (a NaN loss): it never reaches the target and must
    count as a miss, not vanish. A run that was interrupted, killed or is still going says nothing yet.
    """
    return [spec for spec in runs if run_status(run_paths(runs_dir, spec), spec).is_result]


def logs_of(runs: Sequence[RunSpec], runs_dir: Path, unreadable: list[str]) -> Iterator[RunLog]:
    """Their ledgers, one at a time, under today's labels and targets; what cannot be read is put into ``unreadable``, in words."""
    for spec in runs:
        try:
            log = read_ledger(run_paths(runs_dir, spec).ledger)
        except LedgerError as error:
            unreadable.append(str(error))
            continue
        log.spec = spec.model_dump(mode="json")  # the record holds what the execution fields were when the run began
        yield log
