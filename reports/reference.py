"""A reference of the baseline's curve, with a tolerance: whether the same method on another machine runs as it does where it was made.

A row per evaluation: the median over seeds, and the band in which one more run is expected in 95 % of cases, mean ± t·s·√(1 + 1/n), at
least ``LEAST_TOLERANCE`` wide on each side. Accuracies are compared at equal training steps, and so are generated tokens; seconds are not,
since they are the machine's.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from harness.errors import UserError
from harness.spec import RunSpec
from harness.stats import student_t_quantile
from reports.arms import TOKENS, Analysis, Combination
from reports.condensed import Run
from reports.run_columns import Array

COLUMNS = (
    "combination", "step", "seeds", "accuracy_median", "accuracy_low", "accuracy_high", "tokens_median", "settings", "made_with",
)  # fmt: skip

#: Half a band is at least so wide: some answers change with the rounding of another machine.
LEAST_TOLERANCE = 0.01
#: Share of the evaluations that must lie within the band.
LEAST_INSIDE = 0.9
#: Tokens up to the last common step may differ by this share.
TOKEN_TOLERANCE = 0.1
LEAST_SEEDS, LEAST_POINTS = 3, 3


@dataclass(frozen=True, slots=True)
class ReferencePoint:
    """One evaluation of the reference; see the module."""

    step: int
    seeds: int
    median: float
    low: float
    high: float
    tokens: float
    settings: str
    made_with: str


@dataclass(frozen=True, slots=True)
class Reproduction:
    """How the baseline of one combination stands to its reference.

    inside: evaluations of ``points`` at which the median over ``seeds`` is within the band. furthest: (training step, median less the
    reference's, half the band's width) where it is furthest from the band's middle in widths. token_ratio: None where none were generated.
    """

    combination: str
    baseline: str
    seeds: int
    reference: ReferencePoint
    points: int
    inside: int
    furthest: tuple[int, float, float]
    token_ratio: float | None
    same_settings: bool

    @property
    def holds(self) -> bool:
        """Whether accuracy and tokens lie within the tolerance."""
        near = self.token_ratio is None or abs(self.token_ratio - 1) <= TOKEN_TOLERANCE
        return self.inside >= LEAST_INSIDE * self.points and near

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        step, off, half = self.furthest
        tokens = "" if self.token_ratio is None else f"; {self.token_ratio:.2f}× its generated tokens by the last common step"
        other = "" if self.same_settings else " The reference was made with other settings or versions of the strategy than these runs."
        return (
            f"{self.baseline} on {self.combination} {'reproduces' if self.holds else 'does not reproduce'} the reference "
            f"({self.reference.seeds} seeds, {self.reference.made_with}): the median of {self.seeds} seed{'s' if self.seeds != 1 else ''} "
            f"lies within its band at {self.inside} of {self.points} evaluations, furthest off at step {step} with {100 * off:+.1f} points "
            f"(band ± {100 * half:.1f}){tokens}.{other}"
        )


def reference_csv(analysis: Analysis) -> str:
    """The reference of the baseline on every combination. Raises UserError where one has fewer than three complete runs."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    for combination in analysis.combinations:
        runs = _complete(combination)
        if len(runs) < LEAST_SEEDS:
            raise UserError(
                f"{combination.name}: a reference needs {LEAST_SEEDS} complete runs of the baseline {analysis.baseline}, not {len(runs)}"
            )
        facts = settings_digest(runs[0].spec), _made_with(runs[0])
        for step, (accuracies, tokens) in _by_step(runs).items():
            if len(accuracies) == len(runs):
                low, high = tolerance_band(accuracies)
                numbers = [f"{v:.6g}" for v in (np.median(accuracies), low, high, np.median(tokens))]
                writer.writerow([combination.name, step, len(runs), *numbers, *facts])
    return buffer.getvalue()


def tolerance_band(values: Array) -> tuple[float, float]:
    """Where one more of n ≥ 2 values is expected in 95 % of cases; at least ``LEAST_TOLERANCE`` on each side of the mean."""
    n = len(values)
    half = student_t_quantile(0.975, n - 1) * float(values.std(ddof=1)) * math.sqrt(1 + 1 / n)
    half = max(half, LEAST_TOLERANCE)
    return float(values.mean()) - half, float(values.mean()) + half


