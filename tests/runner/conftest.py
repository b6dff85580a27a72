"""Makes the toy engine importable and its folder a fixture."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
if str(HERE) not in sys.path:
    sys.path.insert(0, str(HERE))

from toy_place import place  # noqa: E402

__all__ = ["place"]
