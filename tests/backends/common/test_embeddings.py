"""Embeddings are the mean last hidden state of each prompt, whatever shares its batch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from backends.common.embeddings import embed_prompts


@pytest.fixture(scope="module")
def model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes = {"vocab_size": 12, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(**sizes)).train()


def test_mean_of_the_last_hidden_states(model: LlamaForCausalLM) -> None:
    """Equal to one prompt at a time through the module (after its final norm), float32, in order, for any batch size."""
    prompts = [[1, 2, 3], [4], [5, 6, 7], [8, 9], [3, 2, 1]]
    ours = embed_prompts(model, prompts)
    assert ours.shape == (5, 16)
    assert ours.dtype == np.float32
    assert model.training
    model.eval()
    for prompt, row in zip(prompts, ours, strict=True):
        with torch.no_grad():
            hidden = model(input_ids=torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0]
        np.testing.assert_allclose(row, hidden.mean(0).numpy(), atol=1e-6)
    model.train()
    np.testing.assert_allclose(embed_prompts(model, prompts, batch_size=1), ours, atol=1e-6)


def test_no_prompts_and_empty_prompts(model: LlamaForCausalLM) -> None:
    """No prompts are an empty array of the right width; an empty prompt is an error that says which."""
    assert embed_prompts(model, []).shape == (0, 16)
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        embed_prompts(model, [[1], []])
