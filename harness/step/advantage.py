"""Advantages of one prompt group, with the rollouts of its baseline as an explicit choice.

    A_i = r_i − mean(S)                      (``none``: the DOTS + RR paper, Dr. GRPO)
    A_i = (r_i − mean(S)) / (std(S) + 1e-4)  (``std``: GRPO, arXiv 2402.03300; sample standard deviation and ε as in TRL)

S are the rewards of the group's ``advantage_scope``: of the rollouts trained on (``kept``), of all (``all``), or of those
that are not stored ones (``fresh``). On a whole fresh group the three are one, and equal to what TRL computes itself.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from harness.types import FloatArray, PromptGroup

STD_EPSILON = 1e-4

Normalization = Literal["std", "none"]


def advantages(group: PromptGroup, normalization: Normalization) -> FloatArray:
    """Advantages of ``group.trained_rollouts``, shape (trained,), float64.

    Under ``std`` they are zero where the scope's rewards do not vary: dividing by ε alone would blow up a stored success
    put into a group of fresh failures whose baseline is the fresh ones'.
    """
    rewards, scope = _trained_rewards(group), _scope(group)
    centred: FloatArray = rewards - scope.mean()
    if normalization == "none":
        return centred
    if (scope == scope[0]).all():
        return np.zeros(len(rewards))
    scaled: FloatArray = centred / (scope.std(ddof=1) + STD_EPSILON)
    return scaled


def is_informative(group: PromptGroup) -> bool:
    """Whether any trained rollout's reward differs from its baseline, so that it can have an advantage."""
    rewards = np.concatenate([_trained_rewards(group), _scope(group)])
    return bool((rewards != rewards[0]).any())


def _trained_rewards(group: PromptGroup) -> FloatArray:
    return np.array([r.reward for r in group.trained_rollouts], dtype=np.float64)


def _scope(group: PromptGroup) -> FloatArray:
    if group.advantage_scope == "kept":
        return _trained_rewards(group)
    rewards = group.rewards
    if group.advantage_scope == "all":
        return rewards
    newest = group.policy_version
    return rewards[[r.policy_version == newest for r in group.rollouts]]
