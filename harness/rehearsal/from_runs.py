"""A recording made from one's own runs: every visit of a question is one evaluation of it.

A ledger holds, per step, which questions were rolled out fresh and their pass rates. Under uniform selection every question comes once
per epoch, so that its v-th visit belongs to epoch v. Runs with another selector record a biased set of questions and are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from harness.errors import UserError
from harness.files import files_under
from harness.records.ledger import LEDGER_NAME, RunLog, read_ledger
from harness.registry import make_task_builder
from harness.rehearsal.recording import FEWEST_EVALUATIONS

UNIFORM = "grpo"
#: Evaluations are cut where fewer than this share of the questions would remain.
KEPT_SHARE = 0.5


def table_from_runs(folder: Path) -> pd.DataFrame:
    """Questions and ``epoch_N`` columns of one run under ``folder`` (a run, a suite or a runs folder).

    Raises UserError where there is no such run, more than one, or
    too few visits per question to speak of a trajectory.
    """
    chosen = _chosen([read_ledger(p) for p in sorted(p for p in files_under(folder) if p.name == LEDGER_NAME)], folder)
    visits: dict[int, list[float]] = {}
    for step in chosen.steps:
        for question, rate in zip(step.question_ids, step.pass_rates, strict=True):
            visits.setdefault(question, []).append(rate)
    counts = sorted((len(v) for v in visits.values()), reverse=True)
    # The most evaluations that at least half of the visited questions have.
    evaluations = counts[int(KEPT_SHARE * len(counts))] if len(counts) > 1 else 0
    if evaluations < FEWEST_EVALUATIONS:
        raise UserError(
            f"{chosen.path}: half of the {len(visits)} questions were visited fewer than {FEWEST_EVALUATIONS} times in {len(chosen.steps)} "
            "steps; a trajectory needs a longer run or a smaller pool"
        )
    task = chosen.spec["combination"]["task"]
    pool = make_task_builder(task["name"], task["config"], task.get("folder", "")).build().split("train")
    kept = sorted(q for q, rates in visits.items() if len(rates) >= evaluations)
    columns = {f"epoch_{e + 1}": [visits[q][e] for q in kept] for e in range(evaluations)}
    return pd.DataFrame({"question": [pool[q].prompt for q in kept], **columns})


def _chosen(logs: Sequence[RunLog], folder: Path) -> RunLog:
    uniform = [log for log in logs if log.spec["strategy"]["name"] == UNIFORM]
    if not uniform:
        held = ", ".join(sorted({f"{log.spec['strategy']['label']}/{log.spec['seed']}" for log in logs})) or "no ledger"
        raise UserError(f"{folder} has no run of {UNIFORM} (uniform selection), which a recording needs; it holds {held}")
    if len(uniform) > 1:
        titles = ", ".join(f"{log.spec['combination']['name']} seed {log.spec['seed']} ({log.path.parent.name})" for log in uniform)
        raise UserError(f"{folder} has {len(uniform)} runs of {UNIFORM}: {titles}; name the folder of one")
    return uniform[0]
