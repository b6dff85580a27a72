"""One study, combination x arm, as a projection of the ledgers of its runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.records.ledger import RunLog, read_ledger
from harness.records.run_folder import run_paths, run_status
from harness.spec import RunSpec, SpecError
from harness.suite.suite import Arm, Suite
from harness.suite.tuning_table import VALIDATION
from harness.tuning.objective import RULES, Score, Yardstick, cannot_win, curve_until, mean_value, score
from harness.tuning.sampler import STARTUP_TRIALS, Trial, propose
from harness.tuning.space import Point, Space, at


class Ledgers:
    """The runs of one tuning folder: which are finished, their ledgers (read once), and which point a trial was started with."""

    def __init__(self, runs_dir: Path, folder: str) -> None:
        self.runs_dir, self.folder = runs_dir, folder
        self._read: dict[tuple[str, int], RunLog] = {}

    def finished(self, spec: RunSpec) -> RunLog | None:
        """The ledger of a run that is over under this spec (its ``max_steps`` and budget), or None."""
        key = (spec.run_id, spec.algorithm.max_steps)
        if key not in self._read:
            paths = run_paths(self.runs_dir, spec)
            if not run_status(paths, spec).is_result:
                return None
            self._read[key] = read_ledger(paths.ledger)
        return self._read[key]

    @cached_property
    def started(self) -> dict[str, list[RunSpec]]:
        """Specs of runs that this folder holds, by label, as they were when the command began."""
        found: dict[str, list[RunSpec]] = {}
        for path in sorted((self.runs_dir / self.folder).glob("*/spec.json")):
            try:
                spec = RunSpec.load(path)
            except SpecError:
                continue  # of another version: its trial is proposed again
            found.setdefault(f"{spec.combination.name}/{spec.strategy.label}", []).append(spec)
        return found


@dataclass(slots=True)
class StudyProgress:
    """A study as far as the ledgers go: trials that are judged, and the runs that the next one waits for."""

    trials: list[Trial] = field(default_factory=list)
    waiting_for: list[RunSpec] = field(default_factory=list)

    @property
    def best(self) -> Trial | None:
        """The complete trial with the lowest objective; the earlier of equals."""
        complete = [t for t in self.trials if t.state == "complete"]
        return min(complete, key=lambda t: (t.value, t.number), default=None)


@dataclass(frozen=True)
class Study:
    """What determines the sequence of trials of one arm; the number of trials does not.

    repeat: number of this search among ``tuning.studies`` of the arm, whose samplers have seeds of their own.
    """

    suite: Suite
    arm: Arm
    baseline: Arm
    space: Space
    repeat: int = 0

    @property
    def name(self) -> str:
        """Combination and arm, and which of several searches."""
        which = f" (study {self.repeat + 1})" if self.suite.tuning.studies > 1 else ""
        return f"{self.arm.combination.name}/{self.arm.strategy.label}{which}"

    @cached_property
    def depends_on(self) -> dict[str, str]:
        """Hashes of every group of settings that the result depends on, by a name for people."""
        found = self._settings
        return found if self.suite.tuning.studies == 1 else {**found, "studies": str(self.suite.tuning.studies)}

    @cached_property
    def _settings(self) -> dict[str, str]:
        mine, base = self.spec(self.arm, self.suite.tuning.seeds[0]), self.spec(self.baseline, self.suite.tuning.seeds[0])
        groups: dict[str, Any] = {
            "combination": _identity(mine, "combination."),
            "strategy": _identity(mine, "strategy."),
            "algorithm": [_identity(mine, "algorithm."), mine.algorithm.max_steps],
            "evaluation": _identity(mine, "evaluation."),
            "baseline": [_identity(base, "strategy."), _identity(base, "algorithm."), base.algorithm.max_steps],
            "target": self.suite.tuning_target.model_dump(mode="json"),
            "budget": self.suite.budget.model_dump(mode="json"),
            "tuning": [
                RULES, STARTUP_TRIALS, self.suite.tuning.cost, self.suite.tuning.seeds,
                [[p.name, p.part, p.described] for p in self.space],
            ],
        }  # fmt: skip
        return {name: _digest(value)[:12] for name, value in groups.items()}

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the settings that its trials depend on and, from the second search on, of its number."""
        return _digest([self._settings, self.repeat] if self.repeat else self._settings)[:12]

    def spec(self, arm: Arm, seed: int, trial: int | None = None) -> RunSpec:
        """A run of this study: the suite's, but on a tuning seed and on validation questions alone."""
        label = arm.strategy.label if trial is None else self.label(trial)
        return RunSpec(
            suite=tuning_folder(self.suite),
            combination=arm.combination,
            strategy=arm.strategy.model_copy(update={"label": label}),
            algorithm=arm.algorithm,
            evaluation=arm.evaluation.model_copy(update={"sets": (VALIDATION,), "also": (), "diagnostic_questions": 0}),
            seed=seed,
            execution=self.suite.execution.model_copy(update={"keep_rollouts": False, "trackers": ()}),
            target=self.suite.tuning_target,
            budget=self.suite.budget,
        )

    def label(self, trial: int) -> str:
        """Label of a trial's runs: arm, trial number, study."""
        return f"{self.arm.strategy.label}.trial-{trial}.{self.fingerprint[:6]}"

    def look(self, ledgers: Ledgers, yard: Yardstick | None, trials: int, known: Sequence[Trial] = ()) -> StudyProgress:
        """The first ``trials`` trials, as far as the ledgers go.

        yard: None while the baseline's first trial is not finished: nothing can be judged then, but this study's first
        trial may already run. known: the trials that an earlier look found.
        """
        found = StudyProgress(list(known))
        while len(found.trials) < trials:
            number = len(found.trials)
            point = self._started(ledgers, number) or propose(self.fingerprint, self.space, found.trials)
            arm = at(self.arm, self.space, point)
            runs = [self.spec(arm, seed, number) for seed in self.suite.tuning.seeds]
            best = found.best
            judged = self._judge(number, point, runs, ledgers, yard, best.value if best else None)
            if isinstance(judged, list):
                found.waiting_for = judged
                break
            found.trials.append(judged)
        return found

    def _judge(
        self, number: int, point: Point, runs: Sequence[RunSpec], ledgers: Ledgers, yard: Yardstick | None, best: float | None
    ) -> Trial | list[RunSpec]:
        """The trial, or the runs it still needs.

        It is looked at twice: when all its seeds have come half-way, and at the end. A run that has reached the target half-way has
        nothing more to show; a trial that can no longer win is pruned there, never before.
        """
        half = half_way(runs[0])
        first = [_shortened(run, half) for run in runs]
        logs = {run.run_id: ledgers.finished(run) or ledgers.finished(short) for run, short in zip(runs, first, strict=True)}
        if missing := [short for short in first if logs[short.run_id] is None]:
            return missing
        if yard is None:
            return []
        scores = [score(curve_until(log, half), yard) for log in logs.values() if log is not None]
        ids, over = tuple(logs), half == runs[0].algorithm.max_steps
        open_ = not over and not all(s.reached for s in scores)
        if open_ and best is not None and cannot_win(scores, best):
            return Trial(number, point, "pruned", mean_value(scores), half, sum(s.reached for s in scores), ids)
        last = half
        if open_:
            going_on = [run for run, found in zip(runs, scores, strict=True) if not found.reached]
            if missing := [run for run in going_on if ledgers.finished(run) is None]:
                return missing
            scores = [found if found.reached else self._final(ledgers, run, yard) for run, found in zip(runs, scores, strict=True)]
            last = runs[0].algorithm.max_steps
        return Trial(number, point, "complete", mean_value(scores), last, sum(s.reached for s in scores), ids)

    @staticmethod
    def _final(ledgers: Ledgers, run: RunSpec, yard: Yardstick) -> Score:
        log = ledgers.finished(run)
        assert log is not None
        return score(curve_until(log, run.algorithm.max_steps), yard)

    def _started(self, ledgers: Ledgers, trial: int) -> Point | None:
        """The point that a trial was started with, from its runs: another version of the sampler must not start it anew."""
        for spec in ledgers.started.get(f"{self.arm.combination.name}/{self.label(trial)}", ()):
            parts: dict[str, Mapping[str, Any]] = {"algorithm": spec.algorithm.model_dump(mode="json"), "strategy": spec.strategy.config}
            point = {p.name: parts[p.part][p.setting] for p in self.space if p.setting in parts[p.part]}
            if len(point) == len(self.space) and all(p.contains(point[p.name]) for p in self.space):
                same = self.spec(at(self.arm, self.space, point), spec.seed, trial)
                if same.run_id == spec.run_id:
                    return point
        return None


