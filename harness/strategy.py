"""The strategy interface: a selector chooses which questions to roll out, a replay chooses what to train on again.

The two compose: GRPO = uniform + none, DOTS = dots + none, RR = uniform + fifo, DOTS + RR = dots + fifo. A backend
holds one :class:`Strategy` per run and calls it at the seams every GRPO trainer has, in this order each step::

    replayed = strategy.replay(B, ctx)               # groups stored in earlier steps, at most B
    wanted = strategy.num_fresh(B, replayed, ctx)    # B - len(replayed) unless the replay says otherwise
    selection = strategy.select(wanted, ctx)
    fresh = ...                                      # rolled out and scored by the engine
    admitted = strategy.admit_round(fresh, ctx)      # what is refused is refilled, up to a bound
    kept = strategy.weigh([strategy.subset(g, ctx) for g in admitted], ctx)
    batch = strategy.mix(kept + replayed, ctx)
    strategy.observe(fresh, ctx)                     # every fresh and probe group, once, in order

A new strategy is one file: subclass :class:`Selector` (or :class:`Replay`), write ``select`` (or ``replay``), register
it (see :mod:`harness.registry`). Every other method has a default that does nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict

from harness.errors import StrategyError
from harness.types import AdvantageScope, Costs, FloatArray, IntArray, PromptGroup, QuestionPool, Selection

#: What a strategy may ask of a backend. A backend that cannot give it (``Backend.capabilities``) refuses the run before it starts.
#: group_sizes: groups of other sizes than G, or batches of another number of rollouts. partial_groups: training on part of a
#: group, its baseline over the rollouts that ``advantage_scope`` names. mixed_groups: stored rollouts inside a fresh group.
#: loss_weights: groups whose ``loss_weight`` is not 1. behaviour_log_probs follows from overriding ``Replay.replay``.
Requirement = Literal[
    "probe", "embed", "predictor", "oracle", "behaviour_log_probs", "group_sizes", "partial_groups", "mixed_groups", "loss_weights"
]

State = dict[str, Any]
"""Nested dicts and lists of JSON scalars and numpy arrays; what :mod:`harness.records.checkpoint` can save without pickle."""


class StrategyConfig(BaseModel):
    """Settings of a strategy part: frozen, unknown keys refused, every field described.

    A field's tuning range is declared with ``Field(json_schema_extra={"tune": {...}})``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


@dataclass(frozen=True, slots=True)
class Services:
    """What the engine does for a strategy: three functions, every call metered by the ledger. See :class:`StepContext`."""

    probe: Callable[[IntArray, int], list[PromptGroup]]
    embed: Callable[[IntArray], FloatArray]
    oracle_pass_rates: Callable[[IntArray, int], FloatArray]


@dataclass(frozen=True, slots=True)
class StepContext:
    """Everything a strategy may know at one step.

    step: 1 for the first training step. policy_version: training steps completed (``step - 1``). rng: derived from the run's
    seed, the step, the method being called and the number of engine calls in the step. A resumed run therefore draws the same
    numbers, and so does every other strategy: strategies are compared with common random numbers. group_size: G, rollouts per
    question. costs: what has been spent so far (a copy). predictor: path of the trained predictor artifact, if the run has one.
    """

    step: int
    policy_version: int
    rng: np.random.Generator
    seed: int
    pool: QuestionPool
    group_size: int
    costs: Costs
    services: Services
    predictor: str | None = None

    def probe(self, question_ids: IntArray, rollouts_per_question: int | None = None) -> list[PromptGroup]:
        """Roll out questions with the current policy now; real rollouts, on the clock and in the ledger.

        Raises StrategyError unless the strategy requires ``probe``; likewise ``embed`` and ``oracle_pass_rates``.
        """
        return self.services.probe(np.asarray(question_ids), rollouts_per_question or self.group_size)

    def embed(self, question_ids: IntArray) -> FloatArray:
        """Frozen embeddings of questions, shape (n, width); a one-off cost, in a column of its own."""
        return self.services.embed(np.asarray(question_ids))

    def oracle_pass_rates(self, question_ids: IntArray, rollouts_per_question: int) -> FloatArray:
        """True pass rates under the current policy, shape (n,), NOT charged: only for upper bounds, and so marked."""
        return self.services.oracle_pass_rates(np.asarray(question_ids), rollouts_per_question)


