"""The README's example strategy is a real one: it keeps the contract."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from harness.testing import check_strategy

README = Path(__file__).parents[2] / "README.md"


def test_the_example_strategy_keeps_the_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copied from the page, it runs as it stands."""
    blocks = re.findall(r"```python\n(# my_package\.py\n.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) == 1
    (tmp_path / "my_package.py").write_text(blocks[0], encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        promises = check_strategy("revisit", plugins=["my_package:Revisit"])
    finally:
        sys.modules.pop("my_package", None)
    assert not [p for p in promises if not p.passed]
