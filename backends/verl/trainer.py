"""verl's synchronous v1 trainer with small overrides, each of which calls ``super()``.

The order inside one training step:

1. ``prepare_step``: the session makes the batch (replay, select, roll out, score, refill) and hands it to the replay buffer, from
   which verl samples it. Fresh rollouts are in TransferQueue already; replayed ones are put there with their stored log-probs.
2. ``_compute_old_log_prob``: verl's; afterwards the importance ratios are read off for the ledger.
3. ``_compute_advantage``: verl's rollout correction and advantages; only groups of which a part is trained on get Halfway's.
4. ``_update_actor``: verl's; with ``drop_degenerate`` once per mini-batch of informative rows.
5. ``on_step_end``: verl ships the weights to the inference engine, then the step is written. ``_validate``, which verl calls outside
   of its step, is where Halfway evaluates and saves.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import transfer_queue as tq
from omegaconf import open_dict
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.padding_utils import upsample_batch_to_divisible_size
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

from backends.verl.columns import put_column, rows_of
from backends.verl.config import optimizer_steps
from backends.verl.names import TRAINER
from harness.types import FloatArray

if TYPE_CHECKING:
    from backends.verl.session import VerlSession


@register_trainer(TRAINER)
class HalfwayTrainer(PPOTrainerSync):  # type: ignore[misc]
    """Set ``session`` before ``init()``."""

    session: VerlSession

    def __init__(self, config: Any) -> None:
        with open_dict(config):
            config.trainer.v1.trainer_mode = "sync"  # the base class branches on the name
        super().__init__(config)
        self._asleep = False

    def _init_dataloader(self) -> None:
        super()._init_dataloader()
        with open_dict(self.config):  # verl has just set it to the number of training steps
            self.config.actor_rollout_ref.actor.optim.total_training_steps *= optimizer_steps(self.session.spec)

    # -- the step ------------------------------------------------------------------------------------------------------

    def on_step_begin(self) -> None:
        super().on_step_begin()
        self.session.clock.start()

    def prepare_step(self) -> dict[str, Any]:
        self.replay_buffer.prepared = self.session.next_batch()
        return {}

    def _get_required_batch_multiple(self, dp_size: int) -> int:
        # verl's own answer for a batch of B·G rows; a strategy may also make batches of another size.
        return dp_size * int(self.session.spec.algorithm.updates_per_batch)

    def _balance_batch(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        batch = super()._balance_batch(batch, metrics, *args, **kwargs)
        if self.session.keeps_order:
            batch.reorder(self.session.in_order(batch, self._ranks()))
        return batch

    def _compute_old_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        session = self.session
        with session.clock.phase("log_probs"):
            missing = session.without_old_log_probs(batch)
            if len(missing) == len(batch):
                session.count_forward(batch.tags)
                batch = super()._compute_old_log_prob(batch, metrics)
            else:
                self._log_probs_of([batch.keys[i] for i in missing], [batch.tags[i] for i in missing], metrics)
            session.read_ratios()
            if session.clips_around_one:
                batch = super()._compute_old_log_prob(batch, metrics)  # verl's bypass mode: μ stands for the old policy
        return batch

    def _compute_ref_log_prob(self, batch: Any, metrics: dict[str, Any]) -> Any:
        with self.session.clock.phase("log_probs"):
            self.session.count_forward(batch.tags)
            return super()._compute_ref_log_prob(batch, metrics)

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        batch = super()._compute_advantage(batch, metrics)
        own = self.session.own_advantages()
        if own:
            put_column(list(own), "advantages", list(own.values()))
        correction = self.session.correction
        if correction is not None:
            scale_advantages(self.session.replayed_keys(), correction.coefficient)
        if not self.session.spec.algorithm.drop_degenerate:
            scale_advantages(batch.keys, self.session.padding_scale(batch))
        return batch

    def _update_actor(self, batch: Any, metrics: dict[str, Any]) -> Any:
        algorithm = self.session.spec.algorithm
        if not algorithm.drop_degenerate:
            with self._mini_batch(len(batch) // algorithm.updates_per_batch):
                return super()._update_actor(batch, metrics)
        losses = []
        for part in self.session.informative_parts(batch, self._ranks()):
            scale_advantages(part.keys, part.scale)
            with self._mini_batch(len(part.keys)):
                meta = KVBatchMeta(partition_id="train", keys=part.keys, tags=part.tags, extra_info=dict(batch.extra_info))
                super()._update_actor(meta, metrics)
            losses.append(metrics["actor/loss"])
        metrics["actor/loss"] = float(np.mean(losses))
        return batch

    def on_step_end(self) -> None:
        super().on_step_end()
        self._asleep = False

    def _compute_metrics(self, batch: Any, metrics: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        with self.session.clock.off():
            return super()._compute_metrics(batch, metrics, *args, **kwargs)

    def step(self, metrics: dict[str, Any], timing_raw: dict[str, Any]) -> Any:
        batch = super().step(metrics, timing_raw)
        self.step_metrics = metrics
        return batch

    def _validate(self) -> dict[str, float]:
        scores = self.session.after_step(self.global_steps)
        if self.session.ended:
            self.total_training_steps = self.global_steps  # verl's loop ends after this step
        return scores

    # -- for the session -----------------------------------------------------------------------------------------------

    def save(self, folder: str) -> None:
        """verl's own checkpoint of this step, in ``folder``."""
        self.config.trainer.default_local_dir = folder
        self._save_checkpoint()

    def wake(self) -> None:
        """The inference engine with the actor's weights, if it was put to sleep."""
        if self._asleep:
            self.checkpoint_manager.update_weights(self.global_steps)
            self._asleep = False

    def actor_log_probs(self, keys: Sequence[str], tags: Sequence[dict[str, Any]]) -> list[FloatArray]:
        """The actor's log-probs of rollouts in the queue, one row each; they stay there as the old policy's."""
        self.checkpoint_manager.sleep_replicas()
        self._asleep = True
        self._log_probs_of(keys, tags, {})
        return rows_of(tq.kv_batch_get(keys=list(keys), partition_id="train", select_fields=["old_log_probs"])["old_log_probs"])

    def _log_probs_of(self, keys: Sequence[str], tags: Sequence[dict[str, Any]], metrics: dict[str, Any]) -> None:
        """verl's pass over some rows of a batch; rows that only fill the ranks up leave the queue again."""
        if not keys:
            return
        self.session.count_forward(tags)
        batch = KVBatchMeta(
            partition_id="train", keys=list(keys), tags=list(tags),
            extra_info={"temperature": self.config.actor_rollout_ref.rollout.temperature},
        )  # fmt: skip
        batch = upsample_batch_to_divisible_size(batch, self._ranks(), self.tokenizer.eos_token_id)
        filled = batch.keys[len(keys) :]
        with self._decoupled():
            super()._compute_old_log_prob(batch, metrics)
        if filled:
            tq.kv_clear(keys=filled, partition_id="train")

    def handles(self) -> list[Any]:
        """Ray actors whose death would leave a step waiting forever."""
        servers = [server for replica in self.llm_server_manager.get_replicas() for server in replica.servers]
        return [*self.actor_rollout_wg.workers, *servers, *self.agent_loop_manager.agent_loop_workers]

    def _ranks(self) -> int:
        return int(self.config.trainer.n_gpus_per_node * self.config.trainer.nnodes)

    @contextmanager
    def _decoupled(self) -> Iterator[None]:
        """verl's pass for old log-probs really made, also where its bypass mode would copy μ."""
        correction = self.config.algorithm.rollout_correction
        before, correction.bypass_mode = correction.bypass_mode, False
        try:
            yield
        finally:
            correction.bypass_mode = before

    @contextmanager
    def _mini_batch(self, rows: int) -> Iterator[None]:
        """One mini-batch of so many rows; verl counts in prompts of ``rollout.n`` rows."""
        actor, rollout = self.config.actor_rollout_ref.actor, self.config.actor_rollout_ref.rollout
        before = actor.ppo_mini_batch_size, rollout.n
        actor.ppo_mini_batch_size, rollout.n = rows, 1
        try:
            yield
        finally:
            actor.ppo_mini_batch_size, rollout.n = before


def scale_advantages(keys: Sequence[str], scale: float) -> None:
    """Multiply the advantages of some rows of the training partition."""
    if scale == 1.0 or not keys:
        return
    rows = rows_of(tq.kv_batch_get(keys=list(keys), partition_id="train", select_fields=["advantages"])["advantages"])
    put_column(keys, "advantages", [row * np.float32(scale) for row in rows])
