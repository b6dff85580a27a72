"""One run of one strategy inside verl's trainer: batches, books, evaluation, checkpoints."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import transfer_queue as tq
from tensordict import TensorDict
from transfer_queue import KVBatchMeta

from backends.common.rollout_files import keep_rollouts
from backends.common.session import close_step, diagnose, resume_driver, save_driver
from backends.verl.columns import put_column, replay_columns, reward_column, rows_of
from backends.verl.engine import TRAIN, VerlEngine
from backends.verl.ratios import ratio_summary
from harness import checkpoint
from harness.advantage import advantages, is_informative
from harness.driver import Batch, StepDriver, UpdateReport
from harness.strategy import Correction
from harness.types import EvalPoint, FloatArray, PromptGroup, Rollout

if TYPE_CHECKING:
    from backends.common.evaluator import Evaluator
    from backends.verl.trainer import HalfwayTrainer
    from harness.ledger import LedgerWriter
    from harness.spec import RunSpec


@dataclass(frozen=True, slots=True)
class Row:
    """A rollout of the running batch as verl knows it."""

    key: str
    tag: dict[str, Any]
    rollout: Rollout
    replayed: bool
    made_now: bool
    """Whether verl's agent loop put it into the queue in this step, rather than Halfway (stored and probed ones)."""


@dataclass(frozen=True, slots=True)
class Part:
    """The informative rows of one mini-batch, and what their advantages are multiplied by so that loss and gradient stay."""

    keys: list[str]
    tags: list[dict[str, Any]]
    scale: float