@dataclass(frozen=True, slots=True)
class Correction:
    """How replayed rollouts enter the loss.

    ratio: ``behaviour`` corrects for the policy μ that sampled them; ``old`` trains on them as if the old policy had sampled
    them, so that only their advantages count (RLEP, ARPO).
    clip_center: ``old`` clips π/π_old around 1 and multiplies by the detached weight ρ = π_old/μ (the code of the DOTS + RR
    authors); ``one`` clips π/μ around 1 (their paper).
    weight_cap: upper bound on ρ, None for none. coefficient: factor on the loss of replayed rollouts.
    order: ``shuffled`` spreads a batch's rollouts over its updates at random, as both trainers do; ``fresh-first`` keeps the
    order of the batch, so that replayed groups come last and reach the later updates.
    Raises ValueError for a ratio to the old policy that is also to be clipped around π/μ = 1 or capped: there is no ρ then.
    """

    clip_center: Literal["old", "one"] = "old"
    weight_cap: float | None = None
    coefficient: float = 1.0
    ratio: Literal["behaviour", "old"] = "behaviour"
    order: Literal["shuffled", "fresh-first"] = "shuffled"

    def __post_init__(self) -> None:
        if self.ratio == "old" and (self.clip_center != "old" or self.weight_cap is not None):
            raise ValueError("a correction with ratio = 'old' has no weight: use clip_center = 'old' and no weight_cap")


ConfigT = TypeVar("ConfigT", bound=StrategyConfig, covariant=True)


class Part(Generic[ConfigT]):
    """What selectors and replays share: a config, what they require, and a state that survives a crash."""

    Config: ClassVar[type[StrategyConfig]] = StrategyConfig
    requires: ClassVar[frozenset[Requirement]] = frozenset()
    version: ClassVar[int] = 1
    """Raise it when behaviour changes: it is part of the run's identity."""

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    @property
    def needs(self) -> frozenset[Requirement]:
        """What it requires with its settings: ``requires``, unless a setting asks for more."""
        return self.requires

    @property
    def advantage_scope(self) -> AdvantageScope:
        """Which rollouts of its groups the advantage baseline uses; all scopes agree on whole groups of one policy version."""
        return "kept"

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        """Learn from freshly scored groups; each is shown once, in order, probe groups marked as such."""

    def state_dict(self) -> State:
        """Everything that must survive a crash, as nested dicts/lists of JSON scalars and numpy arrays."""
        return {}

    def load_state_dict(self, state: State) -> None:
        """Take back what ``state_dict`` gave."""


