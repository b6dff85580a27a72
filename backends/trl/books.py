"""What TRL's trainer counts during one training step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backends.common.ratios import RatioStatistics
from harness.step.driver import UpdateReport


@dataclass(slots=True)
class StepBooks:
    """Counts of one rank since the last step ended.

    ratios: of π_old/μ over the tokens of the loss. losses: of each micro-batch, divided by the number of micro-batches of an
    update. trained_tokens: completion tokens in the loss. forward_tokens: tokens of passes without a gradient.
    dropped_rows: degenerate rollouts left out of the loss.
    """

    ratios: RatioStatistics = field(default_factory=RatioStatistics)
    losses: list[float] = field(default_factory=list)
    trained_tokens: int = 0
    forward_tokens: int = 0
    dropped_rows: int = 0

    def of_all_ranks(self, processes: int) -> StepBooks:
        """The books of all ranks together, with the losses of this one; every rank calls it, and every rank gets it."""
        if processes == 1:
            return self
        import torch

        everyone: list[Any] = [None] * processes
        torch.distributed.all_gather_object(everyone, self)
        return StepBooks(
            RatioStatistics.merge([books.ratios for books in everyone]),
            self.losses,
            sum(books.trained_tokens for books in everyone),
            sum(books.forward_tokens for books in everyone),
            sum(books.dropped_rows for books in everyone),
        )

    def report(self, updates: int, group_size: int) -> UpdateReport:
        """The books as the driver takes them, after ``updates`` optimizer steps."""
        return UpdateReport(
            updates=updates,
            loss=sum(self.losses) / updates,
            trained_tokens=self.trained_tokens,
            forward_tokens=self.forward_tokens,
            dropped_groups=self.dropped_rows // group_size,
            importance_ratio=self.ratios.summary(),
            fresh_log_ratio=self.ratios.fresh,
            fresh_mean_log_ratio=self.ratios.fresh_mean,
        )
