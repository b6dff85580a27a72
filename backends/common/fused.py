"""Incremental forward pass of Llama- and Qwen2-style models straight from their weights.

At 0.1M parameters most of a decoding step is spent outside the matrix products: module calls, mask construction and
the growing of caches. Here query, key and value are one product, so are gate and up, keys and values live in one
buffer that is written in place, and the rotary table is computed once per call. The result agrees with the module's
own forward to 1e-5 in float32; architectures it does not know go through the module instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

#: The cache grows by at least this many positions at a time.
GROW_BY = 64
_ARCHITECTURES = ("LlamaForCausalLM", "Qwen2ForCausalLM")
_STATIC_ROPE = ("default", "linear", "llama3", "yarn")


def supports_fused(model: Any) -> bool:
    """Whether the fused pass computes exactly what this model does: a plain Llama or Qwen2 with plain linear layers."""
    if type(model).__name__ not in _ARCHITECTURES or not type(model).__module__.startswith("transformers.models."):
        return False
    config = model.config
    if config.hidden_act != "silu" or model.model.rotary_emb.rope_type not in _STATIC_ROPE:
        return False
    if any(kind != "full_attention" for kind in getattr(config, "layer_types", None) or ()):
        return False
    linears = [model.lm_head]
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        linears += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj, mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    # Adapters and quantised layers are other classes; they keep the module's own forward.
    return all(type(linear) is nn.Linear for linear in linears) and len({p.dtype for p in model.parameters()}) == 1


@dataclass(frozen=True, slots=True)
class _Layer:
    norm_in: Tensor
    qkv: tuple[Tensor, Tensor | None]
    out: tuple[Tensor, Tensor | None]
    norm_mlp: Tensor
    gate_up: tuple[Tensor, Tensor | None]
    down: tuple[Tensor, Tensor | None]


class FusedForward:
    """One decoding call of one model; weights are read when it is made.

    Keys and values: one tensor per layer of shape (2, rows, key-value heads, capacity, head width), filled up to ``_length``.
    """

    def __init__(self, model: Any, max_new_tokens: int) -> None:
        config = model.config
        self._max_new_tokens = max_new_tokens
        self._heads, self._kv_heads = config.num_attention_heads, config.num_key_value_heads
        self._head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._eps = config.rms_norm_eps
        self._embed, self._norm = model.model.embed_tokens.weight, model.model.norm.weight
        self._head = (model.lm_head.weight, model.lm_head.bias)
        self._rotary = model.model.rotary_emb
        self._layers = [_read(layer) for layer in model.model.layers]
        self._cache: list[Tensor] = []
        self._length = self._limit = 0
        self._mask = self._positions = self._cos = self._sin = self._embed

    def prefill(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Left-padded prompts and mask, shapes (n, P) → logits at the last position (n, V)."""
        rows, width = token_ids.shape
        hidden = functional.embedding(token_ids, self._embed)
        self._limit = width + self._max_new_tokens
        capacity = min(self._limit, width + GROW_BY)
        shape = (2, rows, self._kv_heads, capacity, self._head_dim)
        self._cache = [torch.zeros(shape, dtype=hidden.dtype, device=hidden.device) for _ in self._layers]
        # Positions that are not written yet are masked out by slicing, padding on the left by this mask.
        self._mask = torch.ones(rows, 1, 1, self._limit, dtype=torch.bool, device=hidden.device)
        self._mask[:, 0, 0, :width] = mask.bool()
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        self._positions = positions[:, -1]
        cos, sin = self._rotary(hidden, torch.arange(self._limit, device=hidden.device)[None])
        self._cos, self._sin = cos[0], sin[0]
        causal = torch.ones(width, width, dtype=torch.bool, device=hidden.device).tril()
        # A padding position attends to itself alone: a row of an attention matrix without any key would be NaN.
        eye = torch.eye(width, dtype=torch.bool, device=hidden.device)
        return self._forward(hidden, positions, (causal & self._mask[..., :width]) | eye)

    def select(self, rows: Tensor) -> None:
        """Keep, drop or repeat rows of the batch."""
        self._cache = [cache.index_select(1, rows) for cache in self._cache]
        self._mask, self._positions = self._mask[rows], self._positions[rows]

    def step(self, token_ids: Tensor) -> Tensor:
        """The next token of every row (n,) → logits (n, V)."""
        if self._length == self._cache[0].shape[3]:
            self._grow()
        self._positions = self._positions + 1
        hidden = functional.embedding(token_ids[:, None], self._embed)
        return self._forward(hidden, self._positions[:, None], self._mask[..., : self._length + 1])

    def _forward(self, hidden: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """Hidden states (n, t, width) of the new positions → logits of the last one (n, V); fills the cache."""
        cos, sin = self._cos[positions][:, None], self._sin[positions][:, None]
        for layer, cache in zip(self._layers, self._cache, strict=True):
            hidden = hidden + self._attend(layer, cache, self._rms(hidden, layer.norm_in), cos, sin, mask)
            gate, up = functional.linear(self._rms(hidden, layer.norm_mlp), *layer.gate_up).chunk(2, dim=-1)
            hidden = hidden + functional.linear(functional.silu(gate) * up, *layer.down)
        self._length += hidden.shape[1]
        return functional.linear(self._rms(hidden[:, -1], self._norm), *self._head)

    def _attend(self, layer: _Layer, cache: Tensor, hidden: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        rows, new, _ = hidden.shape
        heads, kv_heads = self._heads, self._kv_heads
        qkv = functional.linear(hidden, *layer.qkv).view(rows, new, heads + 2 * kv_heads, self._head_dim).transpose(1, 2)
        rotated = qkv[:, : heads + kv_heads]
        half = self._head_dim // 2
        swapped = torch.cat((-rotated[..., half:], rotated[..., :half]), dim=-1)
        rotated = rotated * cos + swapped * sin
        end = self._length + new
        cache[0, :, :, self._length : end] = rotated[:, heads:]
        cache[1, :, :, self._length : end] = qkv[:, heads + kv_heads :]
        attended = functional.scaled_dot_product_attention(
            rotated[:, :heads], cache[0, :, :, :end], cache[1, :, :, :end], attn_mask=mask, enable_gqa=heads != kv_heads
        )
        return functional.linear(attended.transpose(1, 2).reshape(rows, new, heads * self._head_dim), *layer.out)

    def _rms(self, hidden: Tensor, weight: Tensor) -> Tensor:
        if hidden.dtype == torch.float32:
            return functional.rms_norm(hidden, weight.shape, weight, self._eps)
        wide = hidden.float()  # as the module does it: normalise in float32, scale in the model's precision
        return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self._eps)).to(hidden.dtype)

    def _grow(self) -> None:
        capacity = self._cache[0].shape[3]
        more = min(max(GROW_BY, capacity), self._limit - capacity)
        self._cache = [functional.pad(cache, (0, 0, 0, more)) for cache in self._cache]


def _read(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        layer.input_layernorm.weight,
        _join(attention.q_proj, attention.k_proj, attention.v_proj),
        (attention.o_proj.weight, attention.o_proj.bias),
        layer.post_attention_layernorm.weight,
        _join(mlp.gate_proj, mlp.up_proj),
        (mlp.down_proj.weight, mlp.down_proj.bias),
    )


def _join(*linears: Any) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([linear.weight for linear in linears])
    if all(linear.bias is None for linear in linears):
        return weight, None
    biases = [linear.bias if linear.bias is not None else linear.weight.new_zeros(linear.out_features) for linear in linears]
    return weight, torch.cat(biases)
