"""What a person sees of the whole while studies go on: one line per round with a bar, the rate and the time left."""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.display.durations import duration
from harness.tuning.sampler import Trial
from harness.tuning.tuner import TuningState

BAR = 20


class Rounds:
    """Follows the trials that are judged; the rate is that of this command, not of what was on disk when it began."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._start = now, now()
        self._first: int | None = None
        self._seen: dict[str, int] = {}

    def lines(self, state: TuningState) -> list[str]:
        """What to say before the next round: trials judged since the last one, and how far the whole is."""
        found = []
        for study, progress in state.progress:
            known = self._seen.get(study.name, len(progress.trials) if self._first is None else 0)
            self._seen[study.name] = len(progress.trials)
            found += [f"{study.name}: {trial_words(trial, progress.best)}" for trial in progress.trials[known:]]
        if self._first is None:
            self._first = state.judged
        return [*found, self._overall(state)]

    def _overall(self, state: TuningState) -> str:
        total = state.trials * len(state.progress)
        filled = BAR * state.judged // total
        new, seconds = state.judged - (self._first or 0), self._now() - self._start
        words = f"[{'#' * filled}{'.' * (BAR - filled)}] {state.judged} of {total} trials"
        if new > 0 and seconds > 0:
            words += f", {60 * new / seconds:.1f} trials/min, {duration((total - state.judged) * seconds / new)} left"
        return words


def trial_words(trial: Trial, best: Trial | None) -> str:
    """One trial for one line."""
    point = ", ".join(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.point.items())
    mark = "pruned half-way" if trial.state == "pruned" else f"objective {trial.value:.3f}"
    better = f" (best: trial {best.number}, {best.value:.3f})" if best is not None and best.number != trial.number else " (best)"
    return f"trial {trial.number}: {mark}{better}; {point}"
