"""One comparison: our rule and the authors' code on the same generated inputs.

The authors' code is read out of a clone of their repository and run as it stands; nothing of it is part of this project. Their
modules import whole training stacks, so only the functions and classes that hold the rule are taken out of a file and run with the
names that they need.
"""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType
from typing import Any


@dataclass(frozen=True, slots=True)
class Clone:
    """A clone of a repository, bare or with a work tree."""

    folder: Path

    @property
    def commit(self) -> str:
        return self._git("rev-parse", "HEAD").strip()

    def source(self, path: str) -> str:
        """The text of one file at HEAD. Raises FileNotFoundError where the commit does not have it."""
        try:
            return self._git("show", f"HEAD:{path}")
        except subprocess.CalledProcessError as error:
            raise FileNotFoundError(f"no {path} at {self.commit[:12]}") from error

    def fragment(self, path: str, start: str) -> CodeType:
        """The one statement of a file whose first line starts with ``start``, wherever it stands: for rules inside a training loop."""
        source = self.source(path)
        lines = source.splitlines()
        found = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.stmt) and lines[n.lineno - 1].strip().startswith(start)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} statements {start!r} in {path} of {self.folder.name}")
        return compile(ast.Module(found, type_ignores=[]), path, "exec")

    def owner_of(self, path: str, method: str) -> str:
        """The class of a file that has this method. Raises LookupError for none."""
        for node in ast.parse(self.source(path)).body:
            if isinstance(node, ast.ClassDef) and any(getattr(part, "name", None) == method for part in node.body):
                return node.name
        raise LookupError(f"no class with {method} in {path} of {self.folder.name}")

    def write(self, path: str, folder: Path) -> Path:
        """One file at HEAD, written below a folder under its own path."""
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(self.source(path), encoding="utf-8")
        return target

    def definitions(self, path: str, names: Sequence[str], given: dict[str, Any]) -> dict[str, Any]:
        """Functions, classes and assignments of a file, by name (``Class.method`` for a method as a function), run with ``given``."""
        tree = ast.parse(self.source(path))
        namespace = dict(given)
        for name in names:
            node = _find(tree.body, name.split("."), f"{path} of {self.folder.name}")
            code = ast.Module([ast.ImportFrom("__future__", [ast.alias("annotations")], 0), node], type_ignores=[])
            exec(compile(ast.fix_missing_locations(code), path, "exec"), namespace)
        return namespace

    def _git(self, *arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(self.folder), *arguments], check=True, capture_output=True, text=True)
        return done.stdout


def _find(body: list[ast.stmt], path: list[str], where: str) -> ast.stmt:
    for node in body:
        if getattr(node, "name", None) == path[0] or (isinstance(node, ast.Assign) and _is_target(node, path[0])):
            found = node if len(path) == 1 else _find(node.body, path[1:], where)  # type: ignore[attr-defined]
            if isinstance(found, ast.FunctionDef | ast.ClassDef):
                found.decorator_list = [
                    d for d in found.decorator_list if isinstance(d, ast.Name) and d.id in ("dataclass", "staticmethod")
                ]
                found.decorator_list = [] if len(path) > 1 else found.decorator_list
            return found
    raise LookupError(f"no {'.'.join(path)} in {where}")


def _is_target(node: ast.Assign, name: str) -> bool:
    return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table.

    rule: what is compared. cases: inputs tried. difference: the largest absolute difference of a number, or the number of cases with
    another choice where ``rule`` says so. deviation: what stays different and the setting that says so, empty for nothing.
    """

    rule: str
    cases: int
    difference: float
    deviation: str = ""


@dataclass(frozen=True, slots=True)
class Comparison:
    """strategy: our name. repository: owner/name. path: the file with the rule. run: makes the rows, given a clone."""

    strategy: str
    repository: str
    path: str
    run: Callable[[Clone, str], Iterable[Result]]
