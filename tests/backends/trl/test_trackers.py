"""Trackers are optional sinks: a real event file from a real run, nothing on the network, clear words for what is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.worker.trackers import check_trackers, prepare_trackers
from tests.backends.trl.conftest import make_spec, train


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests set is unset afterwards."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def test_a_run_writes_a_tensorboard_event_file(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the trainer's own integration: its losses, and accuracy at every evaluation as in the ledger."""
    pytest.importorskip("tensorboard", reason="tensorboard is a development dependency")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "trackers" / "tensorboard"))
    spec = make_spec(trackers=["tensorboard"], algorithm={"max_steps": 2})
    check_trackers(spec.execution.trackers)
    log = train(spec, tmp_path, cache)
    events = EventAccumulator(str(tmp_path / "trackers" / "tensorboard"))
    events.Reload()
    assert [(e.step, pytest.approx(e.value)) for e in events.Scalars("eval/accuracy")] == [(p.step, p.accuracy) for p in log.evaluations]
    assert len(events.Scalars("train/loss")) == 2


def test_trackers_stay_off_the_network_and_beside_the_run(tmp_path: Path) -> None:
    """wandb offline unless the user says otherwise; files below the run; nothing at all where no tracker is asked for."""
    before = dict(os.environ)
    prepare_trackers(make_spec(), tmp_path)
    assert dict(os.environ) == before
    prepare_trackers(make_spec(trackers=["wandb"]), tmp_path)
    assert os.environ["WANDB_MODE"] == "offline"
    assert os.environ["WANDB_DIR"] == os.environ["TENSORBOARD_LOGGING_DIR"].removesuffix("/tensorboard") == str(tmp_path / "trackers")
    os.environ["WANDB_MODE"] = "online"
    prepare_trackers(make_spec(trackers=["wandb"]), tmp_path)
    assert os.environ["WANDB_MODE"] == "online"


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which package, where it is missing, what to do."""
    monkeypatch.setattr("harness.worker.trackers.importlib.util.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"'wandb' is not installed where the backend runs; pip install wandb"):
        check_trackers(("wandb",))


def test_an_unknown_tracker_is_refused() -> None:
    """At the spec already."""
    with pytest.raises(ValueError, match="tensorboard"):
        make_spec(trackers=["wandbb"])
