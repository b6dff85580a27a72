"""The CPU platform: where its patches apply, and that nothing of it is there on GPUs."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

from backends.verl.cpu import patches
from backends.verl.session import verl_checkpoint
from harness.records.checkpoint import CheckpointError

GPU_IMPORTS = """
import sys
import verl.trainer.ppo.v1.trainer_sync, backends.verl.trainer, backends.verl.replay_buffer, backends.verl.agent_loop, backends.verl.run
from verl.workers.engine.base import EngineRegistry
from verl.workers.rollout.replica import RolloutReplicaRegistry
from verl.utils import distributed
loaded = [name for name in sys.modules if name.startswith("backends.verl.cpu")]
assert not loaded, loaded
functions = [EngineRegistry.get_engine_cls.__func__, distributed.initialize_global_process_group_ray]
assert all(function.__module__.startswith("verl.") for function in functions), functions
assert "halfway_cpu" not in RolloutReplicaRegistry._registry
"""


def test_verl_on_gpus_is_the_stock_one() -> None:
    """Without the two variables that switch the CPU platform on, no module of it is imported and no function of verl is replaced."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("VERL_")}
    done = subprocess.run([sys.executable, "-c", GPU_IMPORTS], env=environment, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr


def test_patches_are_for_one_version(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another verl is refused before anything is patched, with what to do."""
    from verl.utils import distributed

    before = distributed.initialize_global_process_group_ray
    monkeypatch.setattr(importlib.metadata, "version", lambda _: "0.9.2")
    with pytest.raises(RuntimeError, match=r"for verl 0\.9\.1, not 0\.9\.2; remove them or adapt them"):
        patches.apply()
    assert distributed.initialize_global_process_group_ray is before


def test_a_checkpoint_without_verls_part_is_refused(tmp_path: Path) -> None:
    """Ours without verl's (or with two of them) is not resumed from."""
    with pytest.raises(CheckpointError, match="holds 0 checkpoints of verl"):
        verl_checkpoint(tmp_path)
    (tmp_path / "global_step_4").mkdir()
    assert verl_checkpoint(tmp_path) == tmp_path / "global_step_4"
    (tmp_path / "global_step_5").mkdir()
    with pytest.raises(CheckpointError, match="holds 2 checkpoints of verl"):
        verl_checkpoint(tmp_path)
