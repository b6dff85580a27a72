"""How many runs at a time, and which GPU each one gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_place import new_run

from harness.machine import environment
from harness.records.run_folder import RunPaths, check_spec
from harness.runner.executors import local


@pytest.mark.parametrize(
    ("execution", "gpus", "asked", "slots"),
    [
        ({"threads": 2}, 0, None, [{}] * 4),  # 8 cores
        ({"threads": 3}, 0, None, [{}] * 2),
        ({"threads": 16}, 0, None, [{}]),
        ({"threads": 2, "processes": 2}, 0, None, [{}] * 2),
        ({}, 0, 3, [{}] * 3),
        ({}, 2, None, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "1"}]),
        ({"device": "cpu"}, 2, None, [{}] * 8),
        ({"device": "cuda:1"}, 2, 1, [{}]),
        ({"processes": 2}, 4, None, [{"CUDA_VISIBLE_DEVICES": "0,1"}, {"CUDA_VISIBLE_DEVICES": "2,3"}]),
        ({}, 1, 2, [{"CUDA_VISIBLE_DEVICES": "0"}, {"CUDA_VISIBLE_DEVICES": "0"}]),
        ({"processes": 4, "nodes": 2}, 2, None, [{}]),  # two machines of a cluster, whose GPUs Ray hands out
        ({"processes": 4, "nodes": 2}, 2, 2, [{}] * 2),
    ],
)
def test_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, execution: dict[str, Any], gpus: int, asked: int | None, slots: list[dict[str, str]]
) -> None:
    """As many as cores allow; with GPUs one run per GPU, unless more are asked for, which then share."""
    monkeypatch.setattr(local, "core_count", lambda: 8)
    monkeypatch.setattr(local, "visible_gpus", lambda: [(str(i), "some GPU") for i in range(gpus)])
    spec = check_spec(RunPaths(new_run(tmp_path)))
    run = spec.model_copy(update={"execution": spec.execution.model_copy(update=execution)})
    assert local.slots([run], asked) == slots


SMI = """#!/bin/sh
echo "0, GPU-aaa, NVIDIA H100"
echo "1, GPU-bbb, NVIDIA H100"
echo "2, GPU-ccc, NVIDIA T4, special"
"""


@pytest.mark.parametrize(
    ("visible", "names"),
    [(None, ["0", "1", "2"]), ("", []), ("2,0", ["2", "0"]), ("GPU-bbb", ["GPU-bbb"]), ("7", [])],
)
def test_gpus_that_may_be_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, visible: str | None, names: list[str]) -> None:
    """What CUDA_VISIBLE_DEVICES hides is not given to a run, and names stay as CUDA knows them."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text(SMI)
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = environment.visible_gpus()
    assert [name for name, _ in found] == names
    assert all(model.startswith("NVIDIA ") for _, model in found)
