"""Turning questions into embeddings: ``tfidf`` (offline), ``hf:MODEL``, ``smollm2``; cached on disk by content.

``policy``, the run's own frozen starting policy, is embedded by the backend (``StepContext.embed``); outside a run its
checkpoint folder serves as ``hf:FOLDER``.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from harness.errors import UserError, did_you_mean
from harness.predictor.artifact import load_artifact, save_artifact
from harness.predictor.progress import Counter
from harness.predictor.questions import question_key
from harness.predictor.text_features import TextFeatures
from harness.types import FloatArray

EMBEDDERS = ("tfidf", "hf:MODEL", "smollm2")
_TEXT_FEATURES_FOLDER = "embedder"
_CACHE_BLOCK = 512
_REDUCED = ("bfloat16", "float16")


class Embedder(Protocol):
    """``id`` names model and revision (and is in the predictor artifact); ``embed`` is deterministic per text."""

    @property
    def id(self) -> str:
        """For instance ``smollm2:0.1.2`` or ``tfidf:3f2a…``."""
        ...

    def embed(self, texts: Sequence[str], progress: Counter | None = None) -> FloatArray:
        """Embeddings in the order given, shape (n, width), float32."""
        ...


@dataclass(frozen=True, slots=True)
class TextEmbedder:
    """``tfidf``: hashed TF-IDF + SVD + counts; its id is a hash of what was fitted."""

    features: TextFeatures

    @property
    def id(self) -> str:
        """``tfidf:`` and the content hash of the fitted arrays."""
        digest = hashlib.sha256()
        for name in sorted(self.features.arrays):
            digest.update(name.encode() + self.features.arrays[name].tobytes())
        return f"tfidf:{digest.hexdigest()[:16]}"

    def embed(self, texts: Sequence[str], progress: Counter | None = None) -> FloatArray:
        """See ``Embedder``."""
        return self.features.transform(texts, progress)

    def save(self, artifact: Path) -> None:
        """Write the fitted state into a predictor's folder, where ``embedder_of`` finds it."""
        save_artifact(artifact / _TEXT_FEATURES_FOLDER, {"kind": "tfidf", "embedder": self.id}, self.features.arrays)


def make_embedder(
    name: str,
    texts: Sequence[str],
    *,
    revision: str | None = None,
    device: str = "auto",
    dtype: str = "float32",
    progress: Counter | None = None,
) -> Embedder:
    """The embedder called ``name``; ``tfidf`` is fitted on ``texts``. Raises UserError for an unknown name or a missing extra."""
    if name == "tfidf":
        return TextEmbedder(TextFeatures.fit(texts, progress=progress))
    if name == "policy":
        raise UserError("the embedder 'policy' exists inside a run only; give the starting checkpoint's folder as hf:FOLDER")
    if name == "smollm2" or name.startswith("hf:"):
        from harness.predictor.lab.language_model import load_hf, load_smollm2

        return load_smollm2(device, dtype) if name == "smollm2" else load_hf(name.removeprefix("hf:"), revision, device, dtype)
    raise UserError(f"unknown embedder {name!r}{did_you_mean(name, ('tfidf', 'smollm2', 'policy'))} (known: {', '.join(EMBEDDERS)})")


def embedder_of(artifact: Path, *, device: str = "auto") -> Embedder:
    """The embedder that a predictor artifact was trained with, ready for other questions."""
    name = str(load_artifact(artifact)[0]["embedder"])
    family, _, rest = name.partition(":")
    if family == "tfidf":
        _, arrays = load_artifact(artifact / _TEXT_FEATURES_FOLDER, "tfidf", name)
        return TextEmbedder(TextFeatures(arrays))
    if family == "policy":
        raise UserError(f"{artifact} was trained on the embeddings of a run's own policy and can be used inside such a run only")
    dtype = next((d for d in _REDUCED if rest.endswith(f"+{d}")), "float32")
    model, _, revision = rest.removesuffix(f"+{dtype}").rpartition("@")
    made = make_embedder(f"hf:{model}" if family == "hf" else family, (), revision=revision or None, device=device, dtype=dtype)
    if made.id != name:
        raise UserError(f"{artifact} was trained on embeddings of {name!r}, but this machine has {made.id!r}")
    return made


def embed_cached(embedder: Embedder, texts: Sequence[str], cache: Path | None, progress: Counter | None = None) -> FloatArray:
    """Embeddings of ``texts``, shape (n, width), float32; what ``cache`` already holds is not computed again.

    Entries are found by embedder id and question text. New ones are appended in blocks of 512 questions, each a file of its
    own moved into place whole, so an interrupted embedding goes on where it stopped and several processes may share a cache.
    """
    missing_text = next((i for i, text in enumerate(texts) if not text.strip()), None)
    if missing_text is not None:
        raise UserError(f"question {missing_text} is empty; every question needs a text")
    if cache is None or isinstance(embedder, TextEmbedder):  # quicker than reading them back
        return embedder.embed(texts, progress)
    folder = cache / hashlib.sha256(embedder.id.encode()).hexdigest()[:20]
    found = _read_cache(folder)
    keys = [question_key(t) for t in texts]
    # by length: blocks then pad little, and identical texts are embedded once
    missing = sorted({k: t for k, t in zip(keys, texts, strict=True) if k not in found}.items(), key=lambda item: len(item[1]))
    for start in range(0, len(missing), _CACHE_BLOCK):
        block = missing[start : start + _CACHE_BLOCK]
        vectors = embedder.embed([t for _, t in block])
        _write_block(folder, [k for k, _ in block], vectors)
        found.update(zip([k for k, _ in block], vectors, strict=True))
        if progress is not None:
            progress(start + len(block), len(missing))
    return np.stack([found[k] for k in keys])


def _read_cache(folder: Path) -> dict[str, FloatArray]:
    found: dict[str, FloatArray] = {}
    for file in sorted(folder.glob("*.npz")):
        try:
            with np.load(file, allow_pickle=False) as block:
                found.update(zip(block["keys"].tolist(), block["vectors"], strict=True))
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"cannot read the embedding cache file {file} ({error}); delete it") from None
    return found


def _write_block(folder: Path, keys: list[str], vectors: FloatArray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    np.savez(buffer, keys=np.array(keys), vectors=vectors)
    name = hashlib.sha256("".join(keys).encode()).hexdigest()[:20]
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    temporary.write_bytes(buffer.getvalue())
    temporary.replace(folder / f"{name}.npz")
