"""Shares the toy engine of the runner's tests."""

from __future__ import annotations

import sys
from pathlib import Path

RUNNER = Path(__file__).resolve().parents[1] / "runner"
if str(RUNNER) not in sys.path:
    sys.path.insert(0, str(RUNNER))

from toy_place import place  # noqa: E402

__all__ = ["place"]
