"""How much each setting mattered in a study: a small, documented measure that needs nothing but numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from harness.tuning.sampler import Trial
from harness.tuning.space import Parameter, Space

Array = npt.NDArray[np.float64]

SPARE = 4
"""Trials beyond the coefficients of a fit: with fewer, anything fits."""


def importances(space: Space, trials: Sequence[Trial]) -> dict[str, float | None]:
    """Per setting, the share of the variation between trials that it explains alone, in [0, 1].

    Adjusted R² of the trials' ranks: on a quadratic in the setting (in its logarithm where it is searched so), or on the
    means per choice. Ranks, because the objective of misses has another scale; pruned trials rank behind complete ones. Adjusted
    and cut at 0: a setting that explains no more than chance has none. None where the trials are too few to say (fewer than
    ``SPARE`` more than the fit has coefficients). The shares of several settings need not add up to 1.
    """
    order = sorted(trials, key=lambda t: (t.state == "pruned", t.value, t.number))
    ranks = np.zeros(len(trials))
    for place, trial in enumerate(order):
        ranks[[t.number for t in trials].index(trial.number)] = place
    return {p.name: _explained(p, [t.point[p.name] for t in trials], ranks) for p in space}


def _explained(parameter: Parameter, values: Sequence[object], ranks: Array) -> float | None:
    if parameter.choices is not None:
        levels = {repr(v): i for i, v in enumerate(dict.fromkeys(values))}
        design = np.eye(len(levels))[[levels[repr(v)] for v in values]]
    else:
        x = np.array([float(v) for v in values], dtype=np.float64)  # type: ignore[arg-type]
        x = np.log(x) if parameter.log else x
        if np.ptp(x) == 0:
            return 0.0
        x = (x - x.mean()) / x.std()
        design = np.stack([np.ones_like(x), x, x**2], axis=1)
    n, used = design.shape
    total = float(((ranks - ranks.mean()) ** 2).sum())
    if n < used + SPARE:
        return None
    if total == 0:
        return 0.0
    fitted = design @ np.linalg.lstsq(design, ranks, rcond=None)[0]
    left = float(((ranks - fitted) ** 2).sum())
    return float(np.clip(1 - (left / (n - used)) / (total / (n - 1)), 0.0, 1.0))
