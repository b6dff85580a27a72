"""A run that has spent its budget, or whose command has, stops at its next checkpoint, so that going on loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.records.learning_watch import LearningWatch
from harness.records.ledger import LedgerWriter
from harness.records.run_folder import STOP_NAME
from harness.spec import BudgetSpec


class BudgetReached(BaseException):
    """Unwinds the backend. No ``Exception``: nothing in between may swallow it."""


class RunLedger(LedgerWriter):
    """The ledger of a run in progress: knows the last step, and stops the run at a checkpoint beyond its budget or on request."""

    def __init__(self, path: Path, budget: BudgetSpec, max_steps: int) -> None:
        super().__init__(path)
        self.step = 0
        self._budget, self._max_steps = budget, max_steps
        self._over = False
        self._learning = LearningWatch()
        self._stop = path.with_name(STOP_NAME)

    def write(self, type_: str, record: Any = None, **fields: Any) -> None:
        """Append one record; raises BudgetReached after the first checkpoint past the budget or a request to stop."""
        super().write(type_, record, **fields)
        if type_ in ("step", "evaluation"):
            self.step = max(self.step, int(record.step if record is not None else fields["step"]))
            costs = record.costs.to_json() if record is not None else fields["costs"]
            self._over = self._over or self._budget.reached(costs)
        if type_ == "step" and record is not None and (message := self._learning.warning(record)):
            super().write("warning", message=message)
        if type_ == "checkpoint" and self.step < self._max_steps and (self._over or self._stop.exists()):
            raise BudgetReached
