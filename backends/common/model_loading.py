"""Policy and tokenizer from a folder or the hub."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from harness.errors import UserError, did_you_mean

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in evaluation mode, its tokenizer, and the token ids that end a completion."""

    model: Any
    tokenizer: Any
    eos_ids: tuple[int, ...]
    pad_id: int


def load_model(source: str, *, revision: str | None = None, precision: str = "float32", device: str = "cpu") -> LoadedModel:
    """Model and tokenizer from a folder or a hub name; UserError in one sentence if they cannot be loaded."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    if precision not in DTYPES:
        raise UserError(f"unknown precision {precision!r}{did_you_mean(precision, DTYPES)} (known: {', '.join(DTYPES)})")
    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(source, revision=revision, dtype=DTYPES[precision])
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"cannot load the model {source!r}: {reason}") from error
    return LoadedModel(model.to(device).eval(), tokenizer, eos_ids(model, tokenizer), pad_id(tokenizer))


def load_tokenizer(source: str, *, revision: str | None = None) -> tuple[Any, tuple[int, ...]]:
    """Tokenizer and the token ids that end a completion, without the weights; UserError in one sentence if they cannot be loaded."""
    from transformers import AutoTokenizer, GenerationConfig

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, revision=revision, padding_side="left")
    except (OSError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"cannot load the tokenizer of {source!r}: {reason}") from error
    try:
        configured = GenerationConfig.from_pretrained(source, revision=revision)
    except OSError:  # a model without a generation configuration ends where its tokenizer says
        configured = GenerationConfig()
    return tokenizer, _ends(configured, tokenizer)


def eos_ids(model: Any, tokenizer: Any) -> tuple[int, ...]:
    """Every token id that ends a completion: the generation configuration's and the tokenizer's."""
    return _ends(model.generation_config, tokenizer)


def _ends(generation: Any, tokenizer: Any) -> tuple[int, ...]:
    configured = getattr(generation, "eos_token_id", None)
    found = configured if isinstance(configured, (list, tuple)) else [configured]
    return tuple(sorted({int(i) for i in (*found, tokenizer.eos_token_id) if i is not None}))


def pad_id(tokenizer: Any) -> int:
    """The padding token, or the end token where a tokenizer has none."""
    chosen = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if chosen is None:
        raise UserError("the model's tokenizer has neither a padding nor an end token; Halfway cannot batch its prompts")
    return int(chosen)
