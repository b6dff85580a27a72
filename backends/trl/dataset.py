"""The training set in the run's own order."""

from __future__ import annotations

from datasets import Dataset

from harness.spec import RunSpec
from harness.strategies.uniform import pool_order
from harness.task import TaskData


def run_order_dataset(task: TaskData, spec: RunSpec) -> Dataset:
    """Prompts of whole epochs in :func:`~harness.strategies.uniform.pool_order`, enough for all steps.

    A bare ``GRPOTrainer`` with ``shuffle_dataset=False`` on this dataset trains on the questions that the ``grpo`` strategy
    selects. Halfway's trainer takes its questions from the strategy; the dataset only paces it.
    """
    pool = task.split("train")
    needed = spec.algorithm.max_steps * spec.algorithm.groups_per_step
    epochs = -(-needed // len(pool))
    order = [int(i) for epoch in range(epochs) for i in pool_order(spec.seed, epoch, len(pool))]
    return Dataset.from_dict({"prompt": [pool[i].prompt for i in order], "question_id": order})
