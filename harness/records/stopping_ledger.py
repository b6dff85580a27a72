"""The ledger of a run in progress, which decides at checkpoints whether the run goes on.

A run that has spent its budget, or that was asked to end, ends at its next checkpoint, so that going on later loses nothing.
"""

from __future__ import annotations

import time
from pathlib import Path

from harness.records.learning_watch import LearningWatch
from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Record, Warned
from harness.records.run_folder import STOP_NAME
from harness.spec import BudgetSpec
from harness.types import EvalPoint, StepRecord


class RunLedger(LedgerWriter):
    """Knows the last step, and what has been spent."""

    def __init__(self, path: Path, budget: BudgetSpec, max_steps: int) -> None:
        super().__init__(path)
        self.step = 0
        self.first_at: float | None = None  # time.monotonic() of this attempt's first step or evaluation
        self._budget, self._max_steps = budget, max_steps
        self._spent = False
        self._learning = LearningWatch()
        self._stop = path.with_name(STOP_NAME)

    def write(self, record: Record) -> None:
        """Append one record; see :meth:`LedgerWriter.write`."""
        super().write(record)
        if isinstance(record, (StepRecord, EvalPoint)):
            self.first_at = self.first_at or time.monotonic()
            self.step = max(self.step, record.step)
            self._spent = self._spent or self._budget.reached(record.costs)
        if isinstance(record, StepRecord) and (message := self._learning.warning(record)):
            super().write(Warned(message))

    def write_checkpoint(self, step: int) -> bool:
        """Record a complete checkpoint. True if training must end here, short of its last step.

        That is so when the run's budget is spent, or when a file named ``stop`` lies in its folder.
        """
        super().write_checkpoint(step)
        self.stopped = self.step < self._max_steps and (self._spent or self._stop.exists())
        return self.stopped
