"""A buffer of whole prompt groups: first in, first out; capacity counts groups, never rows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from harness.types import PromptGroup, Rollout


class GroupBuffer:
    """At most ``capacity`` prompt groups; the oldest goes first.

    Groups are kept as they were sampled: tokens, rewards, behaviour log-probs and policy version are never touched, so
    the advantages computed from a stored group are those of the step that rolled it out.
    """

    def __init__(self, capacity: int) -> None:
        self._groups: deque[PromptGroup] = deque(maxlen=capacity)

    def __len__(self) -> int:
        return len(self._groups)

    def __iter__(self) -> Iterator[PromptGroup]:
        return iter(self._groups)

    def add(self, groups: Sequence[PromptGroup]) -> None:
        for group in groups:
            if any(r.behaviour_log_probs is None for r in group.rollouts):
                raise ValueError(f"question {group.question_id} was rolled out without behaviour log-probs; replay needs them")
            self._groups.append(group)

    def draw(self, num_groups: int, rng: np.random.Generator) -> list[PromptGroup]:
        """``num_groups`` different stored groups, uniformly; raises ValueError if there are fewer."""
        chosen = rng.choice(len(self._groups), size=num_groups, replace=False)
        return [self._groups[i] for i in chosen]

    def state_dict(self) -> dict[str, Any]:
        """Flat arrays (tokens end to end with offsets), so that a large buffer is a few arrays in the checkpoint."""
        return pack_groups(list(self._groups))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._groups.clear()
        self._groups.extend(unpack_groups(state))


def pack_groups(groups: Sequence[PromptGroup]) -> dict[str, Any]:
    """Groups as numpy arrays and JSON; the completions' text is left out (it follows from the tokens)."""
    rollouts = [r for g in groups for r in g.rollouts]
    return {
        "group_sizes": np.array([g.size for g in groups], dtype=np.int64),
        "sources": [g.source for g in groups],
        "question_ids": np.array([r.question_id for r in rollouts], dtype=np.int64),
        "policy_versions": np.array([r.policy_version for r in rollouts], dtype=np.int64),
        "rewards": np.array([r.reward for r in rollouts], dtype=np.float64),
        "truncated": np.array([r.truncated for r in rollouts], dtype=np.bool_),
        "prompts": _pack_ragged([r.prompt_token_ids for r in rollouts], np.int64),
        "completions": _pack_ragged([r.completion_token_ids for r in rollouts], np.int64),
        "has_log_probs": np.array([r.behaviour_log_probs is not None for r in rollouts], dtype=np.bool_),
        "log_probs": _pack_ragged([_or_empty(r.behaviour_log_probs) for r in rollouts], np.float32),
    }


def unpack_groups(state: dict[str, Any]) -> list[PromptGroup]:
    """The inverse of ``pack_groups``."""
    prompts, completions = _unpack_ragged(state["prompts"]), _unpack_ragged(state["completions"])
    log_probs = _unpack_ragged(state["log_probs"])
    rollouts = [
        Rollout(
            question_id=int(state["question_ids"][i]),
            prompt_token_ids=prompts[i],
            completion_token_ids=completions[i],
            behaviour_log_probs=log_probs[i] if state["has_log_probs"][i] else None,
            policy_version=int(state["policy_versions"][i]),
            completion="",
            reward=float(state["rewards"][i]),
            truncated=bool(state["truncated"][i]),
        )
        for i in range(len(prompts))
    ]
    ends = np.cumsum(state["group_sizes"])
    return [
        PromptGroup(rollouts[end - size].question_id, tuple(rollouts[end - size : end]), source)
        for size, end, source in zip(state["group_sizes"], ends, state["sources"], strict=True)
    ]


def _or_empty(array: Any) -> Any:
    return np.empty(0, dtype=np.float32) if array is None else array


def _pack_ragged(rows: Sequence[Any], dtype: Any) -> dict[str, Any]:
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    flat = np.concatenate([np.asarray(row, dtype=dtype) for row in rows]) if rows else np.empty(0, dtype=dtype)
    return {"flat": flat, "lengths": lengths}


def _unpack_ragged(packed: dict[str, Any]) -> list[Any]:
    return np.split(packed["flat"], np.cumsum(packed["lengths"])[:-1]) if len(packed["lengths"]) else []
