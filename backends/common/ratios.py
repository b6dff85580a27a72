"""The importance ratio ρ = π_old/μ of replayed and of stale fresh tokens: which correction applies, its cap, statistics of a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from harness.errors import UserError
from harness.spec import RunSpec
from harness.strategy import Correction, Strategy
from harness.types import RATIO_EDGES


def correction_of(strategy: Strategy) -> Correction | None:
    """How a strategy's replayed rollouts enter the loss; None for a strategy that declares no use of behaviour log-probs."""
    return strategy.correction if "behaviour_log_probs" in strategy.requires else None


def check_correction(spec: RunSpec, correction: Correction | None) -> None:
    """Raise UserError for a correction of replayed rollouts that the run's loss does not define; None: nothing is corrected."""
    by_token = (
        correction is not None and correction.ratio != "old" and (correction.clip_center == "old" or correction.weight_cap is not None)
    )
    if spec.algorithm.ratio_level == "sequence" and by_token:
        raise UserError(
            f"strategy {spec.strategy.label!r} weights replayed rollouts token by token, and ratio_level = 'sequence' knows one ratio per "
            "completion; use clip_center = 'one' without weight_cap, or ratio_level = 'token'"
        )


def capped(log_ratio: torch.Tensor, correction: Correction) -> torch.Tensor:
    """log of the weight that a correction gives to tokens: log ρ, bounded by its cap; the shape stays."""
    return log_ratio if correction.weight_cap is None else log_ratio.clamp(max=math.log(correction.weight_cap))


@dataclass(slots=True)
class RatioStatistics:
    """Sums over one training step of ρ = π_old/μ on replayed tokens, and the fresh tokens' largest and mean |log ρ|."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    largest: float = 0.0
    smallest: float = field(default=float("inf"))
    fresh: float | None = None
    classes: list[int] = field(default_factory=lambda: [0] * (len(RATIO_EDGES) + 1))
    fresh_count: int = 0
    fresh_total: float = 0.0

    def add(self, log_ratio: torch.Tensor, replayed: torch.Tensor, fresh: torch.Tensor) -> None:
        """Count tokens. log_ratio: log ρ; replayed, fresh: which of its elements are such tokens, booleans of the same shape."""
        if bool(fresh.any()):
            off = log_ratio[fresh].abs()
            self.fresh = float(off.max()) if self.fresh is None else max(self.fresh, float(off.max()))
            self.fresh_count += off.numel()
            self.fresh_total += float(off.double().sum())
        if bool(replayed.any()):
            ratio = log_ratio[replayed].double().exp()
            self.count += ratio.numel()
            self.total += float(ratio.sum())
            self.squares += float(ratio.square().sum())
            self.largest = max(self.largest, float(ratio.max()))
            self.smallest = min(self.smallest, float(ratio.min()))
            edges = torch.tensor(RATIO_EDGES, dtype=ratio.dtype, device=ratio.device)
            found = torch.bucketize(ratio, edges, right=True).bincount(minlength=len(self.classes))
            self.classes = [a + b for a, b in zip(self.classes, found.tolist(), strict=True)]

    @classmethod
    def merge(cls, parts: Sequence[RatioStatistics]) -> RatioStatistics:
        """Statistics of several ranks as one."""
        fresh = [p.fresh for p in parts if p.fresh is not None]
        return cls(
            sum(p.count for p in parts),
            sum(p.total for p in parts),
            sum(p.squares for p in parts),
            max(p.largest for p in parts),
            min(p.smallest for p in parts),
            max(fresh) if fresh else None,
            [sum(counts) for counts in zip(*(p.classes for p in parts), strict=True)],
            sum(p.fresh_count for p in parts),
            sum(p.fresh_total for p in parts),
        )

    @property
    def fresh_mean(self) -> float | None:
        """Mean |log ρ| of the fresh tokens, None without any."""
        return self.fresh_total / self.fresh_count if self.fresh_count else None

    def summary(self) -> dict[str, Any]:
        """mean, min, max and effective sample share (Σρ)²/(n Σρ²) of the uncapped ratio, and counts between ``RATIO_EDGES``.

        Empty if nothing was replayed.
        """
        if not self.count:
            return {}
        return {
            "mean": self.total / self.count,
            "min": self.smallest,
            "max": self.largest,
            "effective_share": self.total**2 / (self.count * self.squares) if self.squares else 0.0,
            "tokens": float(self.count),
            "classes": self.classes,
        }
