"""Rollouts kept on disk for people to read: one parquet file a training step (``execution.keep_rollouts``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.files import replacing
from harness.types import PromptGroup, Question


def keep_rollouts(folder: Path, step: int, groups: Sequence[PromptGroup], questions: Sequence[Question]) -> Path:
    """Write every rollout of a step's batch to ``folder/step-NNNNNN.parquet``, whole or not at all; a resumed step replaces its file.

    questions: the training questions, by id. Columns: question_id, prompt, gold, source, policy_version, reward, truncated, tokens,
    completion (empty for replayed groups of a resumed run).
    """
    rows = [
        {
            "question_id": group.question_id,
            "prompt": questions[group.question_id].prompt,
            "gold": questions[group.question_id].answer,
            "source": group.source,
            "policy_version": rollout.policy_version,
            "reward": rollout.reward,
            "truncated": rollout.truncated,
            "tokens": rollout.num_tokens,
            "completion": rollout.completion,
        }
        for group in groups
        for rollout in group.rollouts
    ]
    path = folder / f"step-{step:06d}.parquet"
    with replacing(path) as partial:
        pd.DataFrame(rows).to_parquet(partial, index=False)
    return path
