"""The verl backend: verl 0.9.1's v1 trainer on CPU (through a small platform plugin) or GPU, on one machine or a Ray cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from backends.verl.seams import SUPPORTED, installed_versions, unsupported_reason
from harness.backend import EVERYTHING, BackendStatus, OneOff, Progress
from harness.errors import UserError
from harness.machine.interpreters import ask, interpreter

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from harness.predictor.collection import CollectionRequest
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec


#: In a process of its own: verl chooses its platform once per process, and its import takes seconds.
_PLANNED = "import sys; sys.argv[0] = 'planned'; import runpy; runpy.run_module('backends.verl.planned', run_name='__main__')"


class VerlBackend:
    """See :class:`harness.backend.Backend`."""

    name = "verl"
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
        from backends.common.prepare import prepare
        from backends.verl.run import train

        known = self._prepared[1] if self._prepared is not None and self._prepared[0] == spec.run_id else None
        train(spec, known or prepare(spec, cache, lambda *_: None), run_dir, ledger, resume_from)

    def resolved_config(self, spec: RunSpec) -> str:
        """verl's keys for a run, one a line as its command line takes them; verl's own ``validate_config`` has accepted them.

        Asks the interpreter configured for verl where this environment has no verl.
        """
        if unsupported_reason(installed_versions()):
            python = interpreter(spec)
            if python == sys.executable:
                self._require_supported()
            found = ask(python, _PLANNED, spec.model_dump_json())
        else:
            found = ask(sys.executable, _PLANNED, spec.model_dump_json())
        lines = [f"{key}={json.dumps(value)}" for key, value in sorted(found["keys"].items())]
        return "\n".join([*lines, "# accepted by verl's validate_config"])

    def _require_supported(self) -> None:
        reason = unsupported_reason(installed_versions())
        if reason:
            raise UserError(f"the verl backend cannot run here: {reason}")
