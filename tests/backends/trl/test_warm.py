"""TRL runs forked from a warm worker are the runs that processes of their own give."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from harness.display.lines import LineDisplay
from harness.records.ledger import RunLog, read_ledger
from harness.records.run_folder import run_paths
from harness.runner.executors.warm import ForkedWorker
from harness.runner.suite_runner import run_suite
from tests.backends.trl.conftest import make_spec
from tests.backends.trl.test_runs import numbers


@pytest.mark.slow
def test_a_forked_run_has_the_numbers_of_a_process(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same questions, losses and accuracies to the last digit; importing TRL leaves nothing behind that forbids a fork."""
    spec = make_spec("dots-rr", {"references": 8, "capacity": 16}, {"max_steps": 2})
    monkeypatch.setenv("HALFWAY_CACHE", str(cache))

    def carried_out(folder: Path) -> RunLog:
        text = io.StringIO()
        result = run_suite([spec], folder, LineDisplay(text), max_parallel=1)
        assert result.exit_code == 0, text.getvalue()
        return read_ledger(run_paths(folder, spec).ledger)

    monkeypatch.setenv("HALFWAY_WARM", "0")
    alone = carried_out(tmp_path / "alone")
    monkeypatch.delenv("HALFWAY_WARM")
    monkeypatch.setattr(ForkedWorker, "_start_alone", lambda _: pytest.fail("the warm worker did not fork"))
    assert numbers(carried_out(tmp_path / "forked")) == numbers(alone)
