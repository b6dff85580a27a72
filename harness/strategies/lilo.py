"""LILO: probe candidates, train on the most learnable (Foster et al., arXiv 2502.12272)."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import PromptGroup, Selection


class LiloConfig(StrategyConfig):
    """The paper's values."""

    candidate_factor: int = Field(
        4, ge=1, description="candidates per selected question", json_schema_extra={"tune": {"choices": [2, 4, 8]}}
    )
    probe_rollouts: int = Field(8, ge=2, description="N_learn: rollouts per candidate", json_schema_extra={"tune": {"choices": [2, 4, 8]}})
    train_on_probes: bool = Field(False, description="train on the probe groups themselves, where they have the run's group size")


class Lilo(Selector[LiloConfig]):
    """4 B uniform candidates get 8 rollouts each; the B with the greatest p̂(1−p̂) are rolled out again and trained on.

    The paper counts steps and says that the probes are cheap only beside many training rollouts; ``train_on_probes`` saves
    the second roll-out, at the price of choosing groups by their own outcome. Ties are broken by the random order of the candidates.
    """

    Config = LiloConfig
    requires = frozenset({"probe"})

    def __init__(self, config: LiloConfig) -> None:
        super().__init__(config)
        self._chosen: list[PromptGroup] = []  # of this step alone; not part of the state

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        size = min(len(ctx.pool), self.config.candidate_factor * num_groups)
        groups = ctx.probe(ctx.rng.choice(len(ctx.pool), size=size, replace=False), self.config.probe_rollouts)
        rates = np.array([g.pass_rate for g in groups])
        best = np.argsort(-rates * (1 - rates), kind="stable")[:num_groups]
        self._chosen = [groups[i] for i in best]
        return Selection(np.array([g.question_id for g in self._chosen], dtype=np.int64), predicted_pass_rates=rates[best])

    def reuse(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        usable = self.config.train_on_probes and self.config.probe_rollouts == ctx.group_size
        return self._chosen[:num_groups] if usable else []


LILO = Composition(
    Lilo,
    summary="8 probe rollouts for 4B candidates, then the B with the greatest p(1−p)",
    source="arXiv 2502.12272",
    observes="probe rollouts of the step",
    acts="before the rollout: probe, then train",
    costs="32 probe rollouts per selected question",
)
