"""Sampling from a causal language model in this process, fast for small models.

Three things make it faster than ``generate``: a prompt is prefilled once per group and its cache is then repeated,
finished rows leave the batch, and Llama- and Qwen2-style models go through a fused forward pass without the module
overhead that dominates at this size (:mod:`backends.common.fused`). The uniform numbers of every row are drawn before
the first token, so what a row samples does not depend on when other rows finish.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from backends.common.completion import Completion
from backends.common.fused import FusedForward, supports_fused

#: Finished rows leave the batch when at most this share of it is still going; leaving copies the cache of the others.
COMPACT_BELOW = 0.5
#: On an accelerator, asking whether rows have finished waits for the device; it is asked every so many tokens.
CHECK_EVERY_ON_DEVICE = 8


class ForwardPass(Protocol):
    """Incremental forward pass over a batch of rows."""

    def prefill(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Left-padded prompts, shapes (n, P), mask 1 on tokens → logits at the last position, shape (n, V)."""
        ...

    def select(self, rows: Tensor) -> None:
        """Keep, drop or repeat rows of the cache; ``rows`` are positions in the present batch."""
        ...

    def step(self, token_ids: Tensor) -> Tensor:
        """The next token of every row, shape (n,) → logits, shape (n, V)."""
        ...


class HuggingFaceForward:
    """Any Hugging Face causal language model with a dynamic cache."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._mask = torch.empty(0)
        self._positions = torch.empty(0)
        self._cache: Any = None

    def prefill(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """See :class:`ForwardPass`."""
        from transformers import DynamicCache

        self._mask, self._cache = mask, DynamicCache(config=self._model.config)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        self._positions = positions[:, -1]
        return self._forward(token_ids, positions)

    def select(self, rows: Tensor) -> None:
        """See :class:`ForwardPass`."""
        self._cache.batch_select_indices(rows)
        self._mask, self._positions = self._mask[rows], self._positions[rows]

    def step(self, token_ids: Tensor) -> Tensor:
        """See :class:`ForwardPass`."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(token_ids), 1)], dim=1)
        self._positions = self._positions + 1
        return self._forward(token_ids[:, None], self._positions[:, None])

    def _forward(self, token_ids: Tensor, positions: Tensor) -> Tensor:
        output = self._model(
            input_ids=token_ids,
            attention_mask=self._mask,
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: Tensor = output.logits[:, -1]
        return logits


class Decoder:
    """Samples groups of completions and the log-probs under which they were sampled.

    model: a Hugging Face causal LM; its weights are read anew at every call, so it may be trained in between.
    fused: use the fused forward pass where the architecture allows it (agrees with the module to 1e-5 in float32).
    max_rows: most rows decoded at once, None for all; groups are never split.
    """

    def __init__(self, model: Any, eos_ids: Iterable[int], pad_id: int, *, fused: bool = True, max_rows: int | None = None) -> None:
        self._model, self._pad_id, self._max_rows = model, pad_id, max_rows
        self._eos_ids = sorted(set(eos_ids))
        self._fused = fused and supports_fused(model)

    @property
    def uses_fused_forward(self) -> bool:
        """Whether this model goes through the fused forward pass."""
        return self._fused

    @torch.no_grad()
    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        rollouts_per_prompt: int | Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float = 1.0,
        top_p: float = 1.0,
        generator: torch.Generator,
        noise: Tensor | None = None,
    ) -> list[list[Completion]]:
        """``rollouts_per_prompt`` completions of every prompt, in order; temperature 0 takes the likeliest token.

        Log-probs are log-softmax(logits / temperature) over the whole vocabulary, also under ``top_p``; at temperature 0
        those of temperature 1. The same generator state gives the same completions; ``noise``, uniform numbers of shape
        (rows, max_new_tokens), is used instead of the generator's where rows of one stream are decoded in parts. Raises
        ValueError for an empty prompt or settings out of range.
        """
        counts = [rollouts_per_prompt] * len(prompts) if isinstance(rollouts_per_prompt, int) else list(rollouts_per_prompt)
        _check(prompts, counts, max_new_tokens, temperature, top_p)
        if noise is None:
            noise = torch.rand(sum(counts), max_new_tokens, dtype=torch.float64, device=generator.device, generator=generator)
        groups: list[list[Completion]] = []
        row = 0
        with eval_mode(self._model):
            for start, stop in _chunks(counts, self._max_rows):
                rows = sum(counts[start:stop])
                sampler = _Sampler(noise[row : row + rows].to(self._model.device), temperature, top_p)
                groups += self._decode(prompts[start:stop], counts[start:stop], max_new_tokens, sampler)
                row += rows
        return groups

    def _decode(
        self, prompts: Sequence[Sequence[int]], counts: Sequence[int], max_new_tokens: int, sampler: _Sampler
    ) -> list[list[Completion]]:
        device = self._model.device
        forward: ForwardPass = FusedForward(self._model, max_new_tokens) if self._fused else HuggingFaceForward(self._model)
        token_ids, mask = left_pad(prompts, self._pad_id, device)
        group_of_row = torch.tensor([group for group, count in enumerate(counts) for _ in range(count)], device=device)
        logits = forward.prefill(token_ids, mask)
        if not bool(torch.isfinite(logits).all()):
            raise FloatingPointError("the policy's logits are not finite")
        logits = logits[group_of_row]
        forward.select(group_of_row)

        rows = torch.arange(len(group_of_row), device=device)  # which row of the result each row of the batch is
        tokens = torch.zeros(len(rows), max_new_tokens, dtype=torch.int32, device=device)
        log_probs = torch.zeros(len(rows), max_new_tokens, dtype=torch.float32, device=device)
        lengths = torch.full((len(rows),), max_new_tokens, device=device)
        ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
        running = torch.ones(len(rows), dtype=torch.bool, device=device)
        eos = torch.tensor(self._eos_ids, dtype=torch.long, device=device)
        check_every = 1 if device.type == "cpu" else CHECK_EVERY_ON_DEVICE
        for t in range(max_new_tokens):
            chosen, chosen_log_probs = sampler(logits, rows, t)
            tokens[rows, t] = chosen.int()
            log_probs[rows, t] = chosen_log_probs
            stops = torch.isin(chosen, eos) & running
            lengths[rows[stops]] = t + 1
            ended[rows[stops]] = True
            running &= ~stops
            if t + 1 == max_new_tokens:
                break
            if (t + 1) % check_every == 0:
                left = int(running.sum())
                if left == 0:
                    break
                if left <= COMPACT_BELOW * len(rows):
                    keep = running.nonzero()[:, 0]
                    forward.select(keep)
                    rows, running, chosen = rows[keep], running[keep], chosen[keep]
            logits = forward.step(chosen)
        return _collect(tokens, log_probs, lengths, ended, counts)


