"""Which Python runs a backend: each needs an environment of its own (TRL and verl do not share one)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

from harness.backend import BackendStatus
from harness.errors import UserError
from harness.spec import RunSpec


def variable(backend: str) -> str:
    """The environment variable that names a backend's interpreter."""
    return "HALFWAY_PYTHON_" + re.sub(r"\W", "_", backend).upper()


def interpreter(spec: RunSpec) -> str:
    """The Python that runs this backend: ``HALFWAY_PYTHON_<BACKEND>``, the suite's ``execution.python``, or this one.

    Raises UserError if there is no such program.
    """
    backend = spec.combination.backend
    chosen = os.environ.get(variable(backend)) or spec.execution.python.get(backend) or sys.executable
    if shutil.which(chosen) is None:
        source = variable(backend) if os.environ.get(variable(backend)) else "execution.python"
        raise UserError(f"the Python for backend {backend!r}, {chosen} (from {source}), is not a program that can be started")
    return chosen


def ask(python: str, code: str, *arguments: str) -> Any:
    """What a short program prints as JSON on its last line, in another interpreter. Raises UserError with its last words."""
    try:
        done = subprocess.run([python, "-P", "-c", code, *arguments], capture_output=True, text=True, timeout=600, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UserError(f"cannot use the interpreter {python}: {error}") from error
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        words = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        if "No module named 'harness" in words:
            words = "it has no halfway: install it there, in the same version, with the extra of that backend"
        raise UserError(f"{python}: {words.removeprefix('harness.errors.UserError: ')}")
    return json.loads(lines[-1])


_STATUS = """
import dataclasses, json, sys
from harness.registry import load_backend
print(json.dumps(dataclasses.asdict(load_backend(sys.argv[1]).status())))
"""


def status_elsewhere(here: BackendStatus) -> BackendStatus:
    """The status of a backend that this environment cannot run, from the interpreter configured for it, if there is one."""
    python = os.environ.get(variable(here.name))
    if here.usable:
        return here
    if not python and variable(here.name) in here.reason:
        return here
    if not python:
        return replace(here, reason=f"{here.reason}; or name the Python of an environment that has it in {variable(here.name)}")
    try:
        there = BackendStatus(**ask(python, _STATUS, here.name))
    except UserError as error:
        return replace(here, reason=str(error))
    words = f"through {python}" + (f", {there.reason}" if there.reason else "") if there.usable else f"{python}: {there.reason}"
    return replace(there, reason=words)