class Selector(Part[ConfigT]):
    """Chooses the questions of a step."""

    uncharged_oracle: ClassVar[bool] = False
    """True for upper bounds whose labels cost nothing; reports mark them."""

    @property
    def max_refills(self) -> int | None:
        """Rounds of refill for refused groups in a step, at most; None for the run's ``max_refills``. Asked before every refill."""
        return None

    @property
    def fill_short_batches(self) -> bool:
        """Whether refused groups fill a batch that the refills left short. If not, the batch stays short (``group_sizes``).

        Where every group was refused, the refused ones are trained on in either case: a step always ends.
        """
        return True

    def round_size(self, missing: int, ctx: StepContext) -> int:
        """How many questions to roll out in a round that misses so many groups; what is admitted beyond them is not trained on."""
        return missing

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        """Exactly ``num_groups`` different question ids of the pool to roll out now."""
        raise NotImplementedError(f"{type(self).__name__} must define select()")

    def admit(self, group: PromptGroup, ctx: StepContext) -> bool:
        """Whether to train on this fresh group; what is refused is refilled, up to a bound."""
        return True

    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> Sequence[bool]:
        """Whether to train on each group of one round of roll-outs, in order; by default each is judged by ``admit`` alone."""
        return [self.admit(group, ctx) for group in groups]

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        """The admitted group, or ``group.train_on(...)`` to train on some of its rollouts only."""
        return group

    def weigh(self, groups: Sequence[PromptGroup], ctx: StepContext) -> Sequence[float]:
        """A factor on the loss of each fresh group of the batch, finite and ≥ 0; other factors than 1 require ``loss_weights``."""
        return [1.0] * len(groups)

    def reuse(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        """Probe groups of this step that may stand in for selected questions (fewer fresh rollouts)."""
        return []

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        """Predicted pass rates as of the last selection, shape (n,), for diagnostics; None if it predicts nothing."""
        return None


class Replay(Part[ConfigT]):
    """Chooses stored groups to train on beside the fresh ones; the base class replays nothing.

    A subclass that overrides ``replay`` requires ``behaviour_log_probs``, whether it says so or not: stored rollouts without
    them would be trained on as if the current policy had sampled them.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if cls.replay is not Replay.replay:
            cls.requires = cls.requires | {"behaviour_log_probs"}

    @property
    def correction(self) -> Correction:
        """How its groups enter the loss; irrelevant where nothing is replayed."""
        return Correction()

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        """Groups of earlier steps, with at most ``num_groups``·G trained rollouts; the rest of the batch is rolled out fresh."""
        return []

    def num_fresh(self, num_groups: int, replayed: Sequence[PromptGroup], ctx: StepContext) -> int:
        """How many questions to roll out for a batch of ``num_groups``, given what ``replay`` returned.

        By default as many as fill the batch; fewer make a smaller batch, which requires ``group_sizes``.
        """
        return num_groups - -(-sum(len(g.trained_rollouts) for g in replayed) // ctx.group_size)

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        """The batch to train on, given its fresh and replayed groups: stored rollouts may be added to groups or as groups."""
        return list(groups)


NoReplay = Replay


class Strategy:
    """One selector and one replay, as one object per run."""

    def __init__(self, name: str, selector: Selector[Any], replay: Replay[Any]) -> None:
        self.name, self.selector, self.replay_part = name, selector, replay

    @property
    def requires(self) -> frozenset[Requirement]:
        return self.selector.needs | self.replay_part.needs

    @property
    def correction(self) -> Correction:
        """The off-policy correction of the replay part."""
        return self.replay_part.correction

    def replay(self, num_groups: int, ctx: StepContext) -> list[PromptGroup]:
        returned = self.replay_part.replay(num_groups, ctx)
        return [_stamp(g.with_source("replayed"), self.replay_part) for g in _groups(returned, self.name, "replay")]

    def subset(self, group: PromptGroup, ctx: StepContext) -> PromptGroup:
        (kept,) = _groups([self.selector.subset(group, ctx)], self.name, "subset")
        return _stamp(kept, self.selector)

    def weigh(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        """The groups with their loss weights. Raises StrategyError for another number of weights than groups."""
        weights = self.selector.weigh(groups, ctx)
        if len(weights) != len(groups):
            raise StrategyError(f"strategy {self.name!r} gave {len(weights)} loss weights for {len(groups)} groups")
        return [replace(g, loss_weight=float(w)) if w != 1 else g for g, w in zip(groups, weights, strict=True)]

    def mix(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[PromptGroup]:
        """The batch; groups that the replay part adds or changes take its advantage scope."""
        given = {_contents(g) for g in groups}
        returned = self.replay_part.mix(groups, ctx)
        return [g if _contents(g) in given else _stamp(g, self.replay_part) for g in _groups(returned, self.name, "mix")]

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        selection: Any = self.selector.select(num_groups, ctx)
        if not isinstance(selection, Selection):
            found, wanted = _described(selection), "return Selection(question_ids) with a flat integer array"
            raise StrategyError(f"strategy {self.name!r}: select() returned {found} where a Selection is wanted: {wanted}")
        return selection

    def admit_round(self, groups: Sequence[PromptGroup], ctx: StepContext) -> list[bool]:
        """Raises StrategyError for another number of answers than groups."""
        returned: Any = self.selector.admit_round(groups, ctx)
        answers = [] if returned is None else [bool(answer) for answer in returned]
        if len(answers) != len(groups):
            raise StrategyError(f"strategy {self.name!r} admitted or refused {len(answers)} of a round of {len(groups)} groups")
        return answers

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self.selector.observe(groups, ctx)
        self.replay_part.observe(groups, ctx)

    def predict(self, question_ids: IntArray, ctx: StepContext) -> FloatArray | None:
        return self.selector.predict(question_ids, ctx)

    def state_dict(self) -> State:
        return {"selector": self.selector.state_dict(), "replay": self.replay_part.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.selector.load_state_dict(state["selector"])
        self.replay_part.load_state_dict(state["replay"])


def _groups(returned: Any, name: str, method: str) -> list[PromptGroup]:
    """What a strategy returned, if it is prompt groups; StrategyError that says what it is instead."""
    if isinstance(returned, list | tuple) and all(isinstance(g, PromptGroup) for g in returned):
        return list(returned)
    found = next((g for g in returned if not isinstance(g, PromptGroup)), returned) if isinstance(returned, list | tuple) else returned
    raise StrategyError(f"strategy {name!r}: {method}() returned {_described(found)} where prompt groups are wanted")


def _described(value: Any) -> str:
    return (
        "None (is a return missing?)" if value is None else f"{'an' if type(value).__name__[0] in 'aeiou' else 'a'} {type(value).__name__}"
    )


def _contents(group: PromptGroup) -> tuple[Any, ...]:
    """What two groups of one batch have in common if and only if they train on the same rollouts in the same way."""
    return group.source, group.trained, *(r.uid for r in group.rollouts)


def _stamp(group: PromptGroup, part: Part[Any]) -> PromptGroup:
    """The group with the advantage scope that a part declares."""
    scope = part.advantage_scope
    return group if group.advantage_scope == scope else replace(group, advantage_scope=scope)


@dataclass(frozen=True, slots=True)
class Composition:
    """A named pair of selector and replay classes; the value behind a strategy name.

    What ``halfway strategies`` shows: ``summary`` (one line), ``source`` (the paper), what it ``observes``, where it
    ``acts`` in a step, and what that ``costs`` beyond training on the batch.
    """

    selector: type[Selector[Any]]
    replay: type[Replay[Any]] = NoReplay
    summary: str = ""
    source: str = ""
    observes: str = ""
    acts: str = ""
    costs: str = ""
