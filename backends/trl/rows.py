"""Prompt groups as the rows of TRL's batch, also where groups differ in size or weight, are trained on in part or hold stored rollouts.

TRL computes advantages by cutting the batch into runs of ``num_generations`` rows, and cuts the batch into its updates by
whole numbers of rows. Whole groups of one size and one baseline go through untouched: every number is TRL's. For any other
batch

* the rows are padded to a multiple of both with copies of the last rollout cut to one token, which are then masked out of
  the loss and out of every count it divides by;
* the advantages are replaced by those of :mod:`harness.step.advantage`, which equal TRL's on whole groups.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch

from harness.step.advantage import advantages
from harness.types import PromptGroup, Rollout

Tensors = dict[str, Any]


def is_plain(groups: Sequence[PromptGroup], group_size: int) -> bool:
    """Whether TRL's own advantages are right: whole groups of one size, one policy version and loss weight 1."""
    return all(
        g.trained is None and g.size == group_size and g.loss_weight == 1.0 and len({r.policy_version for r in g.rollouts}) == 1
        for g in groups
    )


def padding_rows(rows: int, group_size: int, parts: int) -> int:
    """Rows to add so that the batch divides into groups of ``group_size`` and into ``parts`` updates."""
    return -rows % math.lcm(group_size, parts)


def padded(rollouts: Sequence[Rollout], extra: int) -> list[Rollout]:
    """The rollouts and ``extra`` short copies of the last one."""
    last = rollouts[-1]
    log_probs = last.behaviour_log_probs
    short = replace(
        last, completion_token_ids=last.completion_token_ids[:1], behaviour_log_probs=None if log_probs is None else log_probs[:1]
    )
    return [*rollouts, *[short] * extra]


def mark_rows(output: Tensors, groups: Sequence[PromptGroup]) -> None:
    """Add ``replayed`` and ``informative``, both of shape (rows,), to TRL's batch; padding rows are neither."""
    device, rows = output["completion_ids"].device, len(output["completion_ids"])
    replayed = [flag for g in groups for flag in g.replayed_flags]
    informative = [flag for g in groups for flag in [not g.is_degenerate] * len(g.trained_rollouts)]
    extra = [False] * (rows - len(replayed))
    output["replayed"] = torch.tensor(replayed + extra, device=device)
    output["informative"] = torch.tensor(informative + extra, device=device)


def set_advantages(output: Tensors, groups: Sequence[PromptGroup], normalization: Literal["std", "none"]) -> None:
    """Replace TRL's advantages, shape (rows,), by each group's own; padding rows get zero."""
    own = np.concatenate([advantages(g, normalization) for g in groups])
    target = output["advantages"]
    target.zero_()
    target[: len(own)] = torch.as_tensor(own, dtype=target.dtype, device=target.device)


def mask_padding(output: Tensors, extra: int, extra_everywhere: int, divides_by_rows: bool) -> None:
    """Take the last ``extra`` rows out of the loss.

    extra_everywhere: padding rows of all processes; TRL counted one token for each. divides_by_rows: the loss is a mean over
    rows, padding included, which the advantages make up for.
    """
    rows = len(output["completion_mask"])
    if extra:
        output["completion_mask"][rows - extra :] = 0
    if extra_everywhere:
        output["num_items_in_batch"] = output["num_items_in_batch"] - extra_everywhere
    if extra and divides_by_rows:
        output["advantages"] *= rows / (rows - extra)
