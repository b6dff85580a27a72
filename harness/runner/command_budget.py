"""What one command may spend in all (``--budget``): wall time, generated tokens, or both.

When it is spent no run is started any more, and those that are going end at their next checkpoint.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from harness.display.durations import duration
from harness.errors import UserError
from harness.records.ledger_records import Attempt, Record
from harness.types import EvalPoint, StepRecord

_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SIZES = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}
_TIME = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d)")
_TOKENS = re.compile(r"(\d+(?:\.\d+)?)([kMG]?) ?tokens?")


@dataclass(frozen=True, slots=True)
class Allowance:
    """Limits of a command; None for no limit."""

    seconds: float | None = None
    tokens: int | None = None

    @classmethod
    def parse(cls, words: Sequence[str]) -> Allowance:
        """From the command line: ``2h``, ``90min``, ``1.5d``, ``20Mtokens``; one of each kind at most. Raises UserError."""
        seconds: float | None = None
        tokens: int | None = None
        for word in words:
            if (found := _TIME.fullmatch(word)) and seconds is None and float(found[1]) > 0:
                seconds = float(found[1]) * _UNITS[found[2]]
            elif (found := _TOKENS.fullmatch(word)) and tokens is None and float(found[1]) > 0:
                tokens = round(float(found[1]) * _SIZES[found[2]])
            else:
                raise UserError(f"--budget {word}: write a time (90min, 2h, 1.5d) or tokens (500ktokens, 20Mtokens), at most one of each")
        return cls(seconds, tokens)


class Spending:
    """What the command has spent so far. Time is monotonic: a wall clock that jumps spends nothing."""

    def __init__(self, allowance: Allowance, now: Callable[[], float] = time.monotonic) -> None:
        self._allowance, self._now, self._start = allowance, now, now()
        self.tokens = 0
        self._seen: dict[str, dict[int, int]] = {}
        self._last: dict[str, int | None] = {}

    def record(self, run_id: str, record: Record) -> None:
        """Count the tokens of a ledger record; steps done again after a crash are paid again."""
        if isinstance(record, Attempt):
            step = record.resumed_from
            self._last[run_id] = self._seen.get(run_id, {}).get(step) if step else 0
        elif isinstance(record, (StepRecord, EvalPoint)):
            total = record.costs.generated_tokens
            last = self._last.get(run_id)
            # A run that an earlier command began is counted from the first record that this one sees.
            self.tokens += max(0, total - last) if last is not None else 0
            self._last[run_id] = total
            self._seen.setdefault(run_id, {})[record.step] = total

    def spent(self) -> str | None:
        """Which limit is reached, as a clause; None while there is something left."""
        allowance = self._allowance
        if allowance.seconds is not None and self._now() - self._start >= allowance.seconds:
            return f"the budget of {duration(allowance.seconds)} is spent"
        if allowance.tokens is not None and self.tokens >= allowance.tokens:
            return f"the budget of {allowance.tokens:,} tokens is spent"
        return None
