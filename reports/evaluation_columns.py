"""What evaluations say beside accuracy: pass@k, questions solved from the start, and how completions look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from harness.records.ledger import RunLog
from harness.stats import pass_at_k
from harness.types import EvalPoint
from reports.run_columns import Array

#: Keys of ``EvalPoint.completions``: mean length, share cut off, entropy estimate in nats per token.
COMPLETIONS = ("tokens", "truncated", "entropy")


@dataclass(slots=True)
class Evaluations:
    """Of one run; everything is empty or None where its ledger does not hold it. All columns are means over the deciding sets.

    samples: per question. pass_at_k: k = ``samples``, shape (E,). completions: ``COMPLETIONS``, each of shape (E,). easy_questions:
    those of the deciding sets that the starting policy answered right in every sample. easy_accuracy: share of right answers to them at
    the end.
    """

    samples: int = 1
    pass_at_k: Array | None = None
    completions: dict[str, Array] = field(default_factory=dict)
    easy_questions: int = 0
    easy_accuracy: float | None = None


def evaluation_columns(log: RunLog) -> Evaluations:
    """From the records of a run whose evaluations are all finite."""
    settings = log.spec.get("evaluation", {})
    samples = int(settings.get("samples_per_question", 1))
    sets = list(settings.get("sets", ()))
    points = log.evaluations
    found = Evaluations(samples)
    if not points or not sets:
        return found
    if samples > 1 and all(name in p.right for p in points for name in sets):
        values = [np.mean([pass_at_k(p.right[name], samples, samples) for name in sets]) for p in points]
        found.pass_at_k = np.array(values, dtype=np.float64)
    for key in COMPLETIONS:
        if all(key in p.completions.get(name, {}) for p in points for name in sets):
            found.completions[key] = np.array([np.mean([p.completions[name][key] for name in sets]) for p in points], dtype=np.float64)
    if points[0].step == 0 and len(points) > 1:
        found.easy_questions, found.easy_accuracy = _easy(points[0], points[-1], sets, samples)
    return found


def _easy(start: EvalPoint, end: EvalPoint, sets: Sequence[str], samples: int) -> tuple[int, float | None]:
    """(questions that were right in all samples at the start, share of right answers to them at the end)."""
    pairs = [pair for name in sets for pair in zip(start.right.get(name, ()), end.right.get(name, ()), strict=False)]
    kept = [after for before, after in pairs if before == samples]
    return len(kept), sum(kept) / (samples * len(kept)) if kept else None
