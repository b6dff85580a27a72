"""What a report needs of one run, in compact numpy columns: a ledger goes in, its Python objects can then be let go.

A run of 500 steps is about 2 MB of objects and 60 kB here; that is why a report of a thousand runs fits in memory.
"""

from __future__ import annotations

import gc
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np

from harness.records.curves import curve_of
from harness.records.ledger import LedgerError, RunLog, read_ledger
from harness.records.ledger_records import Provenance
from harness.stats import Curve
from harness.types import PHASES, EvalPoint, StepRecord
from reports.evaluation_columns import Evaluations, evaluation_columns
from reports.parallel import map_processes
from reports.persistence import revisited
from reports.run_columns import (
    RELIABILITY_BINS,
    Array,
    age_counts,
    distinct_so_far,
    importance_ratio_statistics,
    pass_rate_counts,
    predictor_columns,
    ratio_counts,
    reliability_sums,
    step_columns,
)

State = Literal["complete", "unfinished", "failed", "missing"]

#: Below this, starting processes costs more than it saves.
FEW_LEDGERS = 48


@dataclass(slots=True)
class Run:
    """One run, condensed.

    predictor: per diagnostic, shape (E,), NaN where it was not measured. steps: columns of shape (T,): ``STEP_COLUMNS``
    and one ``seconds_<phase>`` per phase. pass_rates: fresh groups per stretch and class, shape (STRETCHES, 6).
    machine: what must be equal for seconds to be compared. replayed_ages: replayed groups per class of staleness, shape (7,).
    ratio_classes: replayed tokens per class of importance ratio, shape (7,), zeros where it was not recorded. reliability:
    per tenth of the predicted pass rate (questions, sum predicted, sum observed), shape (10, 3). coverage: different questions
    selected so far, per step, shape (T,). pool_size: questions of the pool, None where it was not recorded. questions: per split
    (how many, hash of their text, where they are from); model: commit or digest behind its name; both empty where they were not recorded.
    final_accuracies: of the last evaluation, per evaluation set. evaluations: what they say beside accuracy.
    revisits: see :func:`reports.persistence.revisited`.
    """

    combination: str
    strategy: str
    seed: int
    run_id: str
    state: State
    spec: dict[str, Any]
    curve: Curve
    eval_steps: Array
    predictor: dict[str, Array]
    steps: dict[str, Array]
    pass_rates: Array
    staleness_max: int
    importance_ratio: dict[str, float]
    fresh_log_ratio: float | None
    selected_questions: int
    replayed_ages: Array
    ratio_classes: Array
    reliability: Array
    coverage: Array
    pool_size: int | None
    environment: dict[str, Any]
    machine: str
    attempts: int
    warnings: list[str] = field(default_factory=list)
    failure: str = ""
    one_off: dict[str, float] = field(default_factory=dict)
    lost_seconds: float = 0.0
    oracle_rollouts: int = 0
    questions: dict[str, tuple[int, str, str]] = field(default_factory=dict)
    model: str = ""
    final_accuracies: dict[str, float] = field(default_factory=dict)
    evaluations: Evaluations = field(default_factory=Evaluations)
    revisits: Array = field(default_factory=lambda: np.empty((4, 0)))

    @property
    def last_step(self) -> int:
        """Training steps completed."""
        return int(self.steps["step"][-1]) if len(self.steps["step"]) else 0

    @property
    def distinct_questions(self) -> int:
        """Different questions that were selected."""
        return int(self.coverage[-1]) if len(self.coverage) else 0

    @property
    def phase_seconds(self) -> dict[str, float]:
        """Seconds per phase over the whole run."""
        return {p: float(self.steps[f"seconds_{p}"].sum()) for p in PHASES}

    @property
    def uncharged_oracle(self) -> bool:
        """Whether its labels are not charged."""
        return bool(self.spec["strategy"].get("uncharged_oracle", False))


