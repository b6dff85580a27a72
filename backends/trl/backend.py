"""The TRL backend: ``GRPOTrainer`` 1.14.2 – 1.16 (not 1.15.0) on CPU or GPU, one process or several (Accelerate)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backends.trl.run import train_on_this_rank
from backends.trl.seams import SUPPORTED, installed_versions, unsupported_reason
from harness.backend import EVERYTHING, BackendStatus, OneOff, Progress
from harness.errors import UserError

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from harness.predictor.collection import CollectionRequest
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec


class TrlBackend:
    """See :class:`harness.backend.Backend`."""

    name = "trl"
    capabilities = EVERYTHING

    def __init__(self) -> None:
        self._prepared: tuple[str, Prepared] | None = None

    def status(self) -> BackendStatus:
        versions = installed_versions()
        reason = unsupported_reason(versions)
        return BackendStatus(self.name, not reason, reason, versions, SUPPORTED)

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        self._require_supported()
        from backends.common.prepare import prepare

        prepared = prepare(spec, cache, progress)
        self._prepared = (spec.run_id, prepared)
        return prepared.one_off

    def collect_pass_rates(self, request: CollectionRequest, cache: Path, progress: Progress) -> None:
        self._require_supported()
        from backends.common.collection import collect

        collect(request, cache, progress)

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        self._require_supported()
        if spec.execution.processes > 1 and "RANK" not in os.environ:
            from backends.trl.launch import launch

            launch(spec, run_dir, cache, resume_from)
            return
        known = self._prepared[1] if self._prepared is not None and self._prepared[0] == spec.run_id else None
        train_on_this_rank(spec, run_dir, cache, ledger, resume_from, known)

    def _require_supported(self) -> None:
        reason = unsupported_reason(installed_versions())
        if reason:
            raise UserError(f"the TRL backend cannot run here: {reason}")
