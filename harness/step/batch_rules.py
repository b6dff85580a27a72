"""What a strategy may select, replay and train on; every breach is a StrategyError that names the strategy and says what it did.

A strategy that does more than whole groups of one size declares it (``requires``), so that a backend which cannot train on
such batches refuses the run before it starts instead of meeting them in the middle.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from harness.errors import StrategyError
from harness.strategy import Strategy
from harness.types import IntArray, PromptGroup, Selection


def num_trained(groups: Sequence[PromptGroup]) -> int:
    """Rollouts of these groups that go into the loss."""
    return sum(len(g.trained_rollouts) for g in groups)


def check_selection(selection: Selection, num_groups: int, pool_size: int, group_size: int, strategy: Strategy) -> None:
    """Raise StrategyError unless the selection is one that a backend can roll out."""
    ids, name = np.asarray(selection.question_ids), f"strategy {strategy.name!r}"
    if ids.ndim != 1 or not np.issubdtype(ids.dtype, np.integer):
        raise StrategyError(f"{name} selected {ids.dtype} of shape {ids.shape}; question ids are a flat integer array")
    if len(ids) != num_groups:
        raise StrategyError(f"{name} selected {len(ids)} questions where {num_groups} were asked for")
    if len(ids) and (ids.min() < 0 or ids.max() >= pool_size):
        raise StrategyError(f"{name} selected a question outside the pool of {pool_size}")
    if len(np.unique(ids)) != len(ids):
        raise StrategyError(f"{name} selected a question twice in one step")
    not_selected = {g.question_id for g in selection.started} - set(ids.tolist())
    if not_selected:
        raise StrategyError(f"{name} continues a probe of question {min(not_selected)}, which it did not select")
    if selection.rollouts_per_question is not None:
        _check_sizes(np.asarray(selection.rollouts_per_question), len(ids), group_size, strategy)


def _check_sizes(sizes: IntArray, num_questions: int, group_size: int, strategy: Strategy) -> None:
    name = f"strategy {strategy.name!r}"
    if sizes.shape != (num_questions,) or not np.issubdtype(sizes.dtype, np.integer):
        raise StrategyError(f"{name}: rollouts_per_question must be {num_questions} integers, one per selected question")
    if num_questions and sizes.min() < 1:
        raise StrategyError(f"{name} asked for less than one rollout of a question")
    if "group_sizes" not in strategy.requires and (sizes != group_size).any():
        raise StrategyError(f"{name} asked for other than {group_size} rollouts per question without requires = {{'group_sizes'}}")


def check_replayed(groups: Sequence[PromptGroup], groups_per_step: int, group_size: int, strategy: Strategy) -> None:
    """Raise StrategyError unless the replayed groups fit into a batch."""
    name = f"strategy {strategy.name!r}"
    if not strategy.requires & {"group_sizes", "partial_groups"} and any(len(g.trained_rollouts) != group_size for g in groups):
        raise StrategyError(f"{name} replayed a group whose size is not {group_size}")
    if num_trained(groups) > groups_per_step * group_size:
        raise StrategyError(f"{name} replayed {num_trained(groups)} rollouts into a batch of {groups_per_step * group_size}")


def check_num_fresh(num_fresh: int, groups_per_step: int, strategy: Strategy) -> None:
    """Raise StrategyError unless ``Replay.num_fresh`` returned a number of groups between 0 and the batch."""
    if not 0 <= num_fresh <= groups_per_step:
        raise StrategyError(f"strategy {strategy.name!r} wants {num_fresh} fresh groups in a batch of {groups_per_step}")


def check_batch(groups: Sequence[PromptGroup], groups_per_step: int, group_size: int, strategy: Strategy) -> None:
    """Raise StrategyError for a batch that the strategy did not declare, or that no loss can be computed for."""
    name, requires = f"strategy {strategy.name!r}", strategy.requires
    if not groups:
        raise StrategyError(f"{name} left no group to train on")
    sizes = {len(g.trained_rollouts) for g in groups}
    if not requires & {"group_sizes", "partial_groups"} and (sizes != {group_size} or len(groups) != groups_per_step):
        raise StrategyError(
            f"{name} made a batch of {len(groups)} groups of {sorted(sizes)} rollouts instead of {groups_per_step} of {group_size} "
            "without requires = {'group_sizes'}"
        )
    if "partial_groups" not in requires and any(g.trained is not None for g in groups):
        raise StrategyError(f"{name} trains on part of a group without requires = {{'partial_groups'}}")
    if "mixed_groups" not in requires and any(len({r.policy_version for r in g.rollouts}) > 1 for g in groups):
        raise StrategyError(f"{name} put stored rollouts into a group without requires = {{'mixed_groups'}}")
    if "loss_weights" not in requires and any(g.loss_weight != 1 for g in groups):
        raise StrategyError(f"{name} weighs the loss of a group without requires = {{'loss_weights'}}")
    stale = [r for g in groups for r, replayed in zip(g.trained_rollouts, g.replayed_flags, strict=True) if replayed]
    if stale and "behaviour_log_probs" not in requires:
        raise StrategyError(f"{name} replays rollouts without requires = {{'behaviour_log_probs'}}")
    if any(r.behaviour_log_probs is None for r in stale):
        raise StrategyError(f"{name} replays rollouts that the engine sampled without behaviour log-probs")
    twice = [uid for uid, count in Counter(r.uid for g in groups for r in g.trained_rollouts).items() if count > 1]
    if twice:
        question = next(g.question_id for g in groups for r in g.trained_rollouts if r.uid == twice[0])
        raise StrategyError(f"{name} put the same stored rollout of question {question} into the batch twice; draw without replacement")
