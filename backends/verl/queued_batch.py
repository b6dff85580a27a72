"""The rows of one training step in verl's queue: groups put there, their advantages, and their mini-batches."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

from backends.verl.columns import replay_columns, reward_column
from backends.verl.rollout_engine import TRAIN, VerlRolloutEngine
from harness.spec import AlgorithmSpec
from harness.step.advantage import Normalization, advantages
from harness.types import FloatArray, PromptGroup, Rollout

#: The fields of verl 0.9.1's agent loop besides those that ``replay_columns`` makes.
AGENT_FIELDS: dict[str, Any] = {"num_turns": 2, "metrics": {}, "extra_fields": {}, "multi_modal_inputs": {}, "index": 0, "raw_prompt": []}


@dataclass(frozen=True, slots=True)
class Row:
    """A rollout of the running batch as verl knows it."""

    key: str
    tag: dict[str, Any]
    rollout: Rollout
    replayed: bool
    made_now: bool
    """Whether verl's agent loop put it into the queue in this step, rather than Halfway (stored and probed rollouts)."""


@dataclass(frozen=True, slots=True)
class MiniBatch:
    """The informative rows of one mini-batch, and what their advantages are multiplied by so that loss and gradient stay."""

    keys: list[str]
    tags: list[dict[str, Any]]
    scale: float


@dataclass(frozen=True, slots=True)
class QueuedBatch:
    """The groups of a batch and their trained rollouts, one row each, in the same order."""

    groups: Sequence[PromptGroup]
    rows: list[Row]

    @property
    def keys(self) -> list[str]:
        return [row.key for row in self.rows]

    @property
    def meta(self) -> KVBatchMeta:
        """The batch as verl's replay buffer hands it out."""
        return KVBatchMeta(partition_id=TRAIN, keys=self.keys, tags=[row.tag for row in self.rows])

    @property
    def trained_tokens(self) -> int:
        return sum(row.rollout.num_tokens for row in self.rows)

    @property
    def degenerate_groups(self) -> int:
        return sum(group.is_degenerate for group in self.groups)

    def by_group(self) -> Iterator[tuple[PromptGroup, list[Row]]]:
        """Every group with its rows."""
        rows = iter(self.rows)
        for group in self.groups:
            yield group, [next(rows) for _ in group.trained_rollouts]

    def own_advantages(self, normalization: Normalization) -> dict[str, FloatArray]:
        """Advantages by key, each of shape (T,), of groups that are not whole fresh or whole replayed ones, or have a loss weight.

        verl computes those of the other groups, except of groups of one, whose reward it takes for their advantage.
        """
        own: dict[str, FloatArray] = {}
        for group, rows in self.by_group():
            whole = group.trained is None and group.size > 1 and len(set(group.replayed_flags)) == 1
            if whole and group.loss_weight == 1.0:
                continue
            values = advantages(group, normalization)
            own.update({row.key: np.full(row.rollout.num_tokens, a, dtype=np.float32) for row, a in zip(rows, values, strict=True)})
        return own

    def informative_parts(self, batch: KVBatchMeta, algorithm: AlgorithmSpec, order: Sequence[int], ranks: int) -> list[MiniBatch]:
        """The mini-batches of ``batch`` without their degenerate rows (``drop_degenerate``).

        order: positions of the rows, cut into ``algorithm.updates_per_batch`` mini-batches. ranks: processes that share a
        mini-batch; each needs as many rows as the others and at least one, so that degenerate rows may stay. Advantages are
        to be scaled by what verl's loss divides by: tokens or rows of the mini-batch, kept over all.
        """
        informative = {row.key: not group.is_degenerate for group, rows in self.by_group() for row in rows}
        tags = dict(zip(batch.keys, batch.tags, strict=True))
        by_tokens = algorithm.loss_aggregation == "token-mean"

        def size(keys: Sequence[str]) -> int:
            return sum(tags[k]["response_len"] for k in keys) if by_tokens else len(keys)

        parts = []
        for positions in np.array_split(np.asarray(order), algorithm.updates_per_batch):
            keys = [self.rows[i].key for i in sorted(positions)]
            kept = [k for k in keys if informative[k]]
            spare = [k for k in keys if not informative[k]]
            kept += spare[: (ranks if not kept else -len(kept) % ranks)]
            parts.append(MiniBatch(kept, [tags[k] for k in kept], size(kept) / size(keys)))
        return parts


