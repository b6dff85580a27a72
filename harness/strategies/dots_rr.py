"""DOTS + RR: both halves of the paper together (arXiv 2506.05316)."""

from __future__ import annotations

from harness.strategies.dots import Dots
from harness.strategies.fifo import FifoReplay
from harness.strategy import Composition

DOTS_RR = Composition(
    Dots,
    FifoReplay,
    summary="DOTS selection, FIFO rollout replay",
    source="arXiv 2506.05316",
    observes="pass rates of K random references, embeddings; stored groups",
    acts="before the rollout; in the batch",
    costs="as dots; saves the rollouts it replays",
)
