"""The TRL backend: ``GRPOTrainer`` 1.14.2 – 1.16 (not 1.15.0) on CPU or GPU, one process or several (Accelerate)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backends.common.backend import PreparingBackend
from backends.common.installed import installed_versions
from backends.trl.run import train_on_this_rank
from backends.trl.seams import PACKAGES, SUPPORTED, SUPPORTED_VLLM, unsupported_reason
from backends.trl.sharding import kind_of, require_sharding

if TYPE_CHECKING:
    from harness.backend import OneOff, Progress
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec


class TrlBackend(PreparingBackend):
    """See :class:`harness.backend.Backend`."""

    name = "trl"
    supported = SUPPORTED
    supported_vllm = SUPPORTED_VLLM

    def versions(self) -> dict[str, str]:
        return installed_versions(PACKAGES)

    def unsupported_reason(self) -> str:
        return unsupported_reason(self.versions())

    def samples_with_vllm(self, spec: RunSpec) -> bool:
        # A server is another process's vLLM, but its client imports vLLM, too.
        return spec.execution.generation.startswith("vllm")

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        require_sharding(spec)
        return super().prepare(spec, cache, progress)

    def preload(self) -> None:
        """See :class:`harness.backend.Preloads`."""
        from backends.trl.run import import_everything

        import_everything()

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        self.require_supported()
        # DeepSpeed and FSDP want a process group even of one.
        if (spec.execution.processes > 1 or kind_of(spec)) and "RANK" not in os.environ:
            from backends.trl.launch import launch

            ledger.stopped = launch(spec, run_dir, cache, resume_from)
            return
        train_on_this_rank(spec, self.prepared(spec, cache), run_dir, ledger, resume_from)
