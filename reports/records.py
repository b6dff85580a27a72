"""What a report needs of one run, in compact numpy columns: a ledger goes in, its Python objects can then be let go.

A run of 500 steps is about 2 MB of objects and 60 kB here; that is why a report of a thousand runs fits in memory.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, pairwise
from operator import attrgetter, itemgetter
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness.ledger import LedgerError, RunLog, read_ledger
from harness.stats import Curve, curve_of
from harness.types import PHASES, RATIO_EDGES, StepRecord
from reports.parallel import map_processes

Array = npt.NDArray[np.float64]
State = Literal["complete", "unfinished", "failed", "missing"]

#: Training is cut into this many equal stretches of steps for pictures of how selection changes.
STRETCHES = 4

#: Pass-rate classes of a group: none, up to a quarter, … , all. The first and the last are degenerate.
PASS_RATE_CLASSES = ("0", "up to ¼", "up to ½", "up to ¾", "below 1", "1")

#: Ages of replayed groups, in training steps: up to each of these, and more.
STALENESS_EDGES = (1, 2, 4, 8, 16, 32)
STALENESS_CLASSES = ("1", "2", "3-4", "5-8", "9-16", "17-32", "more")

#: Importance ratios of replayed tokens, between ``harness.types.RATIO_EDGES``.
RATIO_CLASSES = (f"below {RATIO_EDGES[0]:g}", *(f"{a:g}-{b:g}" for a, b in pairwise(RATIO_EDGES)), f"{RATIO_EDGES[-1]:g} and more")

#: Tenths of the predicted pass rate in a reliability curve.
RELIABILITY_BINS = 10

#: How a statistic of the importance ratio is carried from steps to runs; of all others it is the mean.
_EXTREMES = {"max": np.max, "min": np.min}

#: Below this, starting processes costs more than it saves.
FEW_LEDGERS = 48

STEP_COLUMNS = (
    "step",
    "seconds",
    "loss",
    "mean_reward",
    "mean_completion_tokens",
    "non_degenerate_share",
    "dropped_groups",
    "updates",
    "fresh_groups",
    "replayed_groups",
    "mean_staleness",
)


@dataclass(slots=True)
class Run:
    """One run, condensed.

    predictor: per diagnostic, shape (E,), NaN where it was not measured. steps: columns of shape (T,): ``STEP_COLUMNS``
    and one ``seconds_<phase>`` per phase. pass_rates: fresh groups per stretch and class, shape (STRETCHES, 6).
    machine: what must be equal for seconds to be compared. replayed_ages: replayed groups per class of staleness, shape (7,).
    ratio_classes: replayed tokens per class of importance ratio, shape (7,), zeros where it was not recorded. reliability:
    per tenth of the predicted pass rate (questions, sum predicted, sum observed), shape (10, 3). coverage: different questions
    selected so far, per step, shape (T,). pool_size: questions of the pool, None where it was not recorded. questions: per split
    (how many, hash of their text, where they are from); model: what its name stood for; both empty where they were not recorded.
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
    when a run began. unreadable: takes the words on ledgers that cannot be read; without it, raises LedgerError as
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
    """The run, or in words why its ledger cannot be read."""
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
    """The compact form of one ledger."""
    curve = curve_of(log)
    curve = replace(curve, combination=printable(curve.combination), strategy=printable(curve.strategy))
    state: State = "complete" if log.complete else "failed" if log.failure is not None else "unfinished"
    one_off: dict[str, float] = {}
    for record in log.one_off:
        one_off[str(record["name"])] = one_off.get(str(record["name"]), 0.0) + float(record["seconds"])
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
        predictor=_predictor(log),
        steps=_columns(log.steps),
        pass_rates=_pass_rates(log.steps),
        staleness_max=max((max(s.staleness) for s in log.steps if s.staleness), default=0),
        importance_ratio=_importance_ratio(log.steps),
        fresh_log_ratio=max((s.fresh_log_ratio for s in log.steps if s.fresh_log_ratio is not None), default=None),
        selected_questions=sum(len(s.question_ids) for s in log.steps),
        replayed_ages=_ages(log.steps),
        ratio_classes=_ratio_classes(log.steps),
        reliability=_reliability(log),
        coverage=_coverage(log.steps),
        pool_size=next((s.pool_size for s in reversed(log.steps) if s.pool_size), None),
        environment=dict(log.environment),
        machine=machine_of(log),
        attempts=len(log.attempts),
        warnings=[*dict.fromkeys(log.warnings), *_unscored(log.steps)],
        failure=str((log.failure or {}).get("message", "")) if state == "failed" else "",
        one_off=one_off,
        lost_seconds=log.lost_seconds,
        oracle_rollouts=last.oracle_rollouts if last is not None else 0,
        questions=_questions(log.provenance or {}),
        model=_model((log.provenance or {}).get("model", {})),
    )


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
        steps=_columns([]),
        pass_rates=_pass_rates([]),
        staleness_max=0,
        importance_ratio={},
        fresh_log_ratio=None,
        selected_questions=0,
        replayed_ages=_ages([]),
        ratio_classes=_ratio_classes([]),
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
    prints = sorted({str(a.get("environment", {}).get("fingerprint", "unknown")) for a in log.attempts})
    execution: Mapping[str, Any] = log.spec.get("execution", {})
    setting = [execution.get(k) for k in ("device", "threads", "processes")]
    return json.dumps([prints, setting], separators=(",", ":"))