def tuning_folder(suite: Suite) -> str:
    """Name of the folder below the runs folder that holds a suite's trials."""
    return f"{suite.name}.tuning"


def half_way(spec: RunSpec) -> int:
    """The evaluation at or next after half of a run's steps; its last step where it cannot be stopped and extended."""
    every, steps = spec.evaluation.every_steps, spec.algorithm.max_steps
    half = -(-steps // (2 * every)) * every
    # A learning rate schedule that ends at max_steps makes a shortened run another run.
    return steps if half >= steps or spec.algorithm.lr_schedule != "constant" else half


def _shortened(run: RunSpec, steps: int) -> RunSpec:
    return run.model_copy(update={"algorithm": run.algorithm.model_copy(update={"max_steps": steps})})


def _identity(spec: RunSpec, prefix: str) -> dict[str, Any]:
    return {key: value for key, value in spec.identity().items() if key.startswith(prefix)}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def find_baseline(suite: Suite, combination: str) -> Arm:
    """The baseline's arm on a combination. Raises UserError if it does not run there."""
    for arm in suite.arms:
        if arm.combination.name == combination and arm.strategy.label == suite.baseline:
            return arm
    raise UserError(
        f"tuning needs the baseline {suite.baseline!r} on combination {combination!r}, because the target comes from it; let it run there"
    )
