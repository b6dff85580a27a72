"""Trackers through verl's own ``Tracking``: a real event file beside the run, and nothing where none is asked for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.verl.config import Placement, run_settings
from harness.spec import RunSpec
from harness.testing.backend_contract import contract_spec
from harness.worker.trackers import PACKAGES, prepare_trackers


def tracked(*names: str) -> RunSpec:
    """A run with these trackers."""
    spec = contract_spec("verl")
    execution = spec.execution.model_copy(update={"trackers": names})
    return RunSpec.model_validate(spec.model_copy(update={"execution": execution}).model_dump())


def loggers(spec: RunSpec) -> list[str]:
    """What verl's ``trainer.logger`` is set to."""
    found = run_settings(spec, None, Placement(True, 1, 1), model="model", checkpoints=Path(), prompt_tokens=16, pool=96)
    names: list[str] = found["trainer.logger"]
    return names


def test_tensorboard_through_verls_own_tracking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The logger that the configuration names writes into the run's folder; verl's values come out of the event file."""
    pytest.importorskip("tensorboard", reason="tensorboard is a development dependency")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from verl.utils.tracking import Tracking

    monkeypatch.setattr(os, "environ", os.environ.copy())
    spec = tracked("tensorboard")
    prepare_trackers(spec, tmp_path)
    tracking = Tracking("halfway", "run", default_backend=loggers(spec), config={})
    tracking.log({"val-core/accuracy": 0.25}, step=3)
    tracking.logger["tensorboard"].finish()
    events = EventAccumulator(str(tmp_path / "trackers" / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("val-core/accuracy")] == [(3, 0.25)]


def test_no_tracker_by_default_and_every_name_is_verls() -> None:
    """``trainer.logger`` is empty unless the suite names one; each name that a suite may give is one that verl knows."""
    from verl.utils.tracking import Tracking

    assert loggers(contract_spec("verl")) == []
    assert set(PACKAGES) <= set(Tracking.supported_backend)
