"""Real verl training on the CPU; a run starts Ray and takes a minute, so that runs are shared by many tests."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

if importlib.util.find_spec("verl") is None or importlib.util.find_spec("trl") is not None:
    collect_ignore_glob = ["test_*.py"]  # these tests need the extra [verl], in an environment of its own: nox -s verl

# verl reads these when it is first imported, in whichever test that is.
os.environ.update(VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES="backends.verl.cpu.plugin", RAY_USAGE_STATS_ENABLED="0")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedded models are built once for all tests (and found again by the next run of the tests)."""
    return tmp_path_factory.getbasetemp().parent / "halfway-model-cache"
