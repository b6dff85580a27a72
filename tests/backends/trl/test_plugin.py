"""A generated plugin package, installed by pip and trained with, as its author would."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.generated_package import run_generated

STRATEGIES = """
[[strategies]]
name = "near-half"
config = { low = 0.3 }

[[strategies]]
name = "near-half+rr"
config = { capacity = 16 }
"""


@pytest.mark.slow
def test_a_generated_package_trains_with_trl(tmp_path: Path) -> None:
    """new-strategy, pip install, and its name in a suite is all it takes: alone and combined with a shipped replay."""
    logs = run_generated(tmp_path, "trl", STRATEGIES, ["near-half", "near-half+rr"], timeout=280, adapter=128, environment={})
    assert set(logs) == {"near-half", "near-half+rr"}
    assert all(len(log.steps) == 3 for log in logs.values())
    assert logs["near-half"].spec["strategy"]["plugin"] is None
    assert logs["near-half+rr"].steps[-1].costs.replayed_rollouts > 0
