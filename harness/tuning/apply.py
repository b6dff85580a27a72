"""Applying a lock file to a suite; refusing one that is stale or unequal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from harness.errors import UserError
from harness.spec import RunSpec
from harness.suite.suite import Suite
from harness.tuning.lock_file import LockedStudy, TuningLock


def tuned(suite: Suite, lock: TuningLock, path: Path) -> Suite:
    """The suite with the settings that tuning found. Raises UserError if the lock is stale or belongs to another suite."""
    from harness.tuning.space import with_settings
    from harness.tuning.tuner import all_studies, check_disjoint_seeds

    if lock.suite != suite.name:
        raise UserError(f"{path} was made for suite {lock.suite!r}, not for {suite.name!r}; remove it, or run with --untuned")
    check_disjoint_seeds(replace(suite, tuning=suite.tuning.model_copy(update={"seeds": lock.seeds})))
    found = {}
    for combination in dict.fromkeys(study.combination for study in lock.studies if study.combination in suite.combinations):
        found.update({(combination, study.arm.strategy.label): study for study in all_studies(suite, combination)})
    arms = []
    for arm in suite.arms:
        key = (arm.combination.name, arm.settings_of or arm.strategy.label)
        locked = lock.study(*key)
        if locked is not None:
            _check_fresh(locked, found[key].depends_on, path, suite)
            own = {} if arm.settings_of else locked.settings.get("strategy", {})
            arm = with_settings(arm, locked.settings.get("algorithm", {}), own)
        arms.append(arm)
    return replace(suite, arms=tuple(arms), lock=path)


def _check_fresh(locked: LockedStudy, now: Mapping[str, str], path: Path, suite: Suite) -> None:
    changed = [name for name, value in now.items() if locked.depends_on.get(name) != value]
    if changed:
        raise UserError(
            f"{path} is stale: {locked.combination}/{locked.strategy} was tuned before the suite's {' and '.join(changed)} settings (or "
            f"the versions behind them) changed; tune again ('halfway tune {suite.argument}'), or run with --untuned"
        )


def check_equal_budgets(lock: TuningLock, suite: Suite, runs: Iterable[RunSpec], path: Path) -> None:
    """Raise UserError if runs to be compared had unequal numbers of trials, or if tuning made two of them the same run.

    A control counts as tuned like the arm whose settings it takes.
    """
    sources = {(arm.combination.name, arm.strategy.label): arm.settings_of for arm in suite.arms}
    arms: dict[str, dict[str, int]] = {}
    seen: dict[str, RunSpec] = {}
    for run in runs:
        source = sources.get((run.combination.name, run.strategy.label))
        locked = lock.study(run.combination.name, source or run.strategy.label)
        arms.setdefault(run.combination.name, {})[run.strategy.label] = len(locked.trials) if locked else 0
        other = seen.setdefault(run.run_id, run)
        if other is not run:
            raise UserError(f"{path} makes {other.title} and {run.title} the same run; leave one out with --only, or run with --untuned")
    for combination, trials in arms.items():
        if len(set(trials.values())) > 1:
            listed = ", ".join(f"{label} {count or 'none'}" for label, count in trials.items())
            raise UserError(
                f"{path}: the strategies of {combination} were not tuned alike (trials: {listed}), so a comparison would favour "
                "the one tuned more; tune the others too, choose runs with --only, or run with --untuned"
            )
