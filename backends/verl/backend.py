"""The verl backend: verl 0.9.1's v1 trainer on CPU (through a small platform plugin) or GPU, on one machine or a Ray cluster."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from backends.common.backend import PreparingBackend
from backends.common.installed import installed_versions
from backends.verl.seams import PACKAGES, SUPPORTED, SUPPORTED_VLLM, unsupported_reason
from harness.machine.interpreters import ask, interpreter

if TYPE_CHECKING:
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec


#: In a process of its own: verl chooses its platform once per process, and its import takes seconds.
_PREVIEW = "import sys; sys.argv[0] = 'preview'; import runpy; runpy.run_module('backends.verl.config_preview', run_name='__main__')"


class VerlBackend(PreparingBackend):
    """See :class:`harness.backend.Backend`."""

    name = "verl"
    supported = SUPPORTED
    supported_vllm = SUPPORTED_VLLM

    def versions(self) -> dict[str, str]:
        return installed_versions(PACKAGES)

    def unsupported_reason(self) -> str:
        return unsupported_reason(self.versions())

    def samples_with_vllm(self, spec: RunSpec) -> bool:
        return spec.execution.generation == "vllm"  # where it is verl's default on GPUs, verl itself says what is missing

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        self.require_supported()
        from backends.verl.run import train

        train(spec, self.prepared(spec, cache), run_dir, ledger, resume_from)

    def resolved_config(self, spec: RunSpec) -> str:
        """verl's keys for a run, one a line as its command line takes them, after verl's own ``validate_config`` accepted them.

        Asks the interpreter configured for verl where this environment has no verl. Raises UserError with verl's message for
        a configuration that it does not accept.
        """
        python = sys.executable
        if self.unsupported_reason():
            python = interpreter(spec)
            if python == sys.executable:
                self.require_supported()
        found = ask(python, _PREVIEW, spec.model_dump_json())
        lines = [f"{key}={json.dumps(value)}" for key, value in sorted(found["keys"].items())]
        return "\n".join([*lines, "# accepted by verl's validate_config"])
