"""Buffers of stored rollouts: whole groups (first in, first out; capacity counts groups), single rollouts, rollouts by question."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from harness.numerics.sampling import gumbel_top_k
from harness.step.advantage import advantages
from harness.types import FloatArray, IntArray, PromptGroup, Rollout


class GroupBuffer:
    """At most ``capacity`` prompt groups, the oldest going first; None for a buffer that is only trimmed by :meth:`trim`.

    Groups are kept as they were sampled: tokens, rewards, behaviour log-probs and policy version are never touched, so
    the advantages computed from a stored group are those of the step that rolled it out.
    """

    def __init__(self, capacity: int | None) -> None:
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

    def draw(self, num_groups: int, rng: np.random.Generator, in_order: bool = False) -> list[PromptGroup]:
        """``num_groups`` different stored groups, uniformly, the oldest first if ``in_order``; raises ValueError if there are fewer."""
        chosen = rng.choice(len(self._groups), size=num_groups, replace=False)
        return [self._groups[i] for i in (np.sort(chosen) if in_order else chosen)]

    def clean(self) -> None:
        """Keep the last group of every question, then only those whose rewards differ; the order stays."""
        last = {group.question_id: group for group in self._groups}
        self._replace([g for g in self._groups if last[g.question_id] is g and not g.is_degenerate])

    def trim(self, num_groups: int) -> None:
        """Keep the last ``num_groups`` groups; none for 0 or less."""
        self._replace(list(self._groups)[max(len(self._groups) - max(num_groups, 0), 0) :])

    def keep(self, groups: Sequence[PromptGroup]) -> None:
        """Hold these of its groups only."""
        self._replace(groups)

    def _replace(self, groups: Sequence[PromptGroup]) -> None:
        self._groups.clear()
        self._groups.extend(groups)

    def state_dict(self) -> dict[str, Any]:
        """Flat arrays (tokens end to end with offsets), so that a large buffer is a few arrays in the checkpoint."""
        return pack_groups(list(self._groups))

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._replace(unpack_groups(state))


class RolloutBuffer:
    """At most ``capacity`` single rollouts with an advantage, the oldest going first; each stays with the group that it was sampled in.

    A drawn rollout comes back as its whole group, trained on that rollout alone: with ``advantage_scope`` "all" its advantage is
    the one it had when it was sampled. Groups without a rollout left are forgotten.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._groups: dict[int, PromptGroup] = {}
        self._next = 0
        self._entries = np.empty((0, 3), dtype=np.int64)  # serial number of the group, position in it, policy version
        self._advantage: FloatArray = np.empty(0)
        self._reward: FloatArray = np.empty(0)

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def policy_versions(self) -> IntArray:
        """Shape (n,)."""
        return self._entries[:, 2]

    @property
    def abs_advantages(self) -> FloatArray:
        """|A| of every rollout within its group (divided by the standard deviation), shape (n,)."""
        return self._advantage

    @property
    def rewards(self) -> FloatArray:
        """Reward of every rollout, shape (n,)."""
        return self._reward

    def add(self, groups: Sequence[PromptGroup]) -> None:
        """Take in every rollout whose advantage is not zero."""
        for group in groups:
            size = np.abs(advantages(replace(group, trained=None, advantage_scope="all"), "std"))
            positions = np.flatnonzero(size)
            if not len(positions):
                continue
            versions = [group.rollouts[i].policy_version for i in positions]
            entries = np.column_stack([np.full(len(positions), self._next), positions, versions])
            self._groups[self._next] = group
            self._next += 1
            self._entries = np.concatenate([self._entries, entries])
            self._advantage = np.concatenate([self._advantage, size[positions]])
            self._reward = np.concatenate([self._reward, group.rewards[positions]])
        self._keep(np.arange(len(self)) >= len(self) - self._capacity)

    def evict_older(self, policy_version: int) -> None:
        """Forget rollouts sampled before this policy version."""
        self._keep(self.policy_versions >= policy_version)

    def draw(self, log_weights: FloatArray, num_rollouts: int, rng: np.random.Generator) -> list[PromptGroup]:
        """``num_rollouts`` different rollouts with P ∝ exp(log_weights), one after the other; those of one group in one group."""
        chosen = gumbel_top_k(log_weights, num_rollouts, rng)
        positions: dict[int, list[int]] = {}
        for serial, position, _ in self._entries[chosen].tolist():
            positions.setdefault(serial, []).append(position)
        return [self._groups[serial].train_on(sorted(found)) for serial, found in positions.items()]

    def take(self, index: int) -> PromptGroup:
        """One stored rollout, as its group trained on it alone."""
        serial, position, _ = self._entries[index].tolist()
        return self._groups[serial].train_on([position])

    def _keep(self, mask: Any) -> None:
        self._entries, self._advantage, self._reward = self._entries[mask], self._advantage[mask], self._reward[mask]
        alive = set(self._entries[:, 0].tolist())
        self._groups = {serial: group for serial, group in self._groups.items() if serial in alive}

    def state_dict(self) -> dict[str, Any]:
        """Groups whole and once, whatever number of their rollouts is left."""
        groups = list(self._groups.values())
        serials = np.array(list(self._groups), dtype=np.int64)
        return {
            "groups": pack_groups(groups),
            "serials": serials,
            "next": self._next,
            "entries": self._entries,
            "advantage": self._advantage,
            "reward": self._reward,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._groups = dict(zip(np.asarray(state["serials"]).tolist(), unpack_groups(state["groups"]), strict=True))
        self._next = int(state["next"])
        self._entries = np.array(state["entries"])
        self._advantage, self._reward = np.array(state["advantage"]), np.array(state["reward"])


class QuestionBuffer:
    """The last ``per_question`` stored rollouts of every question."""

    def __init__(self, per_question: int) -> None:
        self._per_question = per_question
        self._rollouts: dict[int, deque[Rollout]] = {}

    def of(self, question_id: int) -> tuple[Rollout, ...]:
        """Stored rollouts of a question, oldest first."""
        return tuple(self._rollouts.get(question_id, ()))

    def add(self, rollouts: Sequence[Rollout]) -> None:
        for rollout in rollouts:
            self._rollouts.setdefault(rollout.question_id, deque(maxlen=self._per_question)).append(rollout)

    def state_dict(self) -> dict[str, Any]:
        return pack_groups([PromptGroup(q, tuple(found)) for q, found in self._rollouts.items()])

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._rollouts.clear()
        for group in unpack_groups(state):
            self.add(group.rollouts)


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
        "uids": [r.uid for r in rollouts],
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
            uid=state["uids"][i],
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
