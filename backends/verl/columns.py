"""Prompt groups to and from TransferQueue, column by column.

A TensorDict is never indexed by row: over nested tensors that costs about half a second a row. A column is one flat tensor
with offsets; rows are views of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transfer_queue as tq
from tensordict import TensorDict
from tensordict.tensorclass import NonTensorData, NonTensorStack

from harness.types import Rollout


def nested(rows: Sequence[np.ndarray[Any, Any]], dtype: torch.dtype) -> torch.Tensor:
    """A jagged column from numpy rows, in one copy."""
    lengths = torch.tensor([len(row) for row in rows])
    offsets = torch.cat([torch.zeros(1, dtype=torch.int64), lengths.cumsum(0)])
    values = torch.from_numpy(np.concatenate([np.asarray(row) for row in rows])).to(dtype)
    return torch.nested.nested_tensor_from_jagged(values, offsets)


def rows_of(column: torch.Tensor) -> list[np.ndarray[Any, Any]]:
    """Rows of a column, jagged or rectangular, as numpy views."""
    if not column.is_nested:
        return list(column.cpu().numpy())
    values: torch.Tensor = column.values()
    offsets: torch.Tensor = column.offsets()  # type: ignore[attr-defined]
    return np.split(values.cpu().numpy(), offsets[1:-1].cpu().numpy())


def replay_columns(rollouts: Sequence[Rollout], uids: Sequence[str], constants: Mapping[str, Any]) -> TensorDict:
    """Stored rollouts as verl's agent loop would have put them into the queue: all of its fields, ready for the update.

    ``constants`` holds the remaining fields of the agent loop with a value for every row.
    """
    prompts = [r.prompt_token_ids for r in rollouts]
    responses = [r.completion_token_ids for r in rollouts]
    whole = [np.concatenate(pair) for pair in zip(prompts, responses, strict=True)]
    ones = [np.ones(len(r), dtype=np.int64) for r in responses]
    mask = nested(ones, torch.int64)
    count = len(rollouts)
    data: dict[str, Any] = {
        "prompts": nested(prompts, torch.int64),
        "responses": nested(responses, torch.int64),
        "response_mask": mask,
        "loss_mask": nested(ones, torch.int64),
        "input_ids": nested(whole, torch.int64),
        "position_ids": nested([np.arange(len(w)) for w in whole], torch.int64),
        "rollout_log_probs": nested([_log_probs(r) for r in rollouts], torch.float32),
        "uid": NonTensorStack.from_list([NonTensorData(uid) for uid in uids]),
    }
    for name, value in constants.items():
        if name not in data:
            data[name] = NonTensorStack.from_list([NonTensorData(value)] * count)
    return TensorDict(data, batch_size=[count])


def reward_column(rollouts: Sequence[Rollout]) -> torch.Tensor:
    """verl's ``rm_scores``: the reward at the last token of each rollout, zero elsewhere."""
    lengths = np.array([r.num_tokens for r in rollouts])
    values = np.zeros(lengths.sum(), dtype=np.float32)
    values[lengths.cumsum() - 1] = [r.reward for r in rollouts]
    offsets = torch.from_numpy(np.concatenate([[0], lengths.cumsum()]))
    return torch.nested.nested_tensor_from_jagged(torch.from_numpy(values), offsets)


def put_column(keys: Sequence[str], name: str, rows: Sequence[np.ndarray[Any, Any]]) -> None:
    """Write one float column of some rows of verl's training partition."""
    fields = TensorDict({name: nested(rows, torch.float32)}, batch_size=[len(keys)])
    tq.kv_batch_put(keys=list(keys), partition_id="train", fields=fields)


def _log_probs(rollout: Rollout) -> np.ndarray[Any, Any]:
    if rollout.behaviour_log_probs is None:
        raise RuntimeError(f"a stored rollout of question {rollout.question_id} has no behaviour log-probs")
    return rollout.behaviour_log_probs