class BatchWriter:
    """Puts the groups of a batch into verl's queue: rollouts of this step are there already, stored ones are added."""

    def __init__(self, engine: VerlRolloutEngine) -> None:
        self._engine = engine
        self._agent_fields: dict[str, Any] = {}

    def put(self, groups: Sequence[PromptGroup], policy_version: int) -> QueuedBatch:
        """The batch with its rewards in the queue; rollouts of this step that are not trained on leave it."""
        batch = QueuedBatch(groups, self.place(groups, policy_version))
        rewards = reward_column([row.rollout for row in batch.rows])
        fields = TensorDict({"rm_scores": rewards}, batch_size=[len(batch.rows)])
        tq.kv_batch_put(keys=batch.keys, partition_id=TRAIN, fields=fields)
        self._engine.forget(batch.keys)
        return batch

    def place(self, groups: Sequence[PromptGroup], policy_version: int) -> list[Row]:
        """Rows of the groups: rollouts of this step under their keys, stored ones put into the queue under new keys."""
        rows: list[Row] = []
        stored: list[Row] = []
        prompt_uids: list[str] = []
        for group in groups:
            placed = [(r, old, self._engine.queued(r)) for r, old in zip(group.trained_rollouts, group.replayed_flags, strict=True)]
            prompt_uid = next((found[0].partition("_")[0] for _, _, found in placed if found), uuid.uuid4().hex)
            for number, (rollout, old, found) in enumerate(placed):
                if found is not None:
                    rows.append(Row(*found, rollout, old, made_now=True))
                    continue
                # Sessions of stored rollouts are numbered behind those of their group's fresh ones.
                row = Row(f"{prompt_uid}_{group.size + number}_0", agent_tag(rollout, policy_version), rollout, old, made_now=False)
                rows.append(row)
                stored.append(row)
                prompt_uids.append(prompt_uid)
        if stored:
            fields = replay_columns([row.rollout for row in stored], prompt_uids, self._other_fields(rows))
            tq.kv_batch_put(keys=[r.key for r in stored], partition_id=TRAIN, fields=fields, tags=[r.tag for r in stored])
        return rows

    def _other_fields(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The fields beside the tensors that verl's agent loop gives its rows, read once from one that it made."""
        if not self._agent_fields:
            known = next((row.key for row in rows if row.made_now), None)
            self._agent_fields = dict(AGENT_FIELDS)
            if known is not None:
                self._agent_fields |= _plain_fields(tq.kv_batch_get(keys=[known], partition_id=TRAIN))
        return self._agent_fields


def agent_tag(rollout: Rollout, policy_version: int) -> dict[str, Any]:
    """The tag that verl's agent loop would give a rollout in the step after ``policy_version``."""
    prompt, response = len(rollout.prompt_token_ids), rollout.num_tokens
    return {
        "status": "success",
        "prompt_len": prompt,
        "response_len": response,
        "seq_len": prompt + response,
        "global_steps": policy_version + 1,
        "min_global_steps": rollout.policy_version,
        "max_global_steps": rollout.policy_version,
    }


def _plain_fields(row: TensorDict) -> dict[str, Any]:
    """Non-tensor fields of a batch of one row."""
    import torch

    names = [str(name) for name in row.keys()]  # noqa: SIM118 - iterating a TensorDict goes over its rows
    return {name: next(iter(row.get(name).tolist())) for name in names if not isinstance(row.get(name), torch.Tensor)}
