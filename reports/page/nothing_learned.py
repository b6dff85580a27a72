"""Says of an arm that nothing was learned in it, from the records of its steps."""

from __future__ import annotations

import numpy as np

from harness.records.learning_watch import STEPS_WITHOUT_GRADIENT
from reports.arms import Arm
from reports.condensed import Run


def nothing_learned(arm: Arm) -> str:
    """One sentence where runs had only degenerate groups for ``STEPS_WITHOUT_GRADIENT`` steps in a row, else an empty string."""
    longest = {run.seed: longest_without_gradient(run) for run in arm.runs}
    seeds = [seed for seed, steps in longest.items() if steps >= STEPS_WITHOUT_GRADIENT]
    if not seeds:
        return ""
    unrewarded = [r for r in arm.runs if r.seed in seeds and not (r.steps["mean_reward"] > 0).any()]
    where = f"{arm.strategy} on {arm.combination} (seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))})"
    reward = " No rollout was ever rewarded." if len(unrewarded) == len(seeds) else ""
    return (
        f"Nothing was learned by {where} for up to {max(longest[s] for s in seeds)} steps in a row: all their groups were degenerate, "
        f"so no gradient came of them.{reward}"
    )


def longest_without_gradient(run: Run) -> int:
    """Length of the longest stretch of training steps without one informative group."""
    without = np.concatenate([[0], (run.steps["non_degenerate_share"] <= 0).astype(np.int64), [0]])
    edges = np.flatnonzero(np.diff(without))
    return int((edges[1::2] - edges[::2]).max(initial=0))
