"""The simulator as a backend: a run like any other, with ledger, checkpoints and report, in a second instead of minutes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from harness.backend import EVERYTHING, BackendStatus, OneOff, Progress
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec

TASK, MODEL = "latent-skills", "simulated"


class SimulatorBackend:
    """See :class:`harness.backend.Backend`. Its combinations have ``model = "simulated"`` and a ``latent-skills`` task."""

    name = "simulator"
    capabilities = EVERYTHING

    def status(self) -> BackendStatus:
        return BackendStatus(self.name, True, "ready", {}, "built in: results are simulated")

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        _check(spec)
        from backends.simulator.predictor import predictor_for

        predictor_for(spec, cache, progress)
        return []

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        from backends.simulator.session import SimulatorSession

        SimulatorSession(spec, run_dir, cache, ledger).run(resume_from)


def _check(spec: RunSpec) -> None:
    """Refuse what the simulator cannot be asked to do."""
    from backends.simulator.engine import PRICE, generated_price

    combination = spec.combination
    if combination.task.name != TASK or combination.model.name != MODEL:
        raise UserError(
            f"combination {combination.name!r}: the simulator needs task {TASK!r} and model {MODEL!r}, "
            f"not {combination.task.name!r} and {combination.model.name!r}"
        )
    if combination.model.lora is not None:
        raise UserError(f"combination {combination.name!r}: the simulated policy has no layers, so no adapters; remove lora from its model")
    unknown = set(spec.execution.engine) - {PRICE}
    if unknown:
        raise UserError(f"execution.engine has no key {min(unknown)!r} for the simulator (known: {PRICE})")
    price = generated_price(spec)
    if price is None or price <= 0:
        raise UserError(f"execution.engine.{PRICE} must be a positive number")