def _questions(provenance: Mapping[str, Any]) -> dict[str, tuple[int, str, str]]:
    sources = provenance.get("sources", {})
    return {
        str(split): (int(found["questions"]), str(found["hash"]), _origin(sources.get(split, {})))
        for split, found in provenance.get("questions", {}).items()
    }


def _origin(source: Mapping[str, Any]) -> str:
    """Where a split is from: a data set of the hub with its commit, or a file's name; the folder it lay in is nobody's business."""
    if source.get("hub"):
        return f"{source['hub']} @ {str(source.get('revision') or 'unknown')[:12]}"
    return PurePath(str(source["file"])).name if source.get("file") else ""


def _model(facts: Mapping[str, Any]) -> str:
    """The commit of a hub model, the digest of a folder, else the revision asked for."""
    return str(facts.get("commit") or facts.get("digest") or facts.get("revision") or "")


#: The columns that are read as they stand, in one go: a report reads half a million steps.
_measured = attrgetter(*STEP_COLUMNS[:8])
_all_phases = itemgetter(*PHASES)


def _phases(seconds: Mapping[str, float]) -> tuple[float, ...]:
    try:
        found: tuple[float, ...] = _all_phases(seconds)
    except KeyError:
        found = tuple(seconds.get(p, 0.0) for p in PHASES)
    return found


def _columns(steps: list[StepRecord]) -> dict[str, Array]:
    rows = [
        (
            *_measured(s),
            len(s.question_ids),
            len(s.replayed_question_ids),
            sum(s.staleness) / len(s.staleness) if s.staleness else np.nan,
            *_phases(s.phases),
        )
        for s in steps
    ]
    names = (*STEP_COLUMNS, *(f"seconds_{p}" for p in PHASES))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(names))
    return {name: np.ascontiguousarray(table[:, i]) for i, name in enumerate(names)}


def _unscored(steps: list[StepRecord]) -> list[str]:
    """A sentence on answers that scored 0 without having been judged; none if there were none."""
    timeouts, crashes = sum(s.reward_timeouts for s in steps), sum(s.reward_crashes for s in steps)
    if not timeouts + crashes:
        return []
    return [f"answers that scored 0 without being judged: {timeouts} took longer than the time limit, {crashes} ended the scoring process"]


def _pass_rates(steps: list[StepRecord]) -> Array:
    shape = (STRETCHES, len(PASS_RATE_CLASSES))
    rates = np.fromiter(_flat(s.pass_rates for s in steps), dtype=np.float64)
    lengths = np.array([len(s.pass_rates) for s in steps])
    if not len(rates):
        return np.zeros(shape)
    stretch = np.repeat(np.arange(len(steps)) * STRETCHES // len(steps), lengths)
    cells = np.bincount(stretch * shape[1] + pass_rate_class(rates), minlength=shape[0] * shape[1])
    return cells.reshape(shape).astype(np.float64)


def pass_rate_class(rates: Array) -> npt.NDArray[np.int64]:
    """Index into ``PASS_RATE_CLASSES``, shape as given."""
    classes = np.ceil(np.clip(rates, 0, 1) * 4).astype(np.int64)
    classes[rates >= 1] = len(PASS_RATE_CLASSES) - 1
    return classes


def _flat(parts: Iterable[Sequence[Any]]) -> Iterator[Any]:
    return chain.from_iterable(parts)


def _ages(steps: list[StepRecord]) -> Array:
    ages = np.fromiter(_flat(s.staleness for s in steps), dtype=np.int64)
    return np.bincount(np.searchsorted(STALENESS_EDGES, ages), minlength=len(STALENESS_CLASSES)).astype(np.float64)


def _ratio_classes(steps: list[StepRecord]) -> Array:
    counts = [s.importance_ratio["classes"] for s in steps if "classes" in s.importance_ratio]
    return np.asarray(np.array(counts, dtype=np.float64).reshape(-1, len(RATIO_CLASSES)).sum(axis=0), np.float64)


def _reliability(log: RunLog) -> Array:
    sums = np.zeros((RELIABILITY_BINS, 3))
    for point in log.evaluations:
        for count, predicted, observed in point.predictor.get("reliability", ()):
            sums[min(int(predicted * RELIABILITY_BINS), RELIABILITY_BINS - 1)] += count, count * predicted, count * observed
    return sums


def _coverage(steps: list[StepRecord]) -> Array:
    ids = np.fromiter(_flat(s.question_ids for s in steps), dtype=np.int64)
    step_of = np.repeat(np.arange(len(steps)), [len(s.question_ids) for s in steps])
    first = np.full(ids.max(initial=-1) + 1, -1)
    first[ids[::-1]] = step_of[::-1]  # of several, the last to be written stays: the earliest step
    return np.cumsum(np.bincount(first[first >= 0], minlength=len(steps))).astype(np.float64)


def _predictor(log: RunLog) -> dict[str, Array]:
    names = dict.fromkeys(name for p in log.evaluations for name in p.predictor if name != "reliability")
    missing = float("nan")
    return {
        name: np.array([missing if p.predictor.get(name) is None else p.predictor[name] for p in log.evaluations], dtype=np.float64)
        for name in names
    }


def _importance_ratio(steps: list[StepRecord]) -> dict[str, float]:
    names = dict.fromkeys(name for s in steps for name in s.importance_ratio if name != "classes")
    found = {}
    for name in names:
        values = np.array([s.importance_ratio[name] for s in steps if name in s.importance_ratio], dtype=np.float64)
        found[name] = float(_EXTREMES.get(name, np.mean)(values))
    return found
