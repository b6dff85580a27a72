"""Advantages of one prompt group, with the rollouts of its baseline as an explicit choice.

    A_i = w·(r_i − mean(S))                      (``none``: the DOTS + RR paper, Dr. GRPO)
    A_i = w·(r_i − mean(S)) / (std(S) + 1e-4)    (``std``: GRPO, arXiv 2402.03300; sample standard deviation and ε as in TRL)

S are the rewards of the group's ``advantage_scope``: of the rollouts trained on (``kept``), of all (``all``), or of those
that are not stored ones (``fresh``). On a whole fresh group the three are one, and equal to what TRL computes itself. w is the
group's ``loss_weight``.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from harness.types import REWARD_TOLERANCE, FloatArray, PromptGroup

STD_EPSILON = 1e-4

Normalization = Literal["std", "none"]


def advantages(group: PromptGroup, normalization: Normalization) -> FloatArray:
    """Advantages of ``group.trained_rollouts``, shape (trained,), float64.

    Under ``std`` they are zero where the scope's rewards do not vary: dividing by ε alone would blow up a stored success
    put into a group of fresh failures whose baseline is the fresh ones'.
    """
    baseline = group.baseline_rewards
    centred: FloatArray = np.array([r.reward for r in group.trained_rollouts], dtype=np.float64) - baseline.mean()
    if normalization == "none":
        return group.loss_weight * centred
    if np.ptp(baseline) <= REWARD_TOLERANCE:
        return np.zeros(len(centred))
    scaled: FloatArray = centred / (baseline.std(ddof=1) + STD_EPSILON)
    return group.loss_weight * scaled
