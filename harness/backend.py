"""What an engine must offer: one adapter per training library, reached through a lazy ``"module:attr"`` string."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from harness.ledger import LedgerWriter
from harness.strategy import Requirement

if TYPE_CHECKING:
    from harness.spec import RunSpec

#: What every backend has given strategies from the start; ``Backend.capabilities`` may be more or less.
WHOLE_GROUPS: frozenset[Requirement] = frozenset({"probe", "embed", "predictor", "oracle", "behaviour_log_probs"})
#: Everything a strategy can require.
EVERYTHING: frozenset[Requirement] = WHOLE_GROUPS | {"group_sizes", "partial_groups", "mixed_groups"}

#: ``progress(what, done, total)``; a backend calls it during ``prepare`` so that a person sees that something moves.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class BackendStatus:
    """Whether this environment can run a backend, in words; made without importing the engine."""

    name: str
    usable: bool
    reason: str
    versions: dict[str, str] = field(default_factory=dict)
    supported: str = ""


@dataclass(frozen=True, slots=True)
class OneOff:
    """A cost paid once, off the clock: name, seconds, and what was done (JSON)."""

    name: str
    seconds: float
    detail: dict[str, Any] = field(default_factory=dict)


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
