"""Loading a trained predictor of any kind from its folder."""

from __future__ import annotations

from pathlib import Path

from harness.errors import UserError
from harness.predictor.artifact import load_artifact
from harness.predictor.base import DifficultyPredictor
from harness.predictor.ensemble import EnsemblePredictor


def load_predictor(path: Path | str, embedder: str | None = None) -> DifficultyPredictor:
    """The predictor in folder ``path``, of whatever kind it is."""
    from harness.predictor.attention import AttentionPredictor
    from harness.predictor.irt import IrtPredictor

    kind = load_artifact(path, embedder=embedder)[0]["kind"]
    if kind == AttentionPredictor.kind:
        return AttentionPredictor.load(path, embedder=embedder)
    if kind == IrtPredictor.kind:
        return IrtPredictor.load(path, embedder=embedder)
    if kind == "ensemble":
        return load_ensemble(path, embedder=embedder)
    raise UserError(f"{path} holds a predictor of unknown kind {kind!r}; upgrade halfway")


def load_ensemble(path: Path | str, embedder: str | None = None) -> EnsemblePredictor:
    """The ensemble saved in folder ``path`` with all its members."""
    description, _ = load_artifact(path, EnsemblePredictor.kind, embedder)
    folders = [Path(path) / name for name in description["members"]]
    return EnsemblePredictor([load_predictor(folder, embedder or description["embedder"]) for folder in folders])