class _Sampler:
    """Inverse-CDF sampling from uniform numbers drawn beforehand, shape (rows, max_new_tokens)."""

    def __init__(self, noise: Tensor, temperature: float, top_p: float) -> None:
        self._noise, self._temperature, self._top_p = noise, temperature, top_p

    def __call__(self, logits: Tensor, rows: Tensor, t: int) -> tuple[Tensor, Tensor]:
        """Logits (n, V) of these rows at token t → token ids (n,), their log-probs (n,)."""
        logits = logits.float()
        if self._temperature not in (0.0, 1.0):
            logits = logits / self._temperature
        log_probs = torch.log_softmax(logits, dim=-1)
        greedy = self._temperature == 0.0
        chosen = log_probs.argmax(dim=-1) if greedy else sample(log_probs, self._noise[rows, t], self._top_p)
        return chosen, log_probs.gather(1, chosen[:, None])[:, 0]


def sample(log_probs: Tensor, uniform: Tensor, top_p: float = 1.0) -> Tensor:
    """One token per row by inverse CDF: log-probs (n, V), uniform numbers in [0, 1) of shape (n,) → ids (n,).

    With ``top_p`` < 1 only the smallest set of likeliest tokens whose probabilities reach ``top_p`` can be drawn, in
    proportion to their probabilities.
    """
    probs = log_probs.double().exp()
    order = None
    if top_p < 1.0:
        probs, order = probs.sort(dim=-1, descending=True)
        probs = probs * (probs.cumsum(-1) - probs < top_p)
    cdf = probs.cumsum(-1)
    total = cdf[:, -1:]
    # Below the total even when the product rounds up, so that the index is never one past a token that can be drawn.
    point = torch.minimum(uniform[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    index = torch.searchsorted(cdf, point, right=True)
    return (index if order is None else order.gather(1, index))[:, 0]


def left_pad(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device | str) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both of shape (n, longest prompt), padded on the left."""
    width = max(len(p) for p in prompts)
    ids = torch.tensor([[pad_id] * (width - len(p)) + list(p) for p in prompts])
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in prompts])
    return ids.to(device), mask.to(device)


def _collect(tokens: Tensor, log_probs: Tensor, lengths: Tensor, ended: Tensor, counts: Sequence[int]) -> list[list[Completion]]:
    ids, probs = tokens.cpu().numpy(), log_probs.cpu().numpy()
    sizes, stopped = lengths.tolist(), ended.tolist()
    flat = (Completion(ids[i, :n].copy(), probs[i, :n].copy(), not stopped[i]) for i, n in enumerate(sizes))
    return [[next(flat) for _ in range(count)] for count in counts]


def _chunks(counts: Sequence[int], max_rows: int | None) -> Iterator[tuple[int, int]]:
    """Ranges of prompts whose rollouts together are at most ``max_rows``; a larger group stands alone."""
    start = rows = 0
    for i, count in enumerate(counts):
        if max_rows is not None and i > start and rows + count > max_rows:
            yield start, i
            start, rows = i, 0
        rows += count
    if counts:
        yield start, len(counts)


def _check(prompts: Sequence[Sequence[int]], counts: Sequence[int], max_new_tokens: int, temperature: float, top_p: float) -> None:
    if len(counts) != len(prompts):
        raise ValueError(f"rollouts_per_prompt has {len(counts)} entries for {len(prompts)} prompts")
    if any(c < 1 for c in counts):
        raise ValueError("every prompt needs at least one rollout")
    empty = next((i for i, p in enumerate(prompts) if len(p) == 0), None)
    if empty is not None:
        raise ValueError(f"prompt {empty} is empty; a prompt needs at least one token")
    if max_new_tokens < 1 or temperature < 0 or not 0 < top_p <= 1:
        raise ValueError(f"need max_new_tokens ≥ 1, temperature ≥ 0 and 0 < top_p ≤ 1, got {max_new_tokens}, {temperature} and {top_p}")


@contextmanager
def eval_mode(model: Any) -> Iterator[None]:
    """Dropout off inside, the mode of every module as it was afterwards."""
    training = [m for m in model.modules() if m.training]
    if training:
        model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
