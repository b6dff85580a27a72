"""Where verl's trainer meets a run: its batch in the queue, the ratios of its rows, and what follows a step."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transfer_queue as tq
from transfer_queue import KVBatchMeta

from backends.common.failures import naming_full_disk
from backends.common.ratios import RatioStatistics
from backends.common.run_session import RunSession, evaluation_due
from backends.verl.columns import put_column, rows_of
from backends.verl.queued_batch import BatchWriter, MiniBatch, QueuedBatch, Row
from backends.verl.rollout_engine import TRAIN, SamplingTrainer, VerlRolloutEngine
from harness.records.checkpoint import CheckpointError
from harness.step.driver import UpdateReport
from harness.strategy import Correction
from harness.types import FloatArray


class SessionTrainer(SamplingTrainer, Protocol):
    """What the session needs of the trainer."""

    step_metrics: dict[str, Any]

    def save(self, folder: str) -> None:
        """Write verl's own checkpoint into a folder."""
        ...


class VerlSession:
    """What the trainer's overrides ask for; made once per run.

    correction: how replayed rollouts enter the loss, None for a strategy that replays nothing. queued: the batch of the
    running step. ended: training ends with this step, short of the last one.
    """

    def __init__(self, run: RunSession, engine: VerlRolloutEngine, correction: Correction | None) -> None:
        self.run, self.engine, self.correction = run, engine, correction
        self.spec, self.clock = run.spec, engine.clock
        self.queued = QueuedBatch([], [])
        self.ended = False
        self.trainer: SessionTrainer
        self._writer = BatchWriter(engine)
        self._ratios = RatioStatistics()
        self._forward_tokens = self._dropped_groups = 0

    def attach(self, trainer: SessionTrainer) -> None:
        """The trainer of the run; call it before training."""
        self.trainer = trainer
        self.engine.attach(trainer)

    # -- one step --------------------------------------------------------------------------------------------------

    def next_batch(self) -> KVBatchMeta:
        """The batch of the next step, its rows in the queue in the order of the groups.

        Raises RunFailed for a run that cannot go on and Interrupted where the inference engine died.
        """
        self._ratios, self._forward_tokens, self._dropped_groups = RatioStatistics(), 0, 0
        batch = self.run.next_batch()
        with self.clock.phase("replay"):
            self.queued = self._writer.put(batch.groups, self.engine.policy_version)
        return self.queued.meta

    def count_forward(self, tags: Sequence[dict[str, Any]]) -> None:
        """Count the tokens of a pass without a gradient."""
        self._forward_tokens += sum(int(tag["seq_len"]) for tag in tags)

    @property
    def clips_around_one(self) -> bool:
        """Whether replayed rows are clipped around π/μ = 1 (verl's bypass mode)."""
        return self.correction is not None and self.correction.clip_center == "one"

    def without_old_log_probs(self, batch: KVBatchMeta) -> list[int]:
        """Positions of the batch whose old log-probs the actor has yet to compute.

        Rows that it computed when they were sampled (``behaviour_log_probs = "actor"``) have theirs, and rows that are clipped
        around π/μ = 1 need none.
        """
        done = {row.key for row in self.queued.rows if row.made_now} if self.spec.algorithm.behaviour_log_probs == "actor" else set()
        if self.clips_around_one:
            done |= {row.key for row in self.queued.rows if row.replayed}
            done |= {key for key, tag in zip(batch.keys, batch.tags, strict=True) if tag.get("is_padding")}
        return [i for i, key in enumerate(batch.keys) if key not in done]

    def read_ratios(self) -> None:
        """log π_old − log μ of the rows, for the ledger; fresh rows then count as sampled from π_old.

        ρ is for replayed rows. On GPUs the inference engine's numbers differ from the actor's; a fresh row is on-policy all
        the same.
        """
        rows = [row for row in self.queued.rows if not (self.clips_around_one and row.replayed)]
        if not rows:
            return
        old = rows_of(tq.kv_batch_get(keys=[r.key for r in rows], partition_id=TRAIN, select_fields=["old_log_probs"])["old_log_probs"])
        log_ratios = torch.from_numpy(np.concatenate([o - _behaviour(row) for o, row in zip(old, rows, strict=True)]))
        replayed = torch.from_numpy(np.repeat([row.replayed for row in rows], [len(o) for o in old]))
        self._ratios.add(log_ratios, replayed, ~replayed)
        fresh = [(row.key, o) for row, o in zip(rows, old, strict=True) if not row.replayed]
        if self.correction is not None and fresh:
            put_column([key for key, _ in fresh], "rollout_log_probs", [o for _, o in fresh])

    @property
    def keeps_order(self) -> bool:
        """Whether the rows reach the updates in the order of the batch, replayed ones last."""
        return self.correction is not None and self.correction.order == "fresh-first"

    def in_order(self, batch: KVBatchMeta, ranks: int) -> list[int]:
        """Positions of ``batch`` for which every rank, given an equal run of rows, gets a share of each mini-batch, in order."""
        position = {key: i for i, key in enumerate(self.queued.keys)}  # rows that only fill the ranks up come last
        order = sorted(range(len(batch)), key=lambda i: position.get(batch.keys[i], len(position)))
        return [i for rank in range(ranks) for i in order[rank::ranks]]

    def replayed_keys(self) -> list[str]:
        """Keys of the replayed rows."""
        return [row.key for row in self.queued.rows if row.replayed]

    def own_advantages(self) -> dict[str, FloatArray]:
        """Advantages by key that replace verl's; see :meth:`QueuedBatch.own_advantages`."""
        return self.queued.own_advantages(self.spec.algorithm.advantage_normalization)

    def padding_scale(self, batch: KVBatchMeta) -> float:
        """What advantages are multiplied by where verl's loss divides by all rows, those that only fill the ranks up included."""
        return 1.0 if self.spec.algorithm.loss_aggregation == "token-mean" else len(batch) / len(self.queued.rows)

    def informative_parts(self, batch: KVBatchMeta, ranks: int) -> list[MiniBatch]:
        """The mini-batches of the step without degenerate rows; the rows are shuffled by the run's seed and step, or kept in order."""
        rows = len(self.queued.rows)
        rng = np.random.default_rng([self.spec.seed, self.engine.policy_version])
        order = np.arange(rows) if self.keeps_order else rng.permutation(rows)
        self._dropped_groups = self.queued.degenerate_groups
        return self.queued.informative_parts(batch, self.spec.algorithm, order.tolist(), ranks)

    # -- after a step ----------------------------------------------------------------------------------------------------

    def after_step(self, step: int) -> dict[str, float]:
        """Write the step, evaluate and save if it is time; returns verl's metrics of an evaluation.

        The clock stops after the books of the step are closed. Raises RunFailed for a loss that is not finite.
        """
        if step > 0:
            self.run.record_step(self._report())
        self.clock.stop()
        scores: dict[str, float] = {}
        if evaluation_due(self.spec, step):
            accuracies = self.run.evaluate(step).accuracies
            scores = {f"val-core/{name}/accuracy": value for name, value in accuracies.items()}
        due = step == self.spec.algorithm.max_steps or step % self.spec.execution.checkpoint_every_steps == 0
        if step > 0 and (due or self.run.budget_spent):
            self.ended = self.save(step)
        return scores

    def _report(self) -> UpdateReport:
        return UpdateReport(
            updates=self.spec.algorithm.updates_per_batch,
            loss=float(self.trainer.step_metrics["actor/loss"]),
            trained_tokens=self.queued.trained_tokens,
            forward_tokens=self._forward_tokens,
            dropped_groups=self._dropped_groups,
            importance_ratio=self._ratios.summary(),
            fresh_log_ratio=self._ratios.fresh,
            fresh_mean_log_ratio=self._ratios.fresh_mean,
        )

    def save(self, step: int) -> bool:
        """verl's checkpoint and ours in one folder, which counts once both are complete. Returns whether training ends here."""
        folder = self.run.checkpoints / f"step-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        with naming_full_disk(folder):
            self.trainer.save(str(folder))
        return self.run.complete_checkpoint(folder, step)


def verl_checkpoint(folder: Path) -> Path:
    """verl's own part of one of our checkpoints. Raises CheckpointError if it is not there."""
    found = sorted(folder.glob("global_step_*"))
    if len(found) != 1:
        raise CheckpointError(f"{folder} holds {len(found)} checkpoints of verl instead of one; move it away and run again")
    return found[0]


def _behaviour(row: Row) -> FloatArray:
    assert row.rollout.behaviour_log_probs is not None
    return row.rollout.behaviour_log_probs
