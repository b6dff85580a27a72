"""A generated plugin package, installed by pip and trained with, as its author would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.ledger import read_ledger
from harness.plugin_template import write_package

SUITE = """
name = "plugged"
seeds = [1]

[algorithm]
groups_per_step = 8
group_size = 4
max_steps = 3
max_completion_tokens = 12

[evaluation]
every_steps = 3
diagnostic_questions = 0

[[combinations]]
name = "words"
backend = "trl"
model = "embedded:llama-64x2"
task = { name = "spell-backward", train = 64, test = 16, validation = 16, adapter = 128 }

[[strategies]]
name = "grpo"

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
    pytest.importorskip("setuptools", reason="the generated package is built with it")
    package = write_package("near-half", tmp_path)
    target = tmp_path / "site"
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--target",
        str(target),
        str(package),
    ]
    done = subprocess.run(install, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (tmp_path / "plugged.toml").write_text(SUITE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(target), str(Path(__file__).parents[2])])}
    only = ["--only", "strategy=near-half", "--only", "strategy=near-half+rr", "--max-parallel", "1"]
    command = [sys.executable, "-P", "-m", "harness.cli", "run", "plugged.toml", *only]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = {log.spec["strategy"]["name"]: log for log in (read_ledger(p) for p in (tmp_path / "runs").glob("plugged/*/ledger.jsonl"))}
    assert set(logs) == {"near-half", "near-half+rr"}
    assert all(len(log.steps) == 3 for log in logs.values())
    assert logs["near-half"].spec["strategy"]["plugin"] is None
    assert logs["near-half+rr"].steps[-1].costs.replayed_rollouts > 0
