"""A package of `halfway new-strategy`, installed by pip and run from the command line, as its author would."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from harness.cli.strategy_template import write_package
from harness.records.ledger import RunLog, read_ledger

NAME = "near-half"

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
backend = "{backend}"
model = "embedded:llama-64x2"
task = {{ name = "spell-backward", train = 64, test = 16, validation = 16, adapter = {adapter} }}

[[strategies]]
name = "grpo"
"""


def run_generated(
    folder: Path, backend: str, strategies: str, only: Sequence[str], timeout: float, adapter: int, environment: dict[str, str]
) -> dict[str, RunLog]:
    """Runs of the package's strategy by strategy name; ``strategies`` are entries of the suite, ``only`` names those that run."""
    pytest.importorskip("setuptools", reason="the generated package is built with it")
    target = folder / "site"
    install = ["--quiet", "--no-deps", "--no-build-isolation", "--target", str(target), str(write_package(NAME, folder))]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *install], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (folder / "plugged.toml").write_text(SUITE.format(backend=backend, adapter=adapter) + strategies, encoding="utf-8")
    # -P and this path: the package is found as an installed one, not because it lies in the current folder.
    path = os.pathsep.join([str(target), str(Path(__file__).parents[1])])
    chosen = [word for name in only for word in ("--only", f"strategy={name}")]
    command = [sys.executable, "-P", "-m", "harness.cli", "run", "plugged.toml", *chosen, "--max-parallel", "1"]
    env = {**os.environ, **environment, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, cwd=folder, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    logs = [read_ledger(p) for p in (folder / "runs").glob("plugged/*/ledger.jsonl")]
    found = {log.spec["strategy"]["name"]: log for log in logs}
    assert len(found) == len(logs) == len(only)
    return found
