"""The README's example strategy is a real one: it keeps the contract."""

from __future__ import annotations

import ast
import inspect
import re
import sys
from pathlib import Path

import pytest

from harness.strategies.lilo import Lilo
from harness.testing.strategy_contract import check_strategy

README = Path(__file__).parents[2] / "README.md"


@pytest.mark.slow
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


def logic_lines(source: str) -> int:
    """Lines of code of a module's classes and functions: no imports, docstrings, blank lines or comments."""
    lines: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        words = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        if not isinstance(node, ast.stmt) or words or isinstance(node, ast.Import | ast.ImportFrom):
            continue
        inner = getattr(node, "body", None)
        lines |= {node.lineno} if inner else set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def test_logic_lines_by_hand() -> None:
    """A class, a method, and two statements, of which one goes over two lines: five."""
    method = "    def f(self):  # comment\n        x = 1\n\n        return (x,\n            2)\n"
    assert logic_lines(f'"""Words."""\nimport os\n\nclass A:\n    """Words."""\n\n{method}') == 5


def test_a_simple_strategy_stays_short() -> None:
    """What the interface grew by costs a simple strategy nothing: the page's example and a shipped one have at most 25 lines of logic."""
    (example,) = re.findall(r"```python\n(# my_package\.py\n.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert logic_lines(example) <= 25
    assert logic_lines(Path(inspect.getfile(Lilo)).read_text(encoding="utf-8").partition("\nLILO = ")[0]) <= 25
