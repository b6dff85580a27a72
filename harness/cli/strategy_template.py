"""A minimal strategy package, as ``halfway new-strategy NAME`` writes it: it works, is installed as it is, and is meant to be changed."""

from __future__ import annotations

import keyword
import re
import shutil
import tempfile
from pathlib import Path
from string import Template

from harness.errors import UserError
from harness.registry import strategy_references

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

_PYPROJECT = Template("""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "halfway-$name"
version = "0.1.0"
description = "A strategy for Halfway."
requires-python = ">=3.11"
dependencies = ["halfway"]

[project.optional-dependencies]
dev = ["pytest>=8"]

# This is how Halfway finds the strategy: its name in suites and commands = module:class.
[project.entry-points."halfway.strategies"]
$name = "$module:$cls"

[tool.setuptools]
py-modules = ["$module"]
""")

_STRATEGY = Template('''"""The strategy "$name". First line of the class: what `halfway strategies` shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from harness.strategy import Selector, StepContext, StrategyConfig
from harness.types import PromptGroup, Selection


class Config(StrategyConfig):
    """Every setting with its default, its bounds and the range in which `halfway tune` looks."""

    low: float = Field(
        0.2, ge=0, lt=0.5, description="least pass rate, last time, that is still interesting",
        json_schema_extra={"tune": {"low": 0.05, "high": 0.45}},
    )


class $cls(Selector[Config]):
    """Questions first that were neither almost always wrong nor almost always right when last seen."""

    name = "$name"
    Config = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._last = np.empty(0)  # pass rate when last seen, per question; 1/2 for a new one

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        self._size_to(ctx)
        dull = (self._last < self.config.low) | (self._last > 1 - self.config.low)
        order = np.lexsort((ctx.rng.random(len(ctx.pool)), dull))  # interesting ones first, at random among equals
        return Selection(order[:num_groups])

    def observe(self, groups: Sequence[PromptGroup], ctx: StepContext) -> None:
        self._size_to(ctx)
        for group in groups:
            self._last[group.question_id] = group.pass_rate

    def _size_to(self, ctx: StepContext) -> None:
        if not len(self._last):
            self._last = np.full(len(ctx.pool), 0.5)

    def state_dict(self) -> dict[str, Any]:
        return {"last": self._last}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._last = np.array(state["last"])
''')

_TEST = Template('''"""The contract that every strategy keeps: deterministic, resumable, honest about its costs."""

from harness.testing import check_strategy


def test_contract() -> None:
    broken = [promise for promise in check_strategy("$name", plugins=["$module:$cls"]) if not promise.passed]
    assert not broken, broken
''')


def write_package(name: str, folder: Path) -> Path:
    """Write the package ``name`` into a new folder ``folder/name``, whole or not at all; returns that folder.

    Raises UserError for a name that is no good or taken, and for a folder that exists.
    """
    module = name.replace("-", "_")
    if not _NAME.fullmatch(name) or keyword.iskeyword(module):
        raise UserError(f"{name!r} cannot be a strategy's name; use lower-case letters and digits, words joined by '-', such as near-half")
    known = strategy_references()
    if name in known:
        raise UserError(f"there is a strategy {name!r} already ({known[name][0]}); choose another name")
    target = folder / name
    if target.exists():
        raise UserError(f"{target} exists already; choose another name or --into another folder")
    words = {"name": name, "module": module, "cls": "".join(part.capitalize() for part in name.split("-"))}
    files = {"pyproject.toml": _PYPROJECT, f"{module}.py": _STRATEGY, f"test_{module}.py": _TEST}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            made = Path(scratch) / name
            made.mkdir()
            for file, template in files.items():
                (made / file).write_text(template.substitute(words), encoding="utf-8")
            shutil.move(made, target)
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror or error}") from error
    return target