def condense_ledgers(
    paths: Sequence[Path], specs: Sequence[dict[str, Any]] | None = None, unreadable: list[str] | None = None
) -> Iterator[Run]:
    """Read and condense ledgers, in order, on all cores; one ledger's objects at a time per process are in memory.

    specs: resolved run specs to use instead of the recorded ones, which hold what the execution fields (labels, targets) were
    when a run began. unreadable: collects one message per ledger that cannot be read; without it, raises LedgerError as
    ``read_ledger`` does.
    """
    jobs = list(zip(paths, specs if specs is not None else [None] * len(paths), strict=True))
    for found in map_processes(_condense_path, jobs, least=FEW_LEDGERS, chunk=8):
        if isinstance(found, Run):
            yield found
        elif unreadable is None:
            raise LedgerError(found)
        else:
            unreadable.append(found)


def _condense_path(job: tuple[Path, dict[str, Any] | None]) -> Run | str:
    """The run, or a sentence that says why its ledger cannot be read."""
    path, spec = job
    # A ledger is a great many small objects without cycles: looking for cycles among them only costs time.
    collecting = gc.isenabled()
    gc.disable()
    try:
        log = read_ledger(path)
        if spec is not None:
            log.spec = spec
        return condense(log)
    except LedgerError as error:
        return str(error)
    finally:
        if collecting:
            gc.enable()


def condense(log: RunLog) -> Run:
    """The compact form of one ledger. An evaluation without a finite accuracy is left out, with a warning."""
    measured = [p for p in log.evaluations if math.isfinite(p.accuracy)]
    unmeasured = [p.step for p in log.evaluations if not math.isfinite(p.accuracy)]
    log = replace(log, evaluations=measured)
    curve = curve_of(log)
    curve = replace(curve, combination=printable(curve.combination), strategy=printable(curve.strategy))
    state: State = "complete" if log.complete else "failed" if log.failure is not None else "unfinished"
    one_off: dict[str, float] = {}
    for record in log.one_off:
        one_off[record.name] = one_off.get(record.name, 0.0) + record.seconds
    last = log.evaluations[-1].costs if log.evaluations else log.steps[-1].costs if log.steps else None
    if last is not None and log.steps:
        last = max(last, log.steps[-1].costs, key=lambda c: c.oracle_rollouts)
    return Run(
        combination=curve.combination,
        strategy=curve.strategy,
        seed=curve.seed,
        run_id=log.run_id,
        state=state,
        spec=log.spec,
        curve=curve,
        eval_steps=np.array([p.step for p in log.evaluations], dtype=np.float64),
        predictor=predictor_columns(log),
        steps=step_columns(log.steps),
        pass_rates=pass_rate_counts(log.steps),
        staleness_max=max((max(s.staleness) for s in log.steps if s.staleness), default=0),
        importance_ratio=importance_ratio_statistics(log.steps),
        fresh_log_ratio=max((s.fresh_log_ratio for s in log.steps if s.fresh_log_ratio is not None), default=None),
        selected_questions=sum(len(s.question_ids) for s in log.steps),
        replayed_ages=age_counts(log.steps),
        ratio_classes=ratio_counts(log.steps),
        reliability=reliability_sums(log),
        coverage=distinct_so_far(log.steps),
        pool_size=next((s.pool_size for s in reversed(log.steps) if s.pool_size), None),
        environment=dict(log.environment),
        machine=machine_of(log),
        attempts=len(log.attempts),
        warnings=list(dict.fromkeys([*log.warnings, *_unmeasured(unmeasured), *_unscored(log.steps, log.evaluations)])),
        failure=log.failure.message if log.failure is not None and state == "failed" else "",
        one_off=one_off,
        lost_seconds=log.lost_seconds,
        final_accuracies=dict(log.evaluations[-1].accuracies) if log.evaluations else {},
        evaluations=evaluation_columns(log),
        revisits=revisited(log.steps, int(log.spec.get("algorithm", {}).get("group_size", 0))),
        oracle_rollouts=last.oracle_rollouts if last is not None else 0,
        questions=_questions(log.provenance) if log.provenance else {},
        model=_model(log.provenance.model if log.provenance else {}),
    )


