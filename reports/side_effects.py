"""What an arm may damage while it is faster: accuracy elsewhere, easy questions, variety, length; against the baseline on equal seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.stats import LEAST_PAIRS, Band, paired_difference
from reports.arms import Arm, Combination
from reports.condensed import Run

#: Steps at each end of a run over which the length of training completions is averaged.
STEPS_READ = 5

#: Least change that is called damage: of a share (accuracy, truncated) in absolute terms, of length and entropy relative to the baseline.
LEAST_SHARE, LEAST_RELATIVE = 0.01, 0.1

#: Fewer easy questions than so many per run say nothing.
LEAST_EASY = 10

Value = Callable[[Run], float | None]


@dataclass(frozen=True, slots=True)
class Measure:
    """One thing that may suffer. worse: the sign of a change for the worse. share: a value in [0, 1]; otherwise a length or nats.

    start: the value at the beginning of a run, None where only the end is compared.
    """

    name: str
    end: Value
    worse: int
    share: bool
    start: Value | None = None


@dataclass(frozen=True, slots=True)
class Difference:
    """Of an arm to the baseline on n equal seeds, complete runs; middle: the baseline's median."""

    measure: Measure
    band: Band
    n: int
    middle: float

    @property
    def damage(self) -> bool:
        """For the worse, by more than ``LEAST_SHARE`` or ``LEAST_RELATIVE``, with five pairs and a 95 % interval that excludes 0."""
        low, high = self.band.low, self.band.high
        if self.n < LEAST_PAIRS or low is None or high is None:
            return False
        surely = low > 0 if self.measure.worse > 0 else high < 0
        least = LEAST_SHARE if self.measure.share else LEAST_RELATIVE * abs(self.middle)
        return surely and abs(self.band.value) >= least


def measures_of(combination: Combination) -> list[Measure]:
    """What the runs of a combination recorded, lengths first, then accuracies."""
    runs = [r for a in combination.arms for r in a.runs if r.state == "complete"]
    found = [_length(runs)]
    if _all_have(runs, "truncated"):
        found.append(Measure("truncated completions", _last("truncated"), 1, share=True, start=_first("truncated")))
    if _all_have(runs, "entropy"):
        found.append(Measure("entropy, nats per token", _last("entropy"), -1, share=False, start=_first("entropy")))
    deciding = {name for r in runs for name in r.spec.get("evaluation", {}).get("sets", [])}
    for name in dict.fromkeys(name for r in runs for name in r.final_accuracies):
        aside = "" if name in deciding else " (does not decide)"
        found.append(Measure(f"final accuracy on {name}{aside}", _accuracy(name), -1, share=True))
    samples = {r.evaluations.samples for r in runs if r.evaluations.pass_at_k is not None}
    if samples:
        found.append(Measure(f"pass@{max(samples)}", _pass_at_k, -1, share=True))
    easy = [r.evaluations.easy_questions for r in runs if r.evaluations.easy_accuracy is not None]
    if easy and min(easy) >= LEAST_EASY:
        found.append(
            Measure(f"on easy questions (about {float(np.median(easy)):.0f})", lambda r: r.evaluations.easy_accuracy, -1, share=True)
        )
    return found


def values_of(arm: Arm, value: Value) -> dict[int, float]:
    """By seed, of complete runs that have it."""
    found = {r.seed: value(r) for r in arm.runs if r.state == "complete"}
    return {seed: v for seed, v in found.items() if v is not None and np.isfinite(v)}


def difference(arm: Arm, base: Arm, measure: Measure) -> Difference:
    """The arm's end value less the baseline's, seed by seed."""
    own, others = values_of(arm, measure.end), values_of(base, measure.end)
    seeds = sorted(own.keys() & others.keys())
    middle = float(np.median(list(others.values()))) if others else float("nan")
    return Difference(measure, paired_difference(np.array([own[s] - others[s] for s in seeds])), len(seeds), middle)


def damages(arm: Arm, base: Arm | None, measures: Sequence[Measure]) -> list[Difference]:
    """What of an arm is surely worse than of the baseline."""
    if base is None or arm.is_baseline:
        return []
    return [found for measure in measures if (found := difference(arm, base, measure)).damage]


def _length(runs: Sequence[Run]) -> Measure:
    """On evaluation questions, the same for every arm, where it was recorded; else of the completions that were trained on."""
    if _all_have(runs, "tokens"):
        return Measure("tokens per completion", _last("tokens"), 1, share=False, start=_first("tokens"))
    return Measure("tokens per training completion", _trained(slice(-STEPS_READ, None)), 1, share=False, start=_trained(slice(STEPS_READ)))


def _trained(part: slice) -> Value:
    def value(run: Run) -> float | None:
        lengths = run.steps["mean_completion_tokens"]
        return float(lengths[part].mean()) if len(lengths) else None

    return value


def _all_have(runs: Sequence[Run], key: str) -> bool:
    return bool(runs) and all(key in r.evaluations.completions for r in runs)


def _last(key: str) -> Value:
    return lambda run: float(run.evaluations.completions[key][-1]) if key in run.evaluations.completions else None


def _first(key: str) -> Value:
    return lambda run: float(run.evaluations.completions[key][0]) if key in run.evaluations.completions else None


def _accuracy(name: str) -> Value:
    return lambda run: run.final_accuracies.get(name)


def _pass_at_k(run: Run) -> float | None:
    values = run.evaluations.pass_at_k
    return None if values is None else float(values[-1])
