"""How far each combination is and when it will be done, judged by the pace of the runs so far. Monotonic time only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from harness.display.durations import duration
from harness.records.ledger_records import Attempt, Record, step_of
from harness.records.run_folder import DONE, RunStatus
from harness.spec import RunSpec

Arm = tuple[str, str]
Pace = tuple[float, int]
"""(seconds, steps) that attempts took so far."""


class Tally:
    """Follows the steps of all runs; ``parallel`` of them go at a time, combination after combination."""

    def __init__(
        self, runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus], parallel: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now, self._parallel = now, max(1, parallel)
        self._arm: dict[str, Arm] = {run.run_id: (run.combination.name, run.strategy.label) for run in runs}
        self._total = {run.run_id: run.algorithm.max_steps for run in runs}
        self._state: dict[str, str] = {key: statuses[key].state for key in self._arm}
        self._step = {key: statuses[key].step for key in self._arm}
        self._since: dict[str, tuple[float, int]] = {}  # run id -> (when its attempt started, its step then)
        self._going: dict[str, Pace] = {}
        self._paid: dict[Arm, Pace] = {}

    @property
    def combinations(self) -> list[str]:
        """In the order in which they run."""
        return list(dict.fromkeys(combination for combination, _ in self._arm.values()))

    def started(self, run_id: str, step: int) -> None:
        """A worker was started."""
        self._since[run_id], self._step[run_id], self._state[run_id] = (self._now(), step), step, "running"

    def recorded(self, run_id: str, record: Record) -> None:
        """A worker appended a record to its ledger."""
        step = step_of(record)
        if step is None:
            return
        self._step[run_id] = step
        start, first = self._since.get(run_id, (self._now(), step))
        if isinstance(record, Attempt):
            self._since[run_id] = (start, step)
        elif step > first:
            self._going[run_id] = (self._now() - start, step - first)

    def ended(self, run_id: str, state: str) -> None:
        """A run is done, failed or stopped."""
        self._state[run_id] = state
        self._since.pop(run_id, None)
        seconds, steps = self._going.pop(run_id, (0.0, 0))
        before = self._paid.get(self._arm[run_id], (0.0, 0))
        self._paid[self._arm[run_id]] = (before[0] + seconds, before[1] + steps)

    def counts(self, combination: str) -> tuple[int, int]:
        """(runs done, runs) of a combination."""
        states = [state for key, state in self._state.items() if self._arm[key][0] == combination]
        return sum(state in DONE for state in states), len(states)

    def steps(self, combination: str) -> tuple[int, int]:
        """(steps done, steps) of a combination."""
        keys = [key for key in self._arm if self._arm[key][0] == combination]
        return sum(self._total[key] - self._left(key) for key in keys), sum(self._total[key] for key in keys)

    def words(self, combination: str) -> str:
        """One line: how far, and how long still."""
        done, count = self.counts(combination)
        left = self.seconds_left(combination)
        return f"{combination}: {done} of {count} runs done" + (f", about {duration(left)} left" if left and left >= 1 else "")

    def seconds_left(self, combination: str) -> float | None:
        """Seconds until the last run of the combination ends; None while nothing is known of a pace that matters."""
        work, longest = 0.0, 0.0
        paces = self._paces()
        earlier = self.combinations[: self.combinations.index(combination) + 1]
        for key, arm in self._arm.items():
            left = self._left(key)
            if arm[0] not in earlier or not left:
                continue
            seconds, steps = paces.get(arm) or paces.get((arm[0], "")) or (0.0, 0)
            if not steps:
                return None
            work += left * seconds / steps
            longest = max(longest, left * seconds / steps) if arm[0] == combination else longest
        return max(work / self._parallel, longest)

    def _left(self, run_id: str) -> int:
        if self._state[run_id] in DONE or self._state[run_id] == "failed":
            return 0
        return max(0, self._total[run_id] - self._step[run_id])

    def _paces(self) -> dict[Arm, Pace]:
        """By arm, and under the empty label of all arms of a combination."""
        paces: dict[Arm, Pace] = {}
        for arm, (seconds, steps) in [*self._paid.items(), *((self._arm[run], pace) for run, pace in self._going.items())]:
            for key in (arm, (arm[0], "")):
                before = paces.get(key, (0.0, 0))
                if steps:
                    paces[key] = (before[0] + seconds, before[1] + steps)
        return paces
