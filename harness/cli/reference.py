"""The reference of a suite's baseline: the file beside the suite, held against the runs of this machine, or written from them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import typer

from harness.errors import UserError
from harness.files import write_bytes
from harness.suite.suite import Suite

#: Ending of the file beside a suite: ``suites/simulated.reference.csv``.
SUFFIX = ".reference.csv"


def against_reference(analysis: Any, suite: Suite, path: Path | None) -> list[Any]:
    """How the baselines stand to the reference at ``path``, else to the one beside the suite; empty where there is none.

    Raises UserError for a file that is no reference, or one that was asked for and knows none of the combinations.
    """
    beside = suite.path.with_name(f"{suite.path.stem}{SUFFIX}")
    file = path or (beside if beside.is_file() else None)
    if file is None:
        return []
    module = importlib.import_module("reports.reference")
    reference = module.read_reference(file)
    found: list[Any] = module.reproductions(analysis, reference)
    if path is not None and not found:
        raise UserError(
            f"{path} has nothing to hold these runs against: it knows {', '.join(reference) or 'no combination'}, and a complete run of "
            f"{analysis.baseline} with three of its evaluations is needed"
        )
    return found


def write_reference(analysis: Any, path: Path) -> None:
    """Write the baseline's curve as a reference. Raises UserError for too few runs or a place that cannot be written."""
    text = importlib.import_module("reports.reference").reference_csv(analysis)
    try:
        write_bytes(path, text.encode("utf-8"))
    except OSError as error:
        raise UserError(f"cannot write the reference {path}: {error.strerror or error}") from error
    typer.echo(f"reference of {analysis.baseline}: {path}")
