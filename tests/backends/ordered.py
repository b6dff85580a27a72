"""A test strategy that replays as no shipped one does: on-policy, at half its weight, and in the last updates of a batch."""

from __future__ import annotations

from harness.strategies.fair_replay import FairReplay
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, Correction


class OrderedReplay(FairReplay):
    @property
    def correction(self) -> Correction:
        return Correction(ratio="old", order="fresh-first", coefficient=0.5)


ORDERED = Composition(Uniform, OrderedReplay)
