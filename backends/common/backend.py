"""What both backends do alike: report their status, refuse to run where they cannot, and prepare a run once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from backends.common.adapters import require_peft
from backends.common.vllm_engine import require_vllm, vllm_note
from harness.backend import EVERYTHING, BackendStatus, OneOff, Progress
from harness.errors import UserError
from harness.strategy import Requirement

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from harness.predictor.collection import CollectionRequest
    from harness.spec import RunSpec


class PreparingBackend(ABC):
    """A :class:`harness.backend.Backend` except for ``train``.

    Importing a subclass imports neither torch nor a training library.
    """

    name: str
    supported: str
    supported_vllm: str
    capabilities: frozenset[Requirement] = EVERYTHING

    def __init__(self) -> None:
        self._prepared: dict[str, Prepared] = {}

    @abstractmethod
    def versions(self) -> dict[str, str]:
        """Installed versions of the packages that this backend uses."""

    @abstractmethod
    def unsupported_reason(self) -> str:
        """Why this environment cannot run the backend; empty if it can."""

    @abstractmethod
    def samples_with_vllm(self, spec: RunSpec) -> bool:
        """Whether a run samples with vLLM on this machine."""

    def status(self) -> BackendStatus:
        """See :class:`harness.backend.Backend`."""
        reason, versions = self.unsupported_reason(), self.versions()
        supported = f"{self.supported}; generation with vllm {self.supported_vllm}"
        return BackendStatus(self.name, not reason, reason or vllm_note(versions, self.supported_vllm), versions, supported)

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        """See :class:`harness.backend.Backend`. Raises UserError where this environment cannot run the backend or the run's engine."""
        self.require_supported()
        if self.samples_with_vllm(spec):
            require_vllm(self.name, self.versions(), self.supported_vllm)
        require_peft(spec)
        from backends.common.prepare import prepare

        prepared = prepare(spec, cache, progress)
        self._prepared = {spec.run_id: prepared}
        return prepared.one_off

    def prepared(self, spec: RunSpec, cache: Path) -> Prepared:
        """What :meth:`prepare` built for this run, built now if it was not called."""
        from backends.common.prepare import prepare

        return self._prepared.get(spec.run_id) or prepare(spec, cache, lambda *_: None)

    def collect_pass_rates(self, request: CollectionRequest, cache: Path, progress: Progress) -> None:
        """See :class:`harness.backend.Backend`. Raises UserError where this environment cannot run the backend."""
        self.require_supported()
        from backends.common.collection import collect

        collect(request, cache, progress)

    def require_supported(self) -> None:
        """Raise UserError where this environment cannot run the backend."""
        reason = self.unsupported_reason()
        if reason:
            raise UserError(f"the {self.name} backend cannot run here: {reason}")
