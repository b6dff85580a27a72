"""TRL's ``GRPOTrainer`` with small overrides, each of which calls ``super()``.

The order inside one training step:

1. ``_generate_and_score_completions``: the session makes the batch (replay, select, roll out, score, refill), then TRL's own
   method runs on it with a ``rollout_func`` that plays the finished rollouts back. So padding, masks, token counts,
   advantages and old log-probs of fresh *and* replayed groups are made by TRL's code, not by a copy of it (advantages of
   groups of different sizes excepted: :mod:`backends.trl.rows`).
2. ``_prepare_inputs``: TRL shuffles the batch and splits it into its updates, or it is split in order where the strategy's
   correction asks for that; degenerate rows are dropped from each part.
3. ``compute_loss``: TRL's loss; replayed rows, and fresh ones of an older policy, get their importance weight between its forward
   pass and its formula.

Selection never happens in a sampler: Accelerate draws batch t+1 before step t has generated, and a resumed run draws every
skipped batch again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from trl import GRPOTrainer
from trl.trainer.utils import split_tensor_dict

from backends.common.failures import naming_full_disk
from backends.trl.books import StepBooks
from backends.trl.loss import DIVIDES_BY_ROWS, correct_off_policy, drop_degenerate_rows, even_padding
from backends.trl.rows import is_plain, mark_rows, mask_padding, padded, padding_rows, set_advantages
from harness.types import PromptGroup, Rollout

if TYPE_CHECKING:
    from backends.trl.session import TrlSession


def stored_rewards(halfway_reward: list[float], **_: Any) -> list[float]:
    """TRL's reward function: the session has scored every rollout with the shared reward already."""
    return halfway_reward


def play_back(_prompts: list[Any], trainer: HalfwayGRPOTrainer) -> dict[str, Any]:
    """TRL's ``rollout_func``: hand over what the session rolled out, in the order of the rows."""
    rollouts = trainer.playback
    has_log_probs = all(r.behaviour_log_probs is not None for r in rollouts)
    return {
        "prompt_ids": [r.prompt_token_ids.tolist() for r in rollouts],
        "completion_ids": [r.completion_token_ids.tolist() for r in rollouts],
        "logprobs": [r.behaviour_log_probs.tolist() for r in rollouts if r.behaviour_log_probs is not None] if has_log_probs else None,
    }


class HalfwayGRPOTrainer(GRPOTrainer):  # type: ignore[misc]
    """A ``GRPOTrainer`` whose batches come from a :class:`~backends.trl.session.TrlSession`.

    playback: the rollouts of the running batch, in the order of its rows, while TRL asks for them. books: what is counted
    until the session ends the step.
    """

    def __init__(self, session: TrlSession, **kwargs: Any) -> None:
        self.session = session
        self.playback: list[Rollout] = []
        self.books = StepBooks()
        self._running_inputs: dict[str, Any] | None = None
        self._buffered_inputs: Any = None  # TRL's own; declared here for its type
        self._batch_in_order: dict[str, Any] = {}  # before TRL shuffles it
        super().__init__(reward_funcs=stored_rewards, rollout_func=play_back, **kwargs)

    # -- generation ----------------------------------------------------------------------------------------------

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        groups = self.session.next_groups()
        if groups is None:  # only Trainer.evaluate() comes here in eval mode, and Halfway never calls it
            return super()._generate_and_score_completions(inputs)  # type: ignore[no-any-return]
        plain, extra = self._padding(groups)
        self.playback = padded([r for g in groups for r in g.trained_rollouts], extra)
        rows = [{"prompt": self.session.prompt(r.question_id), "halfway_reward": r.reward} for r in self.playback]
        output: dict[str, Any] = super()._generate_and_score_completions(rows)
        self.playback = []
        mark_rows(output, groups)
        if not plain:
            set_advantages(output, groups, self.session.spec.algorithm.advantage_normalization)
            everywhere = int(self.accelerator.gather(torch.tensor([extra], device=self.accelerator.device)).sum())
            mask_padding(output, extra, everywhere, self.loss_type in DIVIDES_BY_ROWS)
        self._batch_in_order = output
        return output

    def _padding(self, groups: list[PromptGroup]) -> tuple[bool, int]:
        """(whether all ranks hold whole groups of one size, padding rows of this rank): ranks must agree, and end equally long."""
        size, parts = self.num_generations, self.args.steps_per_generation
        rows = sum(len(g.trained_rollouts) for g in groups)
        unlike = torch.tensor([0 if is_plain(groups, size) else 1, rows], device=self.accelerator.device)
        unlike = self.accelerator.gather(unlike).view(-1, 2)
        if not bool(unlike[:, 0].any()):
            return True, 0
        longest = int(unlike[:, 1].max())
        return False, longest + padding_rows(longest, size, parts) - rows

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is before:
            return inputs
        if self.session.correction.order == "fresh-first":
            self._buffered_inputs = split_tensor_dict(self._batch_in_order, self.args.steps_per_generation)
        if self.session.spec.algorithm.drop_degenerate:
            self._buffered_inputs = [self._without_degenerate(part) for part in self._buffered_inputs]
        self._batch_in_order = {}
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _without_degenerate(self, part: dict[str, Any]) -> dict[str, Any]:
        rows = max(1, int(part["informative"].sum()))
        if self.accelerator.num_processes > 1:
            # TRL gathers per-row metrics, which must have one length on all ranks.
            rows = int(self.accelerator.gather(torch.tensor([rows], device=part["informative"].device)).max())
        smaller = drop_degenerate_rows(part, self.loss_type, keep_at_least=rows)
        self.books.dropped_rows += _rows_in_loss(part) - _rows_in_loss(smaller)
        return smaller

    # -- loss ----------------------------------------------------------------------------------------------------

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None) -> Any:
        self._running_inputs = dict(inputs)  # a copy: the buffered batch must not keep the correction
        self.books.trained_tokens += int(inputs["completion_mask"].sum())
        try:
            return super().compute_loss(model, self._running_inputs, return_outputs, num_items_in_batch)
        finally:
            self._running_inputs = None

    def _get_per_token_logps_and_entropies(self, model: Any, input_ids: Any, attention_mask: Any, *args: Any, **kwargs: Any) -> Any:
        if self._running_inputs is None:  # a pass without gradient: old or behaviour log-probs
            with self.session.clock.phase("log_probs"):
                self.books.forward_tokens += int(attention_mask.sum())
                return super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, *args, **kwargs)
        result = super()._get_per_token_logps_and_entropies(model, input_ids, attention_mask, *args, **kwargs)
        batch = self._running_inputs
        result = (even_padding(batch, result[0]), *result[1:])
        stale = self.session.spec.algorithm.staleness > 0
        if "replayed" in batch and (stale or batch.get("sampling_per_token_logps") is not None):
            correct_off_policy(batch, result[0], self.session.correction, self.books.ratios, stale=stale)
        return result

    # -- the trainer's loop ----------------------------------------------------------------------------------------

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        loss = super().training_step(model, inputs, num_items_in_batch)
        self.books.losses.append(float(loss))
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        with self.session.clock.off():
            super().log(logs, start_time)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        with self.session.clock.off():
            with naming_full_disk(Path(self.args.output_dir)):
                super()._save_checkpoint(model, trial)
            if self.session.complete_checkpoint(self.state.global_step):
                self.control.should_training_stop = True


def _rows_in_loss(part: dict[str, Any]) -> int:
    return int(part["completion_mask"].any(1).sum())
