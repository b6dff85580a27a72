"""One sampled completion as the decoder returns it, and what a generator of completions looks like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, eq=False)
class Completion:
    """token_ids: shape (T,), the end token included if it was sampled. log_probs: shape (T,), log-softmax of
    logits/temperature over the whole vocabulary at each sampled token. truncated: stopped by the length limit.
    """

    token_ids: npt.NDArray[np.int32]
    log_probs: npt.NDArray[np.float32]
    truncated: bool


class Decode(Protocol):
    """Anything that samples completions the way :meth:`backends.common.decoder.Decoder.generate` does."""

    def __call__(
        self,
        prompts: Sequence[Sequence[int]],
        rollouts_per_prompt: int | Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        generator: torch.Generator,
    ) -> list[list[Completion]]:
        """``rollouts_per_prompt`` completions of every prompt, in order."""
        ...


def decode_text(tokenizer: Any, token_ids: Sequence[int] | npt.NDArray[np.int32]) -> str:
    """The text of a completion without special tokens, as the reward sees it."""
    return str(tokenizer.decode([int(t) for t in token_ids], skip_special_tokens=True))


def decode_texts(tokenizer: Any, rows: Sequence[npt.NDArray[np.int32]]) -> list[str]:
    """:func:`decode_text` of many completions in one call of the tokenizer."""
    return list(map(str, tokenizer.batch_decode([row.tolist() for row in rows], skip_special_tokens=True)))
