"""From judged trials to the lock file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.records.curves import curve_of
from harness.records.ledger import RunLog, read_ledger
from harness.records.run_folder import suite_folder
from harness.stats import parse_target
from harness.suite.suite import Suite
from harness.suite.tuning_table import VALIDATION
from harness.tuning.importance import importances
from harness.tuning.lock_file import LockedParameter, LockedRepeat, LockedStudy, LockedTarget, LockedTrial, TuningLock
from harness.tuning.sampler import Trial
from harness.tuning.space import Parameter, Point
from harness.tuning.study import Study, StudyProgress, tuning_folder
from harness.tuning.tuner import Standard, TuningState, all_studies


def freeze(suite: Suite, state: TuningState, runs_dir: Path, before: TuningLock | None) -> TuningLock:
    """The lock of all complete studies; those of ``before`` that this command did not touch and that are still fresh are kept."""
    folder = suite_folder(runs_dir, tuning_folder(suite))
    made = [_study(repeats, state.standards[repeats[0][0].arm.combination.name], folder) for repeats in finished(state)]
    new = {(s.combination, s.strategy) for s in made}
    targets = [_target(name, standard) for name, standard in state.standards.items()]
    kept = [s for s in _fresh(suite, before) if (s.combination, s.strategy) not in new]
    if before is not None:
        names = {t.combination for t in targets}
        targets += [t for t in before.targets if t.combination not in names and any(s.combination == t.combination for s in kept)]
    rule = parse_target(suite.tuning_target.model_dump(mode="json"))
    order = [(arm.combination.name, arm.strategy.label) for arm in suite.arms]
    return TuningLock(
        suite=suite.name,
        cost=suite.tuning.cost,
        seeds=suite.tuning.seeds,
        evaluation=VALIDATION,
        target=f"{rule.words}, crossing {rule.crossing}",
        targets=tuple(sorted(targets, key=lambda t: suite.combinations.index(t.combination))),
        studies=tuple(sorted([*made, *kept], key=lambda s: order.index((s.combination, s.strategy)))),
    )


Repeats = list[tuple[Study, StudyProgress]]


def finished(state: TuningState) -> list[Repeats]:
    """The searches of every arm that has all of them, each with all its trials."""
    arms: dict[tuple[str, str], Repeats] = {}
    for study, progress in state.progress:
        arms.setdefault((study.arm.combination.name, study.arm.strategy.label), []).append((study, progress))
    return [repeats for repeats in arms.values() if all(len(progress.trials) >= state.trials for _, progress in repeats)]


def median_repeat(repeats: Repeats) -> int:
    """The search whose best objective is the median, of an even number the worse one of the middle: not the luckiest."""
    values = [progress.best.value for _, progress in repeats if progress.best is not None]
    return sorted(range(len(values)), key=lambda i: (values[i], i))[len(values) // 2]


def _fresh(suite: Suite, before: TuningLock | None) -> list[LockedStudy]:
    """Studies of an earlier lock that still stand for the suite as it is."""
    if before is None or before.suite != suite.name:
        return []
    now = {
        (name, study.arm.strategy.label): study.depends_on
        for name in suite.combinations
        if any(s.combination == name for s in before.studies)
        for study in all_studies(suite, name)
    }
    return [s for s in before.studies if now.get((s.combination, s.strategy)) == s.depends_on]


def _target(combination: str, standard: Standard) -> LockedTarget:
    return LockedTarget(
        combination=combination,
        accuracy=standard.yard.accuracy,
        start=standard.yard.start,
        final=float(standard.target.final or 0.0),
        budget=standard.yard.budget,
        plateau=standard.plateau is not None and standard.plateau.flagged,
        runs=standard.runs,
    )


def _study(repeats: Repeats, standard: Standard, folder: Path) -> LockedStudy:
    """The median search of an arm, with what all of them cost."""
    median = median_repeat(repeats)
    study, progress = repeats[median]
    best = progress.best
    assert best is not None, "the first trial of a study is always complete"
    runs = dict.fromkeys(r for _, found in repeats for t in found.trials for r in t.runs)
    logs = [read_ledger(folder / run / "ledger.jsonl") for run in runs]
    shares = importances(study.space, progress.trials)
    return LockedStudy(
        combination=study.arm.combination.name,
        strategy=study.arm.strategy.label,
        best=best.number,
        settings=by_part(study.space, best.point),
        training_seconds=round(sum(_spent(log, "training_seconds") for log in logs), 3),
        generated_tokens=int(sum(_spent(log, "generated_tokens") for log in logs)),
        cost=sum(_spent(log, standard.yard.cost) for log in logs) / standard.yard.budget,
        depends_on=study.depends_on,
        parameters=tuple(
            LockedParameter(name=p.name, part=p.part, range=p.described, importance=_rounded(shares[p.name])) for p in study.space
        ),
        trials=tuple(_trial(trial) for trial in progress.trials),
        repeats=tuple(_repeat(found) for _, found in repeats) if len(repeats) > 1 else (),
        median=median,
    )


def _repeat(progress: StudyProgress) -> LockedRepeat:
    best = progress.best
    assert best is not None, "the first trial of a study is always complete"
    return LockedRepeat(value=best.value, reached=best.reached, best=best.number, settings=best.point)


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _trial(trial: Trial) -> LockedTrial:
    return LockedTrial(
        number=trial.number, state=trial.state, value=trial.value, reached=trial.reached, settings=trial.point, runs=trial.runs
    )


def by_part(space: Sequence[Parameter], point: Point) -> dict[str, dict[str, Any]]:
    """A point as settings of the algorithm and of the strategy."""
    parts: dict[str, dict[str, Any]] = {}
    for p in space:
        parts.setdefault(p.part, {})[p.setting] = point[p.name]
    return parts


def _spent(log: RunLog, cost: str) -> float:
    """What a run has cost up to its last evaluation."""
    curve = curve_of(log)
    return float(curve.cost(cost)[-1]) if len(curve.accuracy) else 0.0