class Session:
    """Made once per run; the trainer's overrides come here."""

    def __init__(
        self, spec: RunSpec, engine: VerlEngine, driver: StepDriver, ledger: LedgerWriter, evaluator: Evaluator,
        correction: Correction | None, checkpoints: Path,
    ) -> None:  # fmt: skip
        self.spec, self.engine, self.driver, self.ledger, self.evaluator = spec, engine, driver, ledger, evaluator
        self.correction, self.checkpoints = correction, checkpoints
        self.clock = engine.clock
        self._batch: Batch | None = None
        self._rows: list[Row] = []
        self._constants: dict[str, Any] = {}
        self._ratios: dict[str, Any] = {}
        self._fresh_deviation: float | None = None
        self._forward_tokens = self._dropped = 0

    def attach(self, trainer: HalfwayTrainer) -> None:
        self.trainer = trainer
        self.engine.attach(trainer)

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """The reward's worker processes: started off the clock, ended at the end."""
        self.engine.scorer.start()
        try:
            yield
        finally:
            self.engine.scorer.close()

    # -- one step --------------------------------------------------------------------------------------------------

    def next_batch(self) -> KVBatchMeta:
        """The batch of this step, its rows in the queue in the order of the groups."""
        self._ratios, self._fresh_deviation, self._forward_tokens, self._dropped = {}, None, 0, 0
        self.engine.policy_version = self.driver.step
        self._batch = self.driver.next_batch()
        with self.clock.phase("replay"):
            self._rows = self._place(self._batch.groups)
            rewards = reward_column([row.rollout for row in self._rows])
            keys, tags = [row.key for row in self._rows], [row.tag for row in self._rows]
            tq.kv_batch_put(keys=keys, partition_id=TRAIN, fields=TensorDict({"rm_scores": rewards}, batch_size=[len(keys)]))
            self.engine.forget(keys)
        return KVBatchMeta(partition_id=TRAIN, keys=keys, tags=tags)

    def _place(self, groups: Sequence[PromptGroup]) -> list[Row]:
        """Rows of the batch: rollouts of this step where they are, stored ones put into the queue under new keys."""
        rows: list[Row] = []
        stored: list[Row] = []
        uids: list[str] = []
        for group in groups:
            placed = [(r, old, self.engine.queued(r)) for r, old in zip(group.trained_rollouts, group.replayed_flags, strict=True)]
            uid = next((found[0].partition("_")[0] for _, _, found in placed if found), uuid.uuid4().hex)
            for number, (rollout, old, found) in enumerate(placed):
                if found is not None:
                    rows.append(Row(*found, rollout, old, made_now=True))
                    continue
                # Sessions of stored rollouts are numbered behind those of their group's fresh ones.
                row = Row(f"{uid}_{group.size + number}_0", _tag(rollout, self.driver.step), rollout, old, made_now=False)
                rows.append(row)
                stored.append(row)
                uids.append(uid)
        if stored:
            fields = replay_columns([row.rollout for row in stored], uids, self._agent_fields(rows))
            tq.kv_batch_put(keys=[r.key for r in stored], partition_id=TRAIN, fields=fields, tags=[r.tag for r in stored])
        return rows

    def _agent_fields(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The fields beside the tensors that verl's agent loop gives its rows, from one that it made."""
        if not self._constants:
            known = next((row.key for row in rows if self.engine.queued(row.rollout)), None)
            self._constants = dict(_AGENT_FIELDS)
            if known is not None:
                self._constants |= _plain_fields(tq.kv_batch_get(keys=[known], partition_id=TRAIN))
        return self._constants

    def count_forward(self, tags: Sequence[dict[str, Any]]) -> None:
        """Tokens of a forward-only pass."""
        self._forward_tokens += sum(int(tag["seq_len"]) for tag in tags)

    @property
    def clips_around_one(self) -> bool:
        """Whether replayed rows are clipped around π/μ = 1 (the paper's variant; verl's bypass mode)."""
        return self.correction is not None and self.correction.clip_center == "one"

    def owed_log_probs(self, batch: KVBatchMeta) -> list[int]:
        """Positions of the batch whose old log-probs the actor has yet to compute.

        Not those of rows it computed when they were sampled (``behaviour_log_probs = "actor"``), nor those that clipping
        around π/μ = 1 does not use.
        """
        done = {row.key for row in self._rows if row.made_now} if self.spec.algorithm.behaviour_log_probs == "actor" else set()
        if self.clips_around_one:
            done |= {row.key for row in self._rows if row.replayed} | {
                k for k, t in zip(batch.keys, batch.tags, strict=True) if t.get("is_padding")
            }
        return [i for i, key in enumerate(batch.keys) if key not in done]

    def read_ratios(self) -> None:
        """log π_old − log μ of the rows: statistics of the replayed ones; fresh ones count as sampled from π_old.

        ρ is for replayed rows. On GPUs the engine's numbers differ from the actor's; a fresh row is on-policy all the same.
        """
        rows = [row for row in self._rows if not (self.clips_around_one and row.replayed)]
        if not rows:
            return
        old = rows_of(tq.kv_batch_get(keys=[r.key for r in rows], partition_id=TRAIN, select_fields=["old_log_probs"])["old_log_probs"])
        log_ratios = [o - _behaviour(row.rollout) for o, row in zip(old, rows, strict=True)]
        self._ratios = ratio_summary([d for d, row in zip(log_ratios, rows, strict=True) if row.replayed])
        self._fresh_deviation = max((float(np.abs(d).max()) for d, r in zip(log_ratios, rows, strict=True) if not r.replayed), default=None)
        mine = [(row.key, o) for row, o in zip(rows, old, strict=True) if not row.replayed]
        if self.correction is not None and mine:
            put_column([key for key, _ in mine], "rollout_log_probs", [o for _, o in mine])

    def own_advantages(self) -> dict[str, FloatArray]:
        """Advantages, per token, of groups that are not whole fresh or whole replayed ones; verl computes those of the others.

        Nor of groups of one, whose reward verl takes for their advantage.
        """
        assert self._batch is not None
        own: dict[str, FloatArray] = {}
        rows = iter(self._rows)
        for group in self._batch.groups:
            mine = [next(rows) for _ in group.trained_rollouts]
            if group.trained is None and group.size > 1 and len(set(group.replayed_flags)) == 1:
                continue
            values = advantages(group, self.spec.algorithm.advantage_normalization)
            own.update({row.key: np.full(row.rollout.num_tokens, a, dtype=np.float32) for row, a in zip(mine, values, strict=True)})
        return own

    def padding_scale(self, batch: KVBatchMeta) -> float:
        """What advantages are multiplied by where verl's loss divides by all rows, those that only fill the ranks up included."""
        return 1.0 if self.spec.algorithm.loss_aggregation == "token-mean" else len(batch) / len(self._rows)

    def informative_parts(self, batch: KVBatchMeta, ranks: int) -> list[Part]:
        """The batch in its mini-batches, each without its degenerate rows (``drop_degenerate``).

        Advantages are scaled by what verl's loss divides by: tokens or rows of the mini-batch, kept over all.
        """
        assert self._batch is not None
        algorithm = self.spec.algorithm
        rows = iter(self._rows)
        informative = {next(rows).key: is_informative(g) for g in self._batch.groups for _ in g.trained_rollouts}
        order = np.random.default_rng([self.spec.seed, self.driver.step]).permutation(len(self._rows))
        tags = dict(zip(batch.keys, batch.tags, strict=True))
        parts = []
        for positions in np.array_split(order, algorithm.updates_per_batch):
            keys = [self._rows[i].key for i in sorted(positions)]
            keep = [k for k in keys if informative[k]]
            spare = [k for k in keys if not informative[k]]
            missing = ranks if not keep else -len(keep) % ranks  # every rank needs as many rows as the others, and one at least
            keep += spare[:missing]
            weight = (lambda k: tags[k]["response_len"]) if algorithm.loss_aggregation == "token-mean" else (lambda _: 1)
            parts.append(Part(keep, [tags[k] for k in keep], sum(map(weight, keep)) / sum(map(weight, keys))))
        self._dropped = sum(not is_informative(g) for g in self._batch.groups)
        return parts

    # -- after a step ----------------------------------------------------------------------------------------------------

    def after_step(self, step: int) -> dict[str, float]:
        """Write the step, evaluate if it is time, save if it is time; the clock stands still except for closing the books."""
        if step > 0:
            self._end_step()
        self.clock.stop()
        algorithm, evaluation = self.spec.algorithm, self.spec.evaluation
        scores: dict[str, float] = {}
        last = step == algorithm.max_steps
        if step == 0 or step % evaluation.every_steps == 0 or last:
            scores = self.evaluate(step)
        if step and (
            last or step % self.spec.execution.checkpoint_every_steps == 0 or self.spec.budget.reached(self.driver.costs.to_json())
        ):
            self.save(step)
        return scores

    def _end_step(self) -> None:
        assert self._batch is not None
        algorithm = self.spec.algorithm
        report = UpdateReport(
            updates=algorithm.updates_per_batch,
            loss=float(self.trainer.step_metrics["actor/loss"]),
            trained_tokens=sum(row.rollout.num_tokens for row in self._rows),
            forward_tokens=self._forward_tokens,
            dropped_groups=self._dropped,
            importance_ratio=self._ratios,
            fresh_log_ratio=self._fresh_deviation,
        )
        record = close_step(self.driver, self._batch, report, self.engine.scorer)
        with self.clock.off():
            self.ledger.write("step", record)
            if self.spec.execution.keep_rollouts:
                keep_rollouts(self.checkpoints.parent / "rollouts", record.step, self._batch.groups)

    def evaluate(self, step: int) -> dict[str, float]:
        """Accuracy on the evaluation sets and, every few times, the predictor's quality; all off the clock."""
        with self.clock.off():
            accuracies, count = self.evaluator.evaluate(self.engine.decode, step)
            predictor = diagnose(self.spec, self.driver, step)
            accuracy = self.spec.evaluation.accuracy(accuracies)
            self.ledger.write("evaluation", EvalPoint(step, accuracy, accuracies, count, self.driver.snapshot(), predictor))
        return {f"val-core/{name}/accuracy": value for name, value in accuracies.items()}

    # -- checkpoints ---------------------------------------------------------------------------------------------

    def save(self, step: int) -> None:
        """verl's checkpoint and ours in one folder, which counts from the moment both are complete."""
        folder = self.checkpoints / f"step-{step}"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self.trainer.save(str(folder))
        except Exception:
            checkpoint.probe_disk(folder)
            raise
        save_driver(folder, self.spec, self.driver, self.engine.task)
        checkpoint.seal(folder, step)
        checkpoint.prune(self.checkpoints)
        self.ledger.write("checkpoint", step=step)

    def resume(self, folder: Path) -> None:
        """Take back strategy, buffer, costs and clock. Raises CheckpointError for another run's or another task's."""
        resume_driver(folder, self.spec, self.driver, self.engine.task)


def verl_checkpoint(folder: Path) -> Path:
    """verl's own part of one of our checkpoints. Raises CheckpointError if it is not there."""
    found = sorted(folder.glob("global_step_*"))
    if len(found) != 1:
        raise checkpoint.CheckpointError(f"{folder} holds {len(found)} checkpoints of verl instead of one; move it away and run again")
    return found[0]


#: The fields of verl 0.9.1's agent loop besides those that ``replay_columns`` makes.
_AGENT_FIELDS: dict[str, Any] = {"num_turns": 2, "metrics": {}, "extra_fields": {}, "multi_modal_inputs": {}, "index": 0, "raw_prompt": []}


def _plain_fields(row: TensorDict) -> dict[str, Any]:
    """Non-tensor fields of a batch of one row."""
    import torch

    names = [str(name) for name in row.keys()]  # noqa: SIM118 - iterating a TensorDict goes over its rows
    return {name: next(iter(row.get(name).tolist())) for name in names if not isinstance(row.get(name), torch.Tensor)}


def _tag(rollout: Rollout, version: int) -> dict[str, Any]:
    """The tag that verl's agent loop would give a rollout."""
    prompt, response = len(rollout.prompt_token_ids), rollout.num_tokens
    return {
        "status": "success",
        "prompt_len": prompt,
        "response_len": response,
        "seq_len": prompt + response,
        "global_steps": version + 1,
        "min_global_steps": rollout.policy_version,
        "max_global_steps": rollout.policy_version,
    }


def _behaviour(rollout: Rollout) -> FloatArray:
    assert rollout.behaviour_log_probs is not None
    return rollout.behaviour_log_probs
