"""Settings of the attention predictor's training, apart from the training so that reading them does not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.predictor.attention import Variant, check_variant
from harness.predictor.network import Head

#: What the authors' repository does differently from the paper (or from what we do where both leave it open), in training.
VARIANTS: dict[Variant, dict[str, Any]] = {
    "paper": {},
    "code": {"head": "code", "reference_share": 0.25, "rollouts": None, "least_steps": 0},
}


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """The defaults are the paper's, or the repository's where the paper leaves something open; ``TrainingSettings.of("code")`` differs.

    units: None takes 896 for embeddings at least 512 wide, else twice the width (64 → 128). head: form of the calibration head,
    see :func:`harness.predictor.network.platt_coefficients`. reference_share: 0 (ours, where the paper is silent): every question is
    asked and serves as a reference, never as its own; above 0 (the repository, which does not give the share): so many of the questions
    are set aside as references and never asked, at least K of them where that leaves half of the questions. epochs: None takes 20, or
    as many as make ``least_steps`` optimizer steps where the table is small (``code`` takes 20). rollouts: draw the references' outcomes
    binomially at this number of rollouts, so that they are as coarse as they will be in use (not in the repository); None uses the
    rates as they are. standardize: bring every embedding dimension to mean 0 and variance 1 over the training questions first; in
    neither; steadies predictions on a language model's raw hidden states (docs/predictor.md).
    """

    units: int | None = None
    shared: bool = False
    dropout: float = 0.1
    head: Head = "paper"
    references: int = 256
    reference_share: float = 0.0
    batch_size: int = 256
    epochs: int | None = None
    least_steps: int = 400
    learning_rate: float = 1e-3
    rollouts: int | None = 8
    standardize: bool = False

    @classmethod
    def of(cls, variant: str, **chosen: Any) -> TrainingSettings:
        """The settings of ``paper`` or ``code``; those in ``chosen`` that are not None take their place."""
        given = {name: value for name, value in chosen.items() if value is not None}
        return cls(**{**VARIANTS[check_variant(variant)], **given})
