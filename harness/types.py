"""What flows through a run: questions, selections, rollouts, prompt groups, step records, evaluation points.

Two invariants hold everywhere. A **prompt group is atomic**: nothing splits it, every capacity counts
groups, its size is never a literal. **Behaviour log-probs travel with the rollout** from the moment of
sampling and are never overwritten: the *behaviour policy* (at sampling) and the *old policy* (at the
start of an update) are two names for two things.

Arrays are numpy; no tensor of a backend crosses this interface.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from operator import attrgetter, itemgetter
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.integer[Any]]
FloatArray = npt.NDArray[np.floating[Any]]

GroupSource = Literal["fresh", "probe", "replayed"]

#: Which rewards of a group the mean and the standard deviation of its advantages are taken over (papers differ, see methods in docs):
#: those of the rollouts trained on (``kept``), of every rollout of the group (``all``), or of its fresh ones (``fresh``).
AdvantageScope = Literal["kept", "all", "fresh"]

#: Rewards that differ by no more than this are equal: a group of such rewards is degenerate.
REWARD_TOLERANCE = 1e-6

#: Classes of the importance ratio π_old/μ in a step record: below the first edge, between two, from the last on.
RATIO_EDGES = (0.5, 0.8, 0.95, 1.05, 1.25, 2.0)

#: The phases of a training step, in the order in which they happen. Their sum is the training clock.
PHASES = ("probe", "select", "rollout", "reward", "log_probs", "replay", "update")


@dataclass(frozen=True, slots=True)
class Question:
    """One task of the pool or of an evaluation set.

    ``prompt`` is the text given to the model (a chat template is applied by the backend when ``messages``
    is set in the task); ``answer`` is the gold answer and never reaches a strategy (see :class:`PoolQuestion`).
    """

    id: int
    prompt: str
    answer: str
    task: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Content hash, equal for equal task, prompt and answer; used to prove that splits are disjoint."""
        text = "\x1f".join((self.task, self.prompt, self.answer))
        return hashlib.sha256(text.encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class PoolQuestion:
    """A training question as a strategy sees it: a :class:`Question` without its gold answer."""

    id: int
    prompt: str
    task: str
    metadata: Mapping[str, Any] = field(default_factory=dict)


class QuestionPool(Sequence[PoolQuestion]):
    """The training pool as a strategy sees it: prompts and metadata, never gold answers.

    Question ids are positions, ``0 … len(pool) - 1``. Raises ValueError for questions whose ids are not.
    """

    def __init__(self, questions: Sequence[Question]) -> None:
        wrong = next((i for i, q in enumerate(questions) if q.id != i), None)
        if wrong is not None:
            raise ValueError(f"question ids must be positions in the pool, but question {wrong} has id {questions[wrong].id}")
        self._questions = tuple(PoolQuestion(q.id, q.prompt, q.task, q.metadata) for q in questions)

    def __len__(self) -> int:
        return len(self._questions)

    def __getitem__(self, index: Any) -> Any:
        return self._questions[index]

    def __iter__(self) -> Iterator[PoolQuestion]:
        return iter(self._questions)


@dataclass(frozen=True, slots=True)
class Selection:
    """The questions to roll out now.

    question_ids: shape (F,), positions in the pool, no repeats.
    rollouts_per_question: shape (F,), sizes of the groups to make, or None for the run's group size.
    started: groups of selected questions, probed now or earlier, that are continued: their rollouts come first in the group
    and count towards its size, so that only the rest is rolled out.
    predicted_pass_rates: shape (F,), what the selector expected, or None; compared with what is observed.
    info: scalars that go into the step record as they are.
    """

    question_ids: IntArray
    rollouts_per_question: IntArray | None = None
    predicted_pass_rates: FloatArray | None = None
    info: Mapping[str, float | str | bool] = field(default_factory=dict)
    started: tuple[PromptGroup, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Rollout:
    """One sampled completion.

    prompt_token_ids, completion_token_ids: shapes (P,), (T,), without padding; the end token, if sampled, is
    part of the completion. behaviour_log_probs: shape (T,), log μ of each sampled token at the sampling
    temperature over the whole vocabulary, or None where the engine does not give them and nobody needs them.
    policy_version: training steps completed by the weights that sampled it. reward: in [0, 1], NaN until scored. uid: its identity within a
    run, given by the driver (:func:`with_uids`) and kept when it is stored, saved and loaded.
    """

    question_id: int
    prompt_token_ids: IntArray
    completion_token_ids: IntArray
    behaviour_log_probs: FloatArray | None
    policy_version: int
    completion: str
    reward: float = float("nan")
    truncated: bool = False
    uid: str = ""

    @property
    def num_tokens(self) -> int:
        return len(self.completion_token_ids)


@dataclass(frozen=True, slots=True, eq=False)
class PromptGroup:
    """All rollouts of one question: the unit of selection, replay and advantage; whole, also where only part is trained on.

    trained: positions of the rollouts trained on, or None for all of them. advantage_scope: see :data:`AdvantageScope`.
    loss_weight: factor on the group's loss, finite and not negative; the clipped loss is linear in a positive factor on the
    advantages, so that is where it is applied. Rollouts older than the newest one were stored and put into the group
    (:meth:`with_stored`).
    """

    question_id: int
    rollouts: tuple[Rollout, ...]
    source: GroupSource = "fresh"
    trained: tuple[int, ...] | None = None
    advantage_scope: AdvantageScope = "kept"
    loss_weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.rollouts:
            raise ValueError(f"prompt group of question {self.question_id} has no rollouts")
        if any(r.question_id != self.question_id for r in self.rollouts):
            raise ValueError(f"prompt group of question {self.question_id} holds a rollout of another question")
        if not (math.isfinite(self.loss_weight) and self.loss_weight >= 0):
            raise ValueError(f"loss weight {self.loss_weight} of question {self.question_id} must be finite and not negative")

    @property
    def size(self) -> int:
        return len(self.rollouts)

    @property
    def rewards(self) -> FloatArray:
        return np.array([r.reward for r in self.rollouts], dtype=np.float64)

    @property
    def pass_rate(self) -> float:
        """Mean reward; with rewards in {0, 1}, the share of correct rollouts."""
        return float(self.rewards.mean())

    @property
    def baseline_rewards(self) -> FloatArray:
        """Rewards of the rollouts that ``advantage_scope`` names, shape (n,)."""
        rewards = self.rewards
        if self.advantage_scope == "kept":
            return rewards if self.trained is None else rewards[list(self.trained)]
        if self.advantage_scope == "all":
            return rewards
        newest = self.policy_version
        return rewards[[r.policy_version == newest for r in self.rollouts]]

    @property
    def is_degenerate(self) -> bool:
        """Whether no trained rollout's reward differs from those of its baseline: every advantage is then zero."""
        rewards = [r.reward for r in self.trained_rollouts]
        if self.advantage_scope != "kept":
            rewards += self.baseline_rewards.tolist()
        return max(rewards) - min(rewards) <= REWARD_TOLERANCE

    @property
    def policy_version(self) -> int:
        """That of the newest rollout; all have one version unless stored ones were put in."""
        return max(r.policy_version for r in self.rollouts)

    @property
    def num_tokens(self) -> int:
        return sum(r.num_tokens for r in self.rollouts)

    @property
    def trained_rollouts(self) -> tuple[Rollout, ...]:
        """The rollouts that go into the loss, in order."""
        return self.rollouts if self.trained is None else tuple(self.rollouts[i] for i in self.trained)

    @property
    def replayed_flags(self) -> tuple[bool, ...]:
        """Of every trained rollout, whether it is a stored one (and needs the off-policy correction)."""
        version = self.policy_version
        return tuple(self.source == "replayed" or r.policy_version < version for r in self.trained_rollouts)

    def with_source(self, source: GroupSource) -> PromptGroup:
        return replace(self, source=source)

    def train_on(self, positions: Sequence[int]) -> PromptGroup:
        """The same group, trained on these positions only. Raises ValueError for none, repeats or positions that do not exist."""
        chosen = tuple(int(i) for i in positions)
        if not chosen or len(set(chosen)) != len(chosen) or not set(chosen) <= set(range(self.size)):
            raise ValueError(f"cannot train on positions {chosen} of a group of {self.size} rollouts")
        return replace(self, trained=chosen)

    def with_stored(self, rollouts: Sequence[Rollout]) -> PromptGroup:
        """The same group with stored rollouts of its question after the fresh ones; they are trained on too."""
        trained = self.trained and (*self.trained, *range(self.size, self.size + len(rollouts)))
        return replace(self, rollouts=(*self.rollouts, *rollouts), trained=trained)


def with_uids(groups: Sequence[PromptGroup], stream: Sequence[int]) -> list[PromptGroup]:
    """The groups that one engine call returned, each rollout with the uid that the call's ``stream`` and its position give.

    No two calls of a run have the same stream, so that no two rollouts have the same uid, and a resumed run gives the same ones.
    """
    prefix = ".".join(str(number) for number in stream)
    position = itertools.count()
    return [replace(g, rollouts=tuple(Rollout(*(*_BUT_UID(r), f"{prefix}.{next(position)}")) for r in g.rollouts)) for g in groups]


#: Every field of a rollout but the last, which is the uid: a constructor call is five times as fast as ``replace``.
_BUT_UID: Callable[[Rollout], tuple[Any, ...]] = attrgetter(*(f.name for f in fields(Rollout)[:-1]))


@dataclass(slots=True)
class Costs:
    """Every cost ledger (docs/protocol.md, what is counted), cumulative since the start of the run.

    ``oracle_rollouts`` are the ones nobody is charged for (an oracle's labels); they are shown, never hidden.
    ``cpu_seconds`` is process time over the same intervals as ``training_seconds`` (wall time).
    """

    training_seconds: float = 0.0
    cpu_seconds: float = 0.0
    training_steps: int = 0
    optimizer_steps: int = 0
    fresh_rollouts: int = 0
    probe_rollouts: int = 0
    filtered_rollouts: int = 0
    replayed_rollouts: int = 0
    oracle_rollouts: int = 0
    generated_tokens: int = 0
    trained_tokens: int = 0
    forward_tokens: int = 0

    @property
    def rollouts(self) -> int:
        """Rollouts generated on the clock: fresh + probe + filtered."""
        return self.fresh_rollouts + self.probe_rollouts + self.filtered_rollouts

    def to_json(self) -> dict[str, float | int]:
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Costs:
        return cls(*_COST_VALUES(data))


_COST_VALUES = itemgetter(*(f.name for f in fields(Costs)))


@dataclass(frozen=True, slots=True)
class StepRecord:
    """One training step (one batch of groups, ``updates`` optimizer steps) as the ledger keeps it.

    phases: seconds per phase of ``PHASES``; they sum to ``seconds``. question_ids and pass_rates are those of the
    fresh groups, in order. importance_ratio holds statistics of π_old/μ over replayed tokens and, as ``classes``, their
    counts between ``RATIO_EDGES``; fresh_log_ratio and fresh_mean_log_ratio the largest and the mean |log π_old − log μ| over fresh
    tokens (a self-check, or their age under ``algorithm.staleness``; None where it was not measured). reward_timeouts and
    reward_crashes count answers that scored 0 because scoring them took too long or ended the scoring process. policy_version:
    training steps completed by the weights that sampled the fresh groups, None without any.
    """

    step: int
    question_ids: list[int]
    pass_rates: list[float]
    replayed_question_ids: list[int]
    staleness: list[int]
    non_degenerate_share: float
    dropped_groups: int
    updates: int
    seconds: float
    phases: dict[str, float]
    costs: Costs
    loss: float
    mean_reward: float
    mean_completion_tokens: float
    importance_ratio: dict[str, Any] = field(default_factory=dict)
    fresh_log_ratio: float | None = None
    pool_size: int | None = None
    info: dict[str, float | str | bool] = field(default_factory=dict)
    reward_timeouts: int = 0
    reward_crashes: int = 0
    policy_version: int | None = None
    fresh_mean_log_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class EvalPoint:
    """Accuracy after ``step`` training steps with every cost up to there; measured off the clock.

    accuracies: per evaluation set; accuracy: the mean of those in ``evaluation.sets``. predictor: diagnostics of the
    strategy's predictor on
    questions rolled out off the clock and never shown to it (``pearson``, ``spearman``, ``mae``, ``n``, and
    ``reliability``: rows of n, mean predicted and mean observed pass rate per tenth of the prediction); empty where the
    strategy predicts nothing. reward_timeouts and reward_crashes count answers that were not judged, as in a step record. Per
    evaluation set, right: of every question, in order, how many samples scored 1; completions: ``tokens`` and ``truncated``, means over
    completions, and ``entropy``, minus the mean log-probability of a sampled token, where the engine gives it; both empty in older
    ledgers. seconds: wall time of the evaluation, None where it was not measured.
    """

    step: int
    accuracy: float
    accuracies: dict[str, float]
    num_questions: int
    costs: Costs
    predictor: dict[str, Any] = field(default_factory=dict)
    reward_timeouts: int = 0
    reward_crashes: int = 0
    right: dict[str, list[int]] = field(default_factory=dict)
    completions: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: float | None = None
