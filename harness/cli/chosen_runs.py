"""The runs that a command works on: those of a suite, with tuned settings where there are any, that ``--only`` leaves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.cli.only import RUN_KEYS, choose

if TYPE_CHECKING:
    from harness.spec import RunSpec
    from harness.suite.suite import Suite
    from harness.tuning.lock_file import TuningLock


def chosen_runs(
    name: str, plugins: list[str] | None, only: list[str] | None, runs_dir: Path, untuned: bool, backend: str | None
) -> tuple[Suite, list[RunSpec]]:
    """The suite as the command sees it and the runs that ``--only`` leaves of it.

    Raises UserError for an unknown suite, plugin, backend or filter, a stale lock file, or arms that were tuned with unequal budgets.
    """
    from harness.suite.reader import load_suite, with_backend
    from harness.suite.suite import find_suite, plan

    loaded = load_suite(find_suite(name), plugins or ())
    suite, lock, path = with_tuned_settings(with_backend(loaded, backend) if backend else loaded, runs_dir, untuned)
    runs = choose(plan(suite), only or [], RUN_KEYS, "run of this suite")
    check_compared(lock, suite, path, runs)
    return suite, runs


def with_tuned_settings(suite: Suite, runs_dir: Path, untuned: bool) -> tuple[Suite, TuningLock | None, Path | None]:
    """The suite as ``run``, ``plan``, ``status`` and ``report`` see it: with tuned settings where there is a lock.

    Raises UserError if the lock is stale.
    """
    from harness.tuning.apply import tuned
    from harness.tuning.lock_file import TuningLock, find_tuning_lock

    path = None if untuned else find_tuning_lock(suite, runs_dir)
    if path is None:
        return suite, None, None
    lock = TuningLock.read(path)
    return tuned(suite, lock, path), lock, path


def check_compared(lock: TuningLock | None, suite: Suite, path: Path | None, runs: Sequence[RunSpec]) -> None:
    """Refuse to compare arms that were not tuned alike; say that tuned settings are used."""
    from harness.tuning.apply import check_equal_budgets

    if lock is None or path is None:
        return
    check_equal_budgets(lock, suite, runs, path)
    if any(lock.study(run.combination.name, run.strategy.label) for run in runs):
        typer.echo(f"tuned settings from {path} (tuning seeds {', '.join(map(str, lock.seeds))}); --untuned leaves them aside", err=True)
