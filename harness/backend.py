"""What an engine must offer: one adapter per training library, reached through a lazy ``"module:attr"`` string."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import OneOff
from harness.strategy import Requirement
from harness.types import FloatArray, IntArray, PromptGroup

if TYPE_CHECKING:
    from harness.predictor.collection import CollectionRequest
    from harness.spec import RunSpec

__all__ = [
    "EVERYTHING", "WHOLE_GROUPS", "Backend", "BackendStatus", "CollectsPassRates", "OneOff", "Preloads", "Progress",
    "RolloutEngine", "RolloutPhase",
]  # fmt: skip

#: What every backend has given strategies from the start; ``Backend.capabilities`` may be more or less.
WHOLE_GROUPS: frozenset[Requirement] = frozenset({"probe", "embed", "predictor", "oracle", "behaviour_log_probs"})
#: Everything a strategy can require.
EVERYTHING: frozenset[Requirement] = WHOLE_GROUPS | {"group_sizes", "partial_groups", "mixed_groups", "loss_weights"}

#: ``progress(what, done, total)``; a backend calls it during ``prepare`` so that a person sees that something moves.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Whether this environment can run a backend, and the reason if not; made without importing the engine."""

    name: str
    usable: bool
    reason: str
    versions: dict[str, str] = field(default_factory=dict)
    supported: str = ""


class Backend(Protocol):
    """An engine. Constructed without arguments; heavy imports happen inside the methods."""

    name: str
    capabilities: frozenset[Requirement]
    """What a strategy may require here; one that requires more is refused by name before anything starts."""

    def status(self) -> BackendStatus:
        """Versions found and whether they are supported (``halfway doctor``, and checked before a run starts)."""
        ...

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        """Build what runs of this combination share (model, embeddings, predictor), cached by content hash.

        Called before any run of the combination starts, and again (a quick look-up) inside every run; returns the
        one-off costs as they were paid when the artifacts were built, also on a cache hit.
        """
        ...

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        """Train to ``spec.algorithm.max_steps`` and write step, evaluation, checkpoint and warning records.

        ``resume_from`` is a complete checkpoint folder under ``run_dir/checkpoints`` or None. The caller writes the ``run``,
        ``attempt``, ``one_off``, ``failure`` and ``complete`` records. Raises UserError for what a person can mend and
        RunFailed (an error that must not be retried) for a run that cannot go on, such as a NaN loss.
        """
        ...


@runtime_checkable
class CollectsPassRates(Protocol):
    """A backend that can also roll out models outside of a run, for ``halfway predictor collect``."""

    def collect_pass_rates(self, request: CollectionRequest, cache: Path, progress: Progress) -> None:
        """Bring a model's column into the table ``request.out``; goes on where an earlier attempt was cut off. Raises UserError."""
        ...


@runtime_checkable
class Preloads(Protocol):
    """A backend whose runs may be forked from a process that has imported everything already, for a start without imports."""

    def preload(self) -> None:
        """Import what a run needs and compute nothing: a thread pool that exists before a fork is broken after it."""
        ...


RolloutPhase = Literal["rollout", "probe"]


class RolloutEngine(Protocol):
    """What a backend does for the driver."""

    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        """Sample and score whole groups with the current policy (under ``algorithm.staleness`` an older one), in order of ``question_ids``.

        ``rollouts_per_question`` is one number, or one per question where a strategy requires ``group_sizes``. ``stream`` seeds
        the sampling; it is different for every call of a run. Times itself on the run's clock, as ``phase`` and (scoring of
        fresh rollouts) ``reward``.
        """
        ...

    def embed(self, question_ids: IntArray) -> FloatArray:
        """Frozen embeddings, shape (n, width)."""
        ...
