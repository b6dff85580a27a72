"""A course read for a report: its analysis, the lock of its tuning, its measured regimes, and what its selectors drew."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.course.archive import unpack
from benchmarks.course.clock import duration
from harness.cli.chosen_runs import with_tuned_settings
from harness.cli.regime import regime_tables, start_regimes
from harness.cli.report import why_absent
from harness.errors import UserError
from harness.records.ledger import LEDGER_NAME, RunLog, read_ledger
from harness.records.run_folder import run_paths, run_status, suite_folder
from harness.rehearsal.play import concentration
from harness.spec import RunSpec
from harness.stats import TokenPrices
from harness.suite.reader import load_suite
from harness.suite.suite import Suite, find_suite, plan
from harness.tuning.lock_file import NAME as LOCK
from harness.tuning.lock_file import TuningLock, find_tuning_lock
from reports.analysis import analyse
from reports.arms import Analysis
from reports.condensed import Run, condense
from reports.regime import StartRegime

FACTS = "course.json"

Key = tuple[str, str, int]


@dataclass(slots=True)
class Course:
    """facts: ``course.json``. most_drawn: per (combination, arm) and run, the share of draws that fell on the 50 most drawn questions.

    run_seconds: wall time of every complete run (of its last attempt), start-up and evaluations included.
    """

    name: str
    facts: dict[str, Any]
    analysis: Analysis
    lock: TuningLock | None
    regimes: dict[str, StartRegime]
    most_drawn: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    run_seconds: list[float] = field(default_factory=list)

    @property
    def simulated(self) -> bool:
        """Whether its policy is a simulated one."""
        return all(run.spec["combination"]["backend"] == "simulator" for run in self.analysis.runs)

    def at_share(self, share: float) -> Analysis:
        """The same runs compared at another share of the baseline's gain."""
        return _analysis(self.analysis.runs, self.facts, {"share_of_gain": share, "crossing": self.analysis.rule.crossing})


def resolved(name: str, runs_dir: Path) -> Suite:
    """The suite as ``halfway report`` sees it, with tuned settings where there is a lock."""
    return with_tuned_settings(load_suite(find_suite(name)), runs_dir, untuned=False)[0]


def finished_runs(suite: Suite, runs_dir: Path) -> list[RunSpec]:
    """Runs with a result, in the order of the plan. Raises UserError where there is none."""
    runs = [s for s in plan(suite) if run_status(run_paths(runs_dir, s), s, holding_lock=True).is_result]
    if not runs:
        raise UserError(f"no run of suite {suite.name!r} in {runs_dir} is finished; start 'halfway run {suite.argument}' first")
    return runs


def facts_of(suite: Suite, runs_dir: Path) -> dict[str, Any]:
    """What a report needs beside the runs, and what the course took; of an unpacked archive the time is the one that it says."""
    folder = suite_folder(runs_dir, suite.name)
    runs, done = plan(suite), finished_runs(suite, runs_dir)
    absent = [(s, why_absent(s, run_status(run_paths(runs_dir, s), s, holding_lock=True))) for s in runs]
    took = duration(run_paths(runs_dir, s).root for s in done)
    tuning = duration(p.parent for p in sorted(suite_folder(runs_dir, f"{suite.name}.tuning").glob(f"*/{LEDGER_NAME}")))
    kept = json.loads((folder / FACTS).read_text(encoding="utf-8")) if (folder / FACTS).is_file() else {}
    return {
        "suite": suite.name,
        "description": suite.description,
        "baseline": suite.baseline,
        "target": suite.target.model_dump(mode="json"),
        "prices": list(suite.report.prices),
        "forward_price": suite.report.forward_price,
        "planned": len(runs),
        "finished": len(done),
        "time": took.to_json() if took is not None else kept.get("time"),
        "tuning_time": tuning.to_json() if tuning is not None else kept.get("tuning_time"),
        "settings_of": sorted([a.combination.name, a.strategy.label, a.settings_of] for a in suite.arms if a.settings_of is not None),
        "expected": [_key(s) for s in runs],
        "absent": [[*_key(s), *found] for s, found in absent if found is not None],
    }


def _key(spec: RunSpec) -> list[Any]:
    return [spec.combination.name, spec.strategy.label, spec.seed]


def course_of_runs(name: str, runs_dir: Path) -> Course:
    """The course of a suite from its folder of runs."""
    suite = resolved(name, runs_dir)
    specs = {run_paths(runs_dir, s).ledger: s.model_dump(mode="json") for s in finished_runs(suite, runs_dir)}
    lock = find_tuning_lock(suite, runs_dir)
    return _course(facts_of(suite, runs_dir), specs, suite_folder(runs_dir, suite.name), lock)


def course_of_archive(archive: Path) -> Course:
    """The course in an archive that ``courses.py pack`` wrote; the suite's own file may have changed since."""
    with tempfile.TemporaryDirectory() as place:
        names = unpack(archive, Path(place))
        folder = Path(place) / names[0].split("/")[0]
        if not (folder / FACTS).is_file():
            raise UserError(f"{archive} holds no {FACTS}: it is no archive of a course; pack it with 'benchmarks/courses.py pack'")
        ledgers = sorted(folder.glob(f"*/{LEDGER_NAME}"))
        specs = {path: json.loads(path.with_name("spec.json").read_text(encoding="utf-8")) for path in ledgers}
        lock = folder / LOCK
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return _course(facts, specs, folder, lock if lock.is_file() else None)


def _course(facts: dict[str, Any], specs: Mapping[Path, dict[str, Any]], folder: Path, lock: Path | None) -> Course:
    runs, most_drawn, took = [], {}, []
    for path, spec in specs.items():
        log = read_ledger(path)
        log.spec = spec
        run = condense(log)
        runs.append(run)
        if log.attempt_seconds is not None:
            took.append(log.attempt_seconds)
        share = share_of_most_drawn(log)
        if share is not None:
            most_drawn.setdefault((run.combination, run.strategy), []).append(share)
    analysis = _analysis(runs, facts, facts["target"])
    regimes = _regimes(folder, {r.combination: int(r.spec["algorithm"]["group_size"]) for r in runs})
    return Course(facts["suite"], facts, analysis, None if lock is None else TuningLock.read(lock), regimes, most_drawn, took)


def _analysis(runs: Sequence[Run], facts: Mapping[str, Any], target: Mapping[str, Any]) -> Analysis:
    begun = {run.combination for run in runs}  # of a suite that is run combination by combination the others are not there yet
    return analyse(
        runs,
        baseline=facts["baseline"],
        target=target,
        expected=[(c, s, int(seed)) for c, s, seed in facts["expected"] if c in begun],
        absent={(c, s, int(seed)): (state, why) for c, s, seed, state, why in facts["absent"] if c in begun},
        prices=[TokenPrices(p, facts["forward_price"]) for p in facts["prices"]],
    )


def share_of_most_drawn(log: RunLog) -> float | None:
    """Share of a run's draws that fell on its 50 most drawn questions; None where nothing was drawn."""
    drawn = np.concatenate([np.array(s.question_ids, dtype=np.int64) for s in log.steps] or [np.empty(0, np.int64)])
    return concentration(np.unique(drawn, return_counts=True)[1]) if len(drawn) else None


def _regimes(folder: Path, group_sizes: Mapping[str, int]) -> dict[str, StartRegime]:
    return {name: start_regimes(table, size)[-1] for name, size in sorted(group_sizes.items()) for table in regime_tables(folder, name)}
