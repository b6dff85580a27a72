"""What evaluations will cost: they are off the clock and in no cost ledger, but somebody pays for them.

From the last evaluation of runs of the same combination where there is one; before that the number of questions that the task's own
settings give, with the longest completions that are allowed as a bound. Nothing is read or downloaded for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.data.sizes import declared_sizes
from harness.records.run_folder import DONE, RunStatus
from harness.runner.estimates import median_of_known
from harness.spec import RunSpec
from harness.types import EvalPoint


@dataclass(frozen=True, slots=True)
class EvaluationCost:
    """Of the evaluations that a run still has before it; None for unknown. bound: most tokens that its settings allow."""

    evaluations: int
    tokens: float | None = None
    bound: int | None = None
    seconds: float | None = None


def evaluation_costs(runs: Sequence[RunSpec], statuses: Mapping[str, RunStatus]) -> dict[str, EvaluationCost]:
    """By run id; ``statuses`` are those of ``runs``."""
    measured: dict[str, list[EvalPoint]] = {}
    for spec in runs:
        point = statuses[spec.run_id].last_evaluation
        if point is not None:
            measured.setdefault(spec.combination.name, []).append(point)
    questions = {spec.combination.name: spec for spec in reversed(runs)}
    known = {name: _questions(spec) for name, spec in questions.items()}
    found = {}
    for spec in runs:
        status, name = statuses[spec.run_id], spec.combination.name
        left = 0 if status.state in DONE else evaluations_left(spec, status)
        if left == 0:
            found[spec.run_id] = EvaluationCost(0, 0.0, 0, 0.0)
            continue
        points, samples = measured.get(name, []), spec.evaluation.samples_per_question
        tokens = median_of_known(tokens_of(p, samples) for p in points)
        seconds = median_of_known(p.seconds for p in points)
        asked = points[-1].num_questions if points else known[name]
        bound = None if asked is None else left * asked * samples * spec.algorithm.max_completion_tokens
        found[spec.run_id] = EvaluationCost(
            left, None if tokens is None else left * tokens, bound, None if seconds is None else left * seconds
        )  # fmt: skip
    return found


def evaluations_left(spec: RunSpec, status: RunStatus) -> int:
    """Before the first step, every few, and after the last."""
    last, every, step = spec.algorithm.max_steps, spec.evaluation.every_steps, status.step
    first = 1 if step == 0 and status.last_evaluation is None else 0
    return first + last // every - step // every + (last % every > 0 and step < last)


def tokens_of(point: EvalPoint, samples: int) -> float | None:
    """Tokens that an evaluation generated; None where its ledger does not say."""
    found = [point.completions[name]["tokens"] * len(point.right[name]) * samples for name in point.accuracies if name in point.completions]
    return sum(found) if len(found) == len(point.accuracies) else None


def _questions(spec: RunSpec) -> int | None:
    """Questions of one evaluation, as far as the settings of the task name the sizes of its sets."""
    sizes, most = declared_sizes(spec.combination.task), spec.evaluation.max_questions
    if not sizes.keys() >= set(spec.evaluation.all_sets):
        return None
    return sum(sizes[name] if most is None else min(sizes[name], most) for name in spec.evaluation.all_sets)
