"""The curves of a suite while its runs go on: ledgers are read as they grow, whole lines only, steps passed over.

Watching must not take processor time from runs that are being timed, so of the lines that were added only evaluations, attempts
and the last step are parsed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from harness.records.curves import curve_of
from harness.records.ledger import NO_RECORD, LedgerError, RunLog, open_log, parse_line
from harness.records.run_folder import DONE, RunStatus, run_paths, run_status
from harness.records.tail import Tail
from harness.spec import RunSpec
from harness.stats import Curve, Target, TargetRule, parse_target, reach, resolve_target
from harness.stats.curve import Array


@dataclass(frozen=True, slots=True)
class LiveRun:
    """A run as it stands: its state, and the curve so far (None where nothing was evaluated)."""

    spec: RunSpec
    status: RunStatus
    curve: Curve | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All runs of a suite as they stand, and per combination the target as far as the baseline's runs tell."""

    runs: list[LiveRun]
    targets: dict[str, Target]
    rule: TargetRule

    @property
    def over(self) -> bool:
        """Whether every run is done or has failed, so that nothing will change unless a command starts it again."""
        return all(r.status.state in DONE | {"failed"} for r in self.runs)

    def of(self, combination: str) -> dict[str, list[LiveRun]]:
        """The runs of a combination by strategy label, in the order of the plan."""
        found: dict[str, list[LiveRun]] = {}
        for run in self.runs:
            if run.spec.combination.name == combination:
                found.setdefault(run.spec.strategy.label, []).append(run)
        return found

    def reached(self, run: LiveRun) -> bool:
        """Whether a run has reached the target of its combination."""
        target = self.targets[run.spec.combination.name].accuracy
        return run.curve is not None and target is not None and reach(run.curve, target, rule=self.rule.crossing).reached


_STEP = b'{"type":"step"'


class GrowingLog:
    """A ledger as far as it has been written. ``log`` holds its evaluations and the last step only; None until there is a run record."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self._tail, self._spec = Tail(path, from_start=True), spec.model_dump(mode="json")
        self._restarts = 0
        self._broken = False
        self.log: RunLog | None = None

    def update(self) -> bool:
        """Read what was added; True if anything changed. A folder that was moved away starts anew."""
        lines = self._tail.new_lines()
        restarted = self._tail.restarts != self._restarts
        if restarted:
            self._restarts, self._broken, self.log = self._tail.restarts, False, None
        last = max((i for i, line in enumerate(lines) if line.startswith(_STEP)), default=-1)
        for i, line in enumerate(lines):
            if not self._broken and (i == last or not line.startswith(_STEP)):
                self._add(line)
        return restarted or bool(lines)

    def _add(self, line: bytes) -> None:
        try:
            record = parse_line(line)
            if self.log is None:
                self.log = open_log(self._tail.path, record)
                self.log.spec = self._spec
            else:
                self.log.add(record)
        except (LedgerError, *NO_RECORD):
            self._broken = True  # whoever reads the whole ledger says so, with its line


class SuiteWatch:
    """Follows the runs of one suite."""

    def __init__(self, specs: Sequence[RunSpec], runs_dir: Path, baseline: str) -> None:
        self._specs, self._runs_dir, self._baseline = list(specs), runs_dir, baseline
        self._logs = {s.run_id: GrowingLog(run_paths(runs_dir, s).ledger, s) for s in specs}
        self._statuses: dict[str, RunStatus] = {}
        self._rule = parse_target(specs[0].target.model_dump(mode="json"))

    def look(self) -> Snapshot:
        """How everything stands now; never raises for what is on disk."""
        runs = []
        for spec in self._specs:
            growing = self._logs[spec.run_id]
            known = self._statuses.get(spec.run_id)
            if growing.update() or known is None or known.state not in DONE:
                self._statuses[spec.run_id] = known = run_status(run_paths(self._runs_dir, spec), spec)
            curve = curve_of(growing.log) if growing.log is not None and growing.log.evaluations else None
            runs.append(LiveRun(spec, known, curve))
        targets = {}
        for name in dict.fromkeys(s.combination.name for s in self._specs):
            base = [r for r in runs if (r.spec.combination.name, r.spec.strategy.label) == (name, self._baseline)]
            done = [r.curve for r in base if r.curve is not None and r.status.state in DONE]
            target = resolve_target(self._rule, done)  # from a run that is still learning it would move all the time
            if not done and target.accuracy is None:
                target = replace(target, note=f"the target is known when a run of {self._baseline} is done")
            targets[name] = replace(target, provisional=0 < len(done) < len(base) and self._rule.kind != "accuracy")
        return Snapshot(runs, targets, self._rule)


def lines_of(runs: Sequence[LiveRun], ledger: str) -> list[list[tuple[float, float]]]:
    """What to draw of one arm: the median of the runs that are done, and every other run by itself; (cost, accuracy) points."""
    done = [r.curve for r in runs if r.curve is not None and r.status.state in DONE]
    alone = [r.curve for r in runs if r.curve is not None and r.status.state not in DONE]
    lines = [_points(c.costs[ledger], c.accuracy) for c in (done if len(done) == 1 else []) + alone]
    if len(done) > 1:
        grid = np.linspace(max(c.costs[ledger][0] for c in done), min(c.costs[ledger][-1] for c in done), 120)
        lines.append(_points(grid, np.median([np.interp(grid, c.costs[ledger], c.accuracy) for c in done], axis=0)))
    return lines


def _points(costs: Array, accuracy: Array) -> list[tuple[float, float]]:
    return list(zip(costs.tolist(), accuracy.tolist(), strict=True))
