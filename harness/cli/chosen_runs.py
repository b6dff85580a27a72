"""The runs that a command works on: a suite, its lock file, and ``--only``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from harness.errors import UserError

if TYPE_CHECKING:
    from harness.spec import RunSpec
    from harness.suite.suite import Suite
    from harness.tuning.lock_file import Lock


ONLY_KEYS = ("combination", "strategy", "seed", "backend", "run")


def chosen_runs(
    name: str, plugins: list[str] | None, only: list[str] | None, runs_dir: Path, untuned: bool, backend: str | None
) -> tuple[Suite, list[RunSpec]]:
    """The suite as the command sees it and the runs that ``--only`` leaves of it.

    Raises UserError for an unknown suite, plugin, backend or filter, a stale lock file, or arms tuned with unequal budgets.
    """
    from harness.suite.reader import load_suite, with_backend
    from harness.suite.suite import find_suite, plan

    loaded = load_suite(find_suite(name), plugins or ())
    suite, lock, path = with_lock(with_backend(loaded, backend) if backend else loaded, runs_dir, untuned)
    runs = _filter(plan(suite), only or [])
    check_compared(lock, path, runs)
    return suite, runs


def _filter(runs: list[RunSpec], only: list[str]) -> list[RunSpec]:
    """Values of one key are alternatives; different keys must all hold."""
    from harness.errors import did_you_mean

    wanted: dict[str, set[str]] = {}
    for item in only:
        key, equals, value = item.partition("=")
        if not equals or key not in ONLY_KEYS:
            hint = did_you_mean(key, ONLY_KEYS)
            raise UserError(f"--only {item}: write key=value with one of the keys {', '.join(ONLY_KEYS)}{hint}")
        known = {value_of(run, key) for run in runs}
        chosen = {v for v in known if v == value or (key == "run" and value and v.startswith(value))}
        if not chosen:
            shown = f" (there are: {', '.join(sorted(known))})" if key != "run" else ""
            raise UserError(f"--only {item}: no run of this suite has {key} {value!r}{did_you_mean(value, known)}{shown}")
        wanted.setdefault(key, set()).update(chosen)
    kept = [run for run in runs if all(value_of(run, key) in values for key, values in wanted.items())]
    if not kept:
        raise UserError(f"--only {' --only '.join(only)}: no run has all of these")
    return kept


def value_of(run: RunSpec, key: str) -> str:
    """What ``--only`` compares: the value of one of ``ONLY_KEYS``."""
    if key == "run":
        return run.run_id  # a hash: not worked out for the other keys
    return {
        "combination": run.combination.name, "strategy": run.strategy.label, "seed": str(run.seed), "backend": run.combination.backend,
    }[key]  # fmt: skip


def with_lock(suite: Suite, runs_dir: Path, untuned: bool) -> tuple[Suite, Lock | None, Path | None]:
    """The suite as ``run``, ``plan``, ``status`` and ``report`` see it: with tuned settings where there is a lock.

    Raises UserError if the lock is stale.
    """
    from harness.tuning.apply import tuned
    from harness.tuning.lock_file import Lock, find_lock

    path = None if untuned else find_lock(suite, runs_dir)
    if path is None:
        return suite, None, None
    lock = Lock.read(path)
    return tuned(suite, lock, path), lock, path


def check_compared(lock: Lock | None, path: Path | None, runs: Sequence[RunSpec]) -> None:
    """Refuse to compare arms that were not tuned alike; say that tuned settings are used."""
    from harness.tuning.apply import check_equal_budgets

    if lock is None or path is None:
        return
    check_equal_budgets(lock, runs, path)
    if any(lock.study(run.combination.name, run.strategy.label) for run in runs):
        typer.echo(f"tuned settings from {path} (tuning seeds {', '.join(map(str, lock.seeds))}); --untuned leaves them aside", err=True)
