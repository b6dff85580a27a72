"""What happens to a batch between generation and TRL's own loss: dropping degenerate groups, evening padding, weighting off-policy rows.

TRL's loss is not rewritten. The changes are made on the tensors it reads, and they are exact:

* a degenerate group has zero advantage, so without KL its rows add nothing to loss or gradient; dropping them and
  rescaling the advantages by what each ``loss_type`` divides by leaves loss and gradient as they were;
* ``min(r̃A, clip(r̃, ρ(1−ε), ρ(1+ε))A)`` with r̃ = π/μ and ρ = π_old/μ equals ``ρ·min((π/π_old)A, clip(π/π_old, 1±ε)A)``
  (rollout replay, arXiv 2506.05316): TRL's clipped loss with advantages of shape (B, T) multiplied by the detached weight ρ.
  Fresh rows of an older policy (``algorithm.staleness``) get that loss too; it is the decoupled one of AReaL (arXiv 2505.24298).
"""

from __future__ import annotations

from typing import Any

import torch

from backends.common.ratios import RatioStatistics, capped
from harness.strategy import Correction

Tensors = dict[str, Any]

#: Loss types whose per-batch divisor counts rows or tokens of the batch itself, so that dropping rows must be made up for.
DIVIDES_BY_ROWS = {"grpo", "dr_grpo"}
_DIVIDES_BY_TOKENS = {"bnpo"}
_DIVIDES_BY_STORED_COUNT = {"dapo", "cispo"}
DROPPABLE = DIVIDES_BY_ROWS | _DIVIDES_BY_TOKENS | _DIVIDES_BY_STORED_COUNT


def drop_degenerate_rows(batch: Tensors, loss_type: str, keep_at_least: int = 1) -> Tensors:
    """Rows of informative groups only (``batch["informative"]``, shape (B,)), padding trimmed, same loss and gradient.

    At least ``keep_at_least`` rows stay (with their zero advantages): an empty batch has no gradient to step with, and all
    ranks need batches of one size.
    """
    if loss_type not in DROPPABLE:
        raise ValueError(f"loss_type {loss_type!r} is not known to be unchanged by dropping degenerate groups")
    informative = batch["informative"]
    order = torch.argsort(~informative, stable=True)
    kept = order[: max(int(informative.sum()), keep_at_least)].sort().values
    total_rows = informative.numel()
    if len(kept) == total_rows:
        return batch
    smaller = {k: v[kept] if isinstance(v, torch.Tensor) and v.ndim and len(v) == total_rows else v for k, v in batch.items()}
    if loss_type in DIVIDES_BY_ROWS:
        smaller["advantages"] = smaller["advantages"] * (len(kept) / total_rows)
    elif loss_type in _DIVIDES_BY_TOKENS:
        share = smaller["completion_mask"].sum() / batch["completion_mask"].sum().clamp(min=1.0)
        smaller["advantages"] = smaller["advantages"] * share
    return trim_padding(smaller)


def trim_padding(batch: Tensors) -> Tensors:
    """Cut the columns that are padding in every row: prompts on the left, completions on the right."""
    prompt_width = int(batch["prompt_mask"].sum(1).max())
    width = max(1, int(batch["completion_mask"].sum(1).max()))
    full_width = batch["completion_ids"].shape[1]
    trimmed = dict(batch)
    for key in ("prompt_ids", "prompt_mask"):
        trimmed[key] = batch[key][:, batch[key].shape[1] - prompt_width :]
    for key, value in batch.items():
        if key.startswith("prompt") or not isinstance(value, torch.Tensor):
            continue
        if value.ndim == 2 and value.shape[1] == full_width:
            trimmed[key] = value[:, :width]
    return trimmed


def even_padding(batch: Tensors, log_probs: torch.Tensor) -> torch.Tensor:
    """``log_probs``, shape (B, T), of the running forward pass with the old policy's at padding, where no token was sampled.

    TRL takes exp(log π − log π_old) of padding too, before its mask. At a low temperature log-probs of the padding token lie far apart:
    at 0.3 a difference of 30 in the logits becomes 100, exp(100) is infinite in float32, and infinity times the mask's zero is NaN, in
    the loss or in the gradient alone. The same for the reference policy's, which ``batch`` holds under ``beta``. Values and gradients of
    sampled tokens are untouched.
    """
    mask = batch["completion_mask"].bool()
    at_padding = _old_policy(batch, log_probs).to(log_probs.dtype)
    if batch.get("ref_per_token_logps") is not None:
        batch["ref_per_token_logps"] = torch.where(mask, batch["ref_per_token_logps"], at_padding)
    return torch.where(mask, log_probs, at_padding)


def _old_policy(batch: Tensors, log_probs: torch.Tensor) -> torch.Tensor:
    """log π_old, (B, T): where TRL keeps none (one update per batch), the running pass is the old policy's."""
    old: torch.Tensor | None = batch.get("old_per_token_logps")
    return log_probs.detach() if old is None else old


def correct_off_policy(
    batch: Tensors, log_probs: torch.Tensor, correction: Correction, stats: RatioStatistics, *, stale: bool = False
) -> None:
    """Make ``batch`` carry the off-policy correction of its rows; called between TRL's forward pass and its loss.

    log_probs: (B, T), log π of the running forward pass. Behaviour log-probs are ``batch["sampling_per_token_logps"]``. correction: of
    the replayed rows. stale: an older policy sampled the fresh rows; their weight is ρ, uncapped, in every arm: arms differ in selection
    and replay alone.
    """
    mask = batch["completion_mask"].bool()
    old = _old_policy(batch, log_probs)
    log_ratio = (old - batch["sampling_per_token_logps"]).masked_fill(~mask, 0.0)
    replayed = batch["replayed"][:, None] & mask
    fresh = ~batch["replayed"][:, None] & mask
    stats.add(log_ratio, replayed, fresh)
    if bool(batch["replayed"].any()):
        _correct_replayed(batch, old, log_ratio.masked_fill(~replayed, 0.0), correction)
    if stale:
        _weigh(batch, log_ratio.masked_fill(~fresh, 0.0))


def _correct_replayed(batch: Tensors, old: torch.Tensor, log_ratio: torch.Tensor, correction: Correction) -> None:
    """log_ratio: (B, T), log ρ of replayed tokens, 0 elsewhere."""
    if correction.coefficient != 1.0:
        batch["advantages"] = torch.where(batch["replayed"], batch["advantages"] * correction.coefficient, batch["advantages"])
    if correction.ratio == "old":
        return
    log_weight = capped(log_ratio, correction)
    if correction.clip_center == "old":
        _weigh(batch, log_weight)
    else:
        # π/μ = (π/π_old)·ρ: reading "old" as log π_old − log ρ centres TRL's clip on 1 for π/μ (with ρ capped, if asked).
        batch["old_per_token_logps"] = old - log_weight


def _weigh(batch: Tensors, log_weight: torch.Tensor) -> None:
    """Multiply the advantages, (B,) or (B, T), by a weight per token, (B, T)."""
    advantages = batch["advantages"]
    batch["advantages"] = (advantages if advantages.ndim == 2 else advantages[:, None]) * log_weight.exp()
