"""Stored successes put into fresh groups: RLEP (arXiv 2507.07451) and ARPO (arXiv 2505.16282)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeVar

from pydantic import Field

from harness.step.buffers import QuestionBuffer
from harness.strategies.buffered import BufferedReplay
from harness.strategies.uniform import Uniform
from harness.strategy import Composition, Correction, StepContext, StrategyConfig
from harness.types import PromptGroup


class SuccessConfig(StrategyConfig):
    """Which rollouts are successes worth keeping, and how they enter the loss; ARPO's values."""

    success_reward: float = Field(0.1, description="rollouts with a greater reward are kept")
    successes_per_question: int = Field(
        8, ge=1, description="successes kept per question", json_schema_extra={"tune": {"choices": [2, 4, 8]}}
    )
    ratio: Literal["old", "behaviour"] = Field(
        "old",
        description="old (both repositories): stored successes count as sampled by the policy at the start of the update, whose log-probs "
        "are computed anew; behaviour: weighted with π_old/μ",
    )


SuccessT = TypeVar("SuccessT", bound=SuccessConfig, covariant=True)


class SuccessReplay(BufferedReplay[SuccessT, QuestionBuffer]):
    """Keeps every question's last successes; what is done with them is the subclass's."""

    version = 2

    def __init__(self, config: SuccessT) -> None:
        super().__init__(config)
        self._buffer = QuestionBuffer(self.config.successes_per_question)

    @property
    def correction(self) -> Correction:
        return Correction(ratio=self.config.ratio)

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        return [g if g.source == "replayed" else self.inject(g, ctx) for g in groups]

    def inject(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        """The fresh group with stored successes of its question, or as it is."""
        raise NotImplementedError(f"{type(self).__name__} must define inject()")

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        for group in groups:
            if group.source == "fresh":
                self._buffer.add([r for r in group.rollouts if r.reward > self.config.success_reward])


class RlepConfig(SuccessConfig):
    """Two replayed successes per group are the paper's."""

    success_reward: float = Field(0.99, description="rollouts with a greater reward are kept: those verified as right")
    injected: int = Field(2, ge=1, description="successes added to every group", json_schema_extra={"tune": {"choices": [1, 2, 4]}})


class Rlep(SuccessReplay[RlepConfig]):
    """Each group is G fresh rollouts and two stored successes of its question; one baseline over both (``kept``).

    The paper collects the successes in a run of 400 steps and then starts again from the first policy, without counting that
    run. Here they are the run's own, from earlier visits of the question: nothing is free, and nothing comes before a second visit.
    """

    Config = RlepConfig
    requires = frozenset({"behaviour_log_probs", "group_sizes", "mixed_groups"})

    def inject(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        stored = self._buffer.of(group.question_id)
        if not stored:
            return group
        chosen = ctx.rng.permutation(len(stored))[: self.config.injected]
        return group.with_stored([stored[i] for i in chosen])


class ArpoConfig(SuccessConfig):
    """The repository's trigger."""

    below_std: float = Field(0.05, gt=0, description="a group whose rewards deviate less …")
    below_mean: float = Field(0.2, gt=0, description="… and whose mean is lower gets a success")


class Arpo(SuccessReplay[ArpoConfig]):
    """Where std < .05 and mean < .2, the first rollout of the group is swapped for a stored success of its question."""

    Config = ArpoConfig
    requires = frozenset({"behaviour_log_probs", "partial_groups", "mixed_groups"})

    def inject(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        rewards, stored = group.rewards, self._buffer.of(group.question_id)
        if not stored or rewards.std() >= self.config.below_std or rewards.mean() >= self.config.below_mean or group.size == 1:
            return group
        kept = group.train_on(list(group.trained or range(group.size))[1:])
        return kept.with_stored([stored[int(ctx.rng.integers(len(stored)))]])


RLEP = Composition(
    Uniform,
    Rlep,
    summary="two stored successes added to every group",
    source="arXiv 2507.07451",
    observes="stored successes by question, of this run (the paper's: of a run of 400 steps that it does not count)",
    acts="in the batch: successes in fresh groups",
    costs="training on up to a quarter more rollouts",
)
ARPO = Composition(
    Uniform,
    Arpo,
    summary="a stored success for one failure of a hopeless group",
    source="arXiv 2505.16282",
    observes="stored successes by question",
    acts="in the batch: successes in fresh groups",
    costs="nothing",
)