def _unmeasured(steps: Sequence[int]) -> list[str]:
    if not steps:
        return []
    at = ", ".join(map(str, steps))
    return [f"evaluations without a number as accuracy are left out (step {at})"]


def _unscored(steps: Sequence[StepRecord], evaluations: Sequence[EvalPoint]) -> list[str]:
    """A sentence on answers that scored 0 without having been judged; none if there were none."""
    records: list[StepRecord | EvalPoint] = [*steps, *evaluations]
    timeouts, crashes = sum(r.reward_timeouts for r in records), sum(r.reward_crashes for r in records)
    if not timeouts + crashes:
        return []
    return [f"answers that scored 0 without being judged: {timeouts} took longer than the time limit, {crashes} ended the scoring process"]


def bare_run(curve: Curve, state: State = "complete") -> Run:
    """A run of which only the curve is known."""
    return Run(
        combination=curve.combination,
        strategy=curve.strategy,
        seed=curve.seed,
        run_id="",
        state=state,
        spec={"strategy": {}},
        curve=curve,
        eval_steps=np.arange(1.0, len(curve.accuracy) + 1),
        predictor={},
        steps=step_columns([]),
        pass_rates=pass_rate_counts([]),
        staleness_max=0,
        importance_ratio={},
        fresh_log_ratio=None,
        selected_questions=0,
        replayed_ages=age_counts([]),
        ratio_classes=ratio_counts([]),
        reliability=np.zeros((RELIABILITY_BINS, 3)),
        coverage=np.empty(0),
        pool_size=None,
        environment={},
        machine="",
        attempts=0,
    )


def printable(text: str) -> str:
    """Text without control characters and half surrogates, which neither a font nor UTF-8 can show."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def machine_of(log: RunLog) -> str:
    """What must be equal for seconds to be compared: hardware fingerprint of every attempt, device, processes."""
    prints = sorted({str(a.environment.get("fingerprint", "unknown")) for a in log.attempts})
    execution: Mapping[str, Any] = log.spec.get("execution", {})
    setting = [execution.get(k) for k in ("device", "threads", "processes")]
    return json.dumps([prints, setting], separators=(",", ":"))


def _questions(provenance: Provenance) -> dict[str, tuple[int, str, str]]:
    return {
        split: (int(found["questions"]), str(found["hash"]), _origin(provenance.sources.get(split, {})))
        for split, found in provenance.questions.items()
    }


def _origin(source: Mapping[str, Any]) -> str:
    """Where a split is from: a data set of the hub with its commit, or a file's name; the folder it was read from is left out."""
    if source.get("hub"):
        return f"{source['hub']} @ {str(source.get('revision') or 'unknown')[:12]}"
    return PurePath(str(source["file"])).name if source.get("file") else ""


def _model(facts: Mapping[str, Any]) -> str:
    """The commit of a hub model, the digest of a folder, else the revision asked for."""
    return str(facts.get("commit") or facts.get("digest") or facts.get("revision") or "")


#: Characters of a hash that are shown; the ledgers hold all of it.
SHOWN = 12


Facts = dict[str, dict[str, list[Run]]]


def facts_of(runs: Iterable[Run]) -> Facts:
    """Per thing (``model``, ``train questions``, …) and per value, the runs that recorded it; what was not recorded is left out."""
    found: Facts = {}
    for run in runs:
        values = {f"{split} questions": f"{count:,}, hash {digest[:SHOWN]}" for split, (count, digest, _) in run.questions.items()}
        values |= {"model": run.model[:SHOWN]} if run.model else {}
        for name, value in values.items():
            found.setdefault(name, {}).setdefault(value, []).append(run)
    return found
