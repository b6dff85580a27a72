"""Question embeddings from a frozen causal language model: the mean of its last hidden states (DOTS, arXiv 2506.05316, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from backends.common.decoder import eval_mode


@torch.no_grad()
def embed_prompts(model: Any, prompts: Sequence[Sequence[int]], batch_size: int = 256, layer: int = -1) -> npt.NDArray[np.float32]:
    """Mean of the hidden states over the tokens of each prompt, shape (n, width), in the order given.

    layer: which hidden states, −1 for the last (the paper's), 0 for those that enter the first layer. Prompts of equal
    length share a batch, so nothing is padded and a row does not depend on the others.
    """
    by_length: dict[int, list[int]] = {}
    for i, prompt in enumerate(prompts):
        if len(prompt) == 0:
            raise ValueError(f"prompt {i} is empty; it has no embedding")
        by_length.setdefault(len(prompt), []).append(i)
    result = np.zeros((len(prompts), model.config.hidden_size), dtype=np.float32)
    with eval_mode(model):
        for rows in by_length.values():
            for start in range(0, len(rows), batch_size):
                chosen = rows[start : start + batch_size]
                token_ids = torch.tensor([list(prompts[i]) for i in chosen], device=model.device)
                hidden = model.base_model(input_ids=token_ids, use_cache=False, output_hidden_states=True).hidden_states[layer]
                result[chosen] = hidden.float().mean(dim=1).cpu().numpy()
    return result
