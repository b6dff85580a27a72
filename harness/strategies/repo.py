"""RePO: replay of a question's own earlier rollouts, by retrieval rules (arXiv 2506.09340; repository SihengLi99/RePO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field, model_validator

from harness.step.buffers import QuestionBuffer
from harness.strategies.buffered import ReplayConfig, WeightedReplay
from harness.strategies.pods import max_variance_subset
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, Correction, StepContext
from harness.types import AdvantageScope, PromptGroup, Rollout


class RepoConfig(ReplayConfig):
    """The settings of the repository by its names, with the values of its training script."""

    clip_center: Literal["old", "one"] = Field(
        "one", description="one: clip π/μ around 1 (repository); old: clip π/π_old around 1, times the detached weight π_old/μ"
    )
    retrieval: Literal["all", "random_k", "recent_k", "highest_k", "max_variance_k"] = Field(
        "highest_k",
        description="which stored rollouts of a question come back",
        json_schema_extra={"tune": {"choices": ["random_k", "recent_k", "highest_k", "max_variance_k"]}},
    )
    num_replays: int = Field(8, ge=1, description="k", json_schema_extra={"tune": {"choices": [2, 4, 8]}})
    min_cache_to_replay: int = Field(16, ge=1, description="stored rollouts a question needs before any comes back")
    max_cache_size: int = Field(16, ge=1, description="rollouts kept per question, the latest")
    adv_norm: Literal["split", "mixed"] = Field(
        "split", description="replayed rollouts have a baseline of their own, or one with the fresh ones"
    )
    off_policy_loss_coef: float = Field(1.0, gt=0, description="λ", json_schema_extra={"tune": {"low": 0.1, "high": 1.0}})
    aggregates: Literal["two", "one"] = Field(
        "two",
        description="two: L_on and L_off are token means of their own (the repository's bnpo loss); one: one mean over all rollouts, "
        "which the sequence mean of its script (grpo loss) comes to; take it with a loss_aggregation by sequences",
    )

    @model_validator(mode="after")
    def _reachable(self) -> RepoConfig:
        if self.min_cache_to_replay > self.max_cache_size:
            raise ValueError(f"min_cache_to_replay = {self.min_cache_to_replay} is more than max_cache_size = {self.max_cache_size}")
        return self


class Repo(WeightedReplay[RepoConfig, QuestionBuffer]):
    """L = L_on + λ·L_off: every fresh group of a question rolled out before is joined by stored rollouts of that question.

    A batch of T tokens, T_on of them fresh, has the loss weights T/T_on on fresh and T/T_off on replayed rollouts, which turns the
    trainer's mean over all tokens into a mean of each kind. With several updates per batch each has its own T_on and T_off, which these
    weights meet on average.
    """

    Config = RepoConfig
    requires = frozenset({"behaviour_log_probs", "group_sizes", "partial_groups", "mixed_groups", "loss_weights"})
    version = 2

    def __init__(self, config: RepoConfig) -> None:
        super().__init__(config)
        self._buffer = QuestionBuffer(config.max_cache_size)

    @property
    def correction(self) -> Correction:
        return Correction(self.config.clip_center, self.config.weight_cap, self.config.off_policy_loss_coef)

    @property
    def advantage_scope(self) -> AdvantageScope:
        return "all"

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        fresh: list[PromptGroup] = []
        replayed: list[PromptGroup] = []
        joined: set[int] = set()  # refills may meet a question again: its stored rollouts come once
        for group in groups:
            stored = self._buffer.of(group.question_id)
            if group.source == "replayed" or group.question_id in joined or len(stored) < self.config.min_cache_to_replay:
                (replayed if group.source == "replayed" else fresh).append(group)
                continue
            joined.add(group.question_id)
            found = [stored[i] for i in self._retrieve(stored, ctx)]
            if self.config.adv_norm == "mixed":
                # Two groups that are the same but for what is trained on: one baseline, two loss weights.
                both = group.with_stored(found)
                fresh.append(both.train_on(group.trained or range(group.size)))
                replayed.append(both.train_on(range(group.size, both.size)))
            else:
                fresh.append(group)
                replayed.append(PromptGroup(group.question_id, tuple(found), source="replayed"))
        if self.config.aggregates == "one" or not replayed:
            return [*fresh, *replayed]
        tokens = [sum(r.num_tokens for g in kind for r in g.trained_rollouts) for kind in (fresh, replayed)]
        return [
            replace(g, loss_weight=g.loss_weight * sum(tokens) / own)
            for kind, own in zip((fresh, replayed), tokens, strict=True)
            for g in kind
        ]

    def _retrieve(self, stored: Sequence[Rollout], ctx: StepContext) -> list[int]:
        size, rule = min(self.config.num_replays, len(stored)), self.config.retrieval
        rewards = np.array([r.reward for r in stored])
        if rule == "all":
            return list(range(len(stored)))
        if rule == "random_k":
            return sorted(ctx.rng.choice(len(stored), size=size, replace=False).tolist())
        if rule == "recent_k":
            return list(range(len(stored) - size, len(stored)))
        if rule == "highest_k":
            return sorted(np.argsort(-rewards, kind="stable")[:size].tolist())
        return max_variance_subset(rewards, size, prefer="largest")

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        for group in groups:
            if group.source == "fresh":
                self._buffer.add(group.rollouts)


REPO = Composition(
    Uniform,
    Repo,
    summary="every question's own earlier rollouts beside its fresh ones",
    source="arXiv 2506.09340",
    observes="stored rollouts by question",
    acts="in the batch: extra rollouts",
    costs="training on up to twice as many rollouts",
)
