"""Bring every study of a suite to its end: work out which runs are needed next, run them, look again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from harness.data.provenance import built_task
from harness.errors import UserError
from harness.records.ledger import RunLog
from harness.spec import RunSpec
from harness.stats import Plateau, Target, check_plateau, parse_target, resolve_target
from harness.suite.suite import Arm, Suite
from harness.suite.tuning_table import VALIDATION
from harness.tuning.objective import Yardstick, curve_until
from harness.tuning.sampler import Trial
from harness.tuning.space import spaces
from harness.tuning.study import Ledgers, Study, StudyProgress, find_baseline, tuning_folder


@dataclass(frozen=True, slots=True)
class Standard:
    """The yardstick of one combination, the target it came from, and the baseline's runs behind it."""

    yard: Yardstick
    target: Target
    plateau: Plateau | None
    runs: tuple[str, ...]


@dataclass(slots=True)
class TuningState:
    """How the studies stand. standards: by combination; progress: by study, in the order of the suite."""

    standards: dict[str, Standard] = field(default_factory=dict)
    progress: list[tuple[Study, StudyProgress]] = field(default_factory=list)
    trials: int = 0

    @property
    def judged(self) -> int:
        """Trials that are judged."""
        return sum(len(p.trials) for _, p in self.progress)

    @property
    def complete(self) -> bool:
        """Whether every study has all its trials."""
        return all(len(p.trials) >= self.trials for _, p in self.progress)


#: Runs what it is given as far as possible; False when it was asked to stop.
Execute = Callable[[Sequence[RunSpec], TuningState], bool]


class Tuner:
    """Studies of the arms in ``chosen``, each with ``trials`` trials.

    With several ``tuning.studies`` every arm has as many. Raises UserError where the suite cannot be tuned: overlapping seeds, no
    validation questions, no baseline.
    """

    def __init__(self, suite: Suite, chosen: Sequence[Arm], runs_dir: Path, trials: int) -> None:
        self.suite, self.trials = suite, trials
        check_disjoint_seeds(suite)
        _check_validation(suite, chosen)
        everything = [study for name in dict.fromkeys(arm.combination.name for arm in chosen) for study in all_studies(suite, name)]
        searched = [study for study in everything if study.arm in chosen]
        self.studies = [replace(study, repeat=repeat) for study in searched for repeat in range(suite.tuning.studies)]
        self._baselines = {study.arm.combination.name: study for study in everything if study.arm == study.baseline}
        self._known: dict[str, list[Trial]] = {}
        self.ledgers = Ledgers(runs_dir, tuning_folder(suite))

    def look(self) -> TuningState:
        """How everything stands, from the ledgers alone."""
        state = TuningState(trials=self.trials)
        for study in self.studies:
            name = study.arm.combination.name
            if name not in state.standards and (standard := self._standard(study)):
                state.standards[name] = standard
            found = state.standards.get(name)
            known = self._known.get(study.name, ())
            progress = study.look(self.ledgers, found.yard if found else None, self.trials, known)
            self._known[study.name] = progress.trials
            state.progress.append((study, progress))
        return state

    def needed(self, state: TuningState) -> list[RunSpec]:
        """The runs that the next trials wait for, each once; what sets a target comes first."""
        wanted: dict[str, RunSpec] = {}
        baselines = [run for study, _ in state.progress for run in self._baseline_runs(study) if self.ledgers.finished(run) is None]
        for run in [*baselines, *(run for _, progress in state.progress for run in progress.waiting_for)]:
            known = wanted.get(run.run_id)
            if known is None or known.algorithm.max_steps < run.algorithm.max_steps:
                wanted[run.run_id] = run
        return list(wanted.values())

    def run(self, execute: Execute) -> TuningState:
        """Work until every study has its trials, or nothing more can be done."""
        tried: set[tuple[str, int]] = set()
        while True:
            state = self.look()
            runs = [run for run in self.needed(state) if (run.run_id, run.algorithm.max_steps) not in tried]
            if not runs:
                return state
            if not execute(runs, state):
                return self.look()
            tried |= {(run.run_id, run.algorithm.max_steps) for run in runs}

    def _baseline_runs(self, study: Study) -> list[RunSpec]:
        """The baseline with the suite's own settings to its full length: what target and budget come from."""
        own = self._baselines[study.arm.combination.name]
        return [own.spec(own.arm, seed, 0) for seed in self.suite.tuning.seeds]

    def _standard(self, study: Study) -> Standard | None:
        """Target and budget of a combination, once the baseline's first trial is finished. Raises UserError for no usable target."""
        runs = self._baseline_runs(study)
        logs = [self.ledgers.finished(run) for run in runs]
        if any(log is None for log in logs):
            return None
        return standard_of(self.suite, study.arm.combination.name, [log for log in logs if log is not None])


def standard_of(suite: Suite, combination: str, logs: Sequence[RunLog]) -> Standard:
    """Target and budget from the baseline's first trial. Raises UserError where there is no target to tune for."""
    curves = [curve_until(log) for log in logs]
    rule, cost = parse_target(suite.tuning_target.model_dump(mode="json")), suite.tuning.cost
    target = resolve_target(rule, curves)
    ends = [float(c.cost(cost)[-1]) for c in curves if len(c.accuracy)]
    budget = float(np.median(ends)) if ends else 0.0
    if target.accuracy is None or target.start is None or target.accuracy <= target.start or budget <= 0:
        why = target.note or "the baseline's runs show no accuracy above their first"
        raise UserError(
            f"{combination} cannot be tuned: {why}, on validation questions with seeds {', '.join(map(str, suite.tuning.seeds))}; "
            "give it more steps or set another target"
        )
    yard = Yardstick(target.accuracy, target.start, budget, cost, rule.crossing)
    return Standard(yard, target, check_plateau(curves, target.accuracy, cost=cost), tuple(log.run_id for log in logs))


def all_studies(suite: Suite, combination: str) -> list[Study]:
    """The studies of a combination, one per arm that is tuned, in the order of the file. UserError for a range that makes no sense."""
    arms = [arm for arm in suite.arms if arm.combination.name == combination and arm.settings_of is None]
    baseline = find_baseline(suite, combination)
    found = spaces(arms, baseline, suite.tuning.space, suite.tuning.strategy_space)
    return [Study(suite, arm, baseline, space) for arm, space in zip(arms, found, strict=True)]


def check_disjoint_seeds(suite: Suite) -> None:
    """Raise UserError if a seed is used for tuning and for reporting."""
    both = [seed for seed in suite.tuning.seeds if seed in suite.seeds]
    if both:
        raise UserError(
            f"{suite.path}: seed {both[0]} is one of the suite's seeds and of tuning.seeds: settings chosen on a seed look better on it "
            "than they are; choose other tuning seeds"
        )


def _check_validation(suite: Suite, chosen: Sequence[Arm]) -> None:
    if any(VALIDATION in arm.evaluation.sets for arm in chosen):
        raise UserError(
            f"{suite.path}: evaluation.sets names {VALIDATION!r}, but tuning chooses settings on these questions; report others"
        )
    for task in {arm.combination.task.model_dump_json(): arm.combination.task for arm in chosen}.values():
        if not built_task(task).splits.get(VALIDATION):
            raise UserError(
                f"{suite.path}: task {task.name!r} has no validation questions, and tuning must not see the test questions; "
                "set the task's validation size above 0"
            )
