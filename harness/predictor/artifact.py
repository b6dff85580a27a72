"""A trained predictor on disk: ``predictor.json`` (what it is) beside ``weights.safetensors`` (its arrays). No pickle.

The JSON is written last and moved into place, so a folder with a ``predictor.json`` is complete.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.errors import UserError
from harness.files import write_bytes, write_text

#: 2: the attention network of the authors' code (no activation after the last layer; its description names the calibration head).
SCHEMA = 2
JSON_NAME = "predictor.json"
WEIGHTS_NAME = "weights.safetensors"

Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def save_artifact(out: Path, description: Mapping[str, Any], arrays: Arrays) -> None:
    """Write ``arrays`` and ``description`` (JSON values, with at least ``kind`` and ``embedder``) into folder ``out``."""
    from safetensors.numpy import save

    out.mkdir(parents=True, exist_ok=True)
    (out / JSON_NAME).unlink(missing_ok=True)
    write_bytes(out / WEIGHTS_NAME, save({k: np.ascontiguousarray(v) for k, v in arrays.items()}))
    write_text(out / JSON_NAME, json.dumps({"schema": SCHEMA, **description}, indent=2, sort_keys=True) + "\n")


def artifact_digest(path: Path | str) -> str:
    """16 hex digits of the SHA-256 over the names and contents of an artifact's files; empty where there is no folder."""
    folder = Path(path)
    if not folder.is_dir():
        return ""
    content = hashlib.sha256()
    for file in sorted(p for p in folder.iterdir() if p.is_file()):
        data = file.read_bytes()
        content.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return content.hexdigest()[:16]


def load_artifact(path: Path | str, kind: str | None = None, embedder: str | None = None) -> tuple[dict[str, Any], Arrays]:
    """Description and arrays of a predictor artifact.

    kind, embedder: what the caller needs; None accepts any. Raises UserError where the folder is missing, broken, written
    by a newer version, of another kind, or made for another embedder.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    folder = Path(path)
    file = folder / JSON_NAME
    if not file.is_file():
        raise UserError(f"no predictor in {folder} ({JSON_NAME} is missing); make one with 'halfway predictor train'")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        schema, found_kind, found_embedder = description["schema"], description["kind"], description["embedder"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file} is not a predictor description ({error}); train the predictor again") from None
    if schema not in range(1, SCHEMA + 1):
        raise UserError(f"{file} has schema {schema}, but this version reads up to {SCHEMA}; upgrade halfway or train again")
    if kind is not None and found_kind != kind:
        raise UserError(f"{folder} holds a predictor of kind {found_kind!r}, but {kind!r} is needed")
    if embedder is not None and found_embedder != embedder:
        raise UserError(
            f"the predictor in {folder} was trained on embeddings of {found_embedder!r}, but the questions are embedded by "
            f"{embedder!r}; train a predictor for this embedder or choose that one"
        )
    try:
        return description, load_file(folder / WEIGHTS_NAME)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot read {folder / WEIGHTS_NAME} ({error}); train the predictor again") from None