def read_reference(path: Path) -> dict[str, list[ReferencePoint]]:
    """By combination, in order of steps. Raises UserError for a file that is no reference, with its line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the reference {path}: {getattr(error, 'strerror', None) or error}") from error
    reader = csv.DictReader(io.StringIO(text))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise UserError(f"{path} is no reference: its columns must be {', '.join(COLUMNS)}; make one with 'halfway report --reference-out'")
    found: dict[str, list[ReferencePoint]] = {}
    for line, row in enumerate(reader, start=2):
        found.setdefault(row["combination"], []).append(_point(row, path, line))
    return {name: sorted(points, key=lambda p: p.step) for name, points in found.items()}


def _point(row: Mapping[str, str], path: Path, line: int) -> ReferencePoint:
    names = ("accuracy_median", "accuracy_low", "accuracy_high", "tokens_median")
    try:
        step, seeds = int(row["step"]), int(row["seeds"])
        median, low, high, tokens = (float(row[name]) for name in names)
    except (ValueError, TypeError):
        median = low = high = tokens = math.nan
    if not all(math.isfinite(value) for value in (median, low, high, tokens)):
        raise UserError(f"{path}, line {line}: a step, seeds or accuracy is no number; make the reference again")
    return ReferencePoint(step, seeds, median, low, high, tokens, row["settings"], row["made_with"])


def reproductions(analysis: Analysis, reference: Mapping[str, Sequence[ReferencePoint]]) -> list[Reproduction]:
    """Of every combination that the reference knows and that has three evaluations in common with it."""
    found = []
    for combination in analysis.combinations:
        runs, points = _complete(combination), reference.get(combination.name, [])
        own = _by_step(runs)
        common = [p for p in points if p.step in own]
        if runs and len(common) >= LEAST_POINTS:
            found.append(_reproduction(combination.name, analysis.baseline, runs, common, own))
    return found


def _reproduction(
    name: str, baseline: str, runs: Sequence[Run], points: Sequence[ReferencePoint], own: Mapping[int, tuple[Array, Array]]
) -> Reproduction:
    medians = {p.step: float(np.median(own[p.step][0])) for p in points}
    inside = sum(p.low - 1e-9 <= medians[p.step] <= p.high + 1e-9 for p in points)
    last = points[-1]
    worst = max(points, key=lambda p: abs(medians[p.step] - (p.low + p.high) / 2) / (p.high - p.low))
    spent = float(np.median(own[last.step][1]))
    return Reproduction(
        combination=name, baseline=baseline, seeds=len(runs), reference=last, points=len(points), inside=inside,
        furthest=(worst.step, medians[worst.step] - worst.median, (worst.high - worst.low) / 2),
        token_ratio=spent / last.tokens if last.tokens > 0 else None,
        same_settings=all(settings_digest(r.spec) == last.settings for r in runs),
    )  # fmt: skip


def _complete(combination: Combination) -> list[Run]:
    base = combination.baseline
    return [r for r in base.runs if r.state == "complete" and r.curve.has(TOKENS)] if base is not None else []


def _by_step(runs: Iterable[Run]) -> dict[int, tuple[Array, Array]]:
    """Per evaluated step the (accuracies, generated tokens) of the runs that have it."""
    found: dict[int, list[tuple[float, float]]] = {}
    for run in runs:
        rows = zip(run.eval_steps.tolist(), run.curve.accuracy.tolist(), run.curve.costs[TOKENS].tolist(), strict=True)
        for step, accuracy, tokens in rows:
            found.setdefault(int(step), []).append((accuracy, tokens))
    return {step: (np.array([a for a, _ in rows]), np.array([t for _, t in rows])) for step, rows in sorted(found.items())}


def settings_digest(spec: Mapping[str, Any]) -> str:
    """12 hex digits that runs of one arm share whatever their seed; empty where a recorded spec is not one of this version."""
    try:
        identity = RunSpec.model_validate_json(json.dumps(spec)).identity()
    except ValidationError:
        return ""
    return hashlib.sha256(json.dumps({k: v for k, v in identity.items() if k != "seed"}, sort_keys=True).encode()).hexdigest()[:12]


def _made_with(run: Run) -> str:
    versions: Mapping[str, Any] = run.environment.get("versions", {})
    return ", ".join(f"{name} {versions[name]}" for name in ("halfway", "trl", "verl") if name in versions) or "unknown versions"
