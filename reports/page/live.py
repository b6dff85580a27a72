"""The page of a suite that is still going on: accuracy curves and states, in a file that a browser loads again by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.errors import UserError
from harness.files import write_bytes
from harness.records.run_folder import DONE, RunStatus
from harness.records.suite_watch import Snapshot
from reports import words
from reports.analysis import analyse
from reports.arms import Analysis, Combination
from reports.condensed import State, bare_run
from reports.figures import curves as figures
from reports.page.build import resource
from reports.page.parts import Cell, Drawer, Picture, Table, strategy_legend


def write_live(snapshot: Snapshot, path: Path, *, title: str, baseline: str, cost: str, refresh: float | None) -> None:
    """Write the page, whole or not at all. refresh: seconds until a browser loads it again, None for a page that stays.

    Raises UserError where it cannot be written.
    """
    analysis = _analysis(snapshot, baseline)
    sections = [_section(analysis, c, snapshot, cost, i) for i, c in enumerate(analysis.combinations, start=1)]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    counts = {state: sum(r.status.state == state for r in snapshot.runs) for state in dict.fromkeys(r.status.state for r in snapshot.runs)}
    text = environment.get_template("live.html.j2").render(
        title=title,
        refresh=refresh,
        counts=", ".join(f"{n} {state}" for state, n in counts.items()),
        total=len(snapshot.runs),
        sections=sections,
        css=Markup(resource("page.css")),  # noqa: S704 - ours, not from the records
        svg=Markup,
        exported=False,
        infinity=float("inf"),
    )
    try:
        write_bytes(path, str(text).encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}; name another file with --html") from error


def _analysis(snapshot: Snapshot, baseline: str) -> Analysis:
    runs = []
    for run in snapshot.runs:
        if run.curve is not None:
            state: State = "complete" if run.status.state in DONE else "failed" if run.status.state == "failed" else "unfinished"
            runs.append(bare_run(run.curve, state))
    expected = [(r.spec.combination.name, r.spec.strategy.label, r.spec.seed) for r in snapshot.runs]
    target = snapshot.runs[0].spec.target.model_dump(mode="json")
    return analyse(runs, baseline=baseline, target=target, expected=expected, targets=snapshot.targets)


def _section(analysis: Analysis, combination: Combination, snapshot: Snapshot, cost: str, number: int) -> dict[str, Any]:
    target = combination.target
    note = target.note
    if target.accuracy is not None:
        provisional = " (provisional: not all baseline runs are complete)" if target.provisional else ""
        note = f"Target {words.percent(target.accuracy)}: {analysis.rule.words}{provisional}."
    return {
        "name": combination.name,
        "note": note,
        "picture": _picture(analysis, combination, cost, number),
        "table": _table(analysis, combination, snapshot),
    }


def _picture(analysis: Analysis, combination: Combination, cost: str, number: int) -> Picture | None:
    arms = [a for a in combination.arms if any(len(r.curve.accuracy) > 1 for r in a.runs)]
    if not arms:
        return None
    ends = ", ".join(f"{a.strategy} is at {words.percent(a.final_accuracy)}" for a in arms)
    picture = Drawer(f"live{number}").draw(
        f"accuracy-{cost}", f"Accuracy against {words.COST_NAMES[cost]} on {combination.name}", f"{ends}.",
        f"Accuracy against {words.COST_NAMES[cost]}, so far. Thin: seeds; thick: their median as far as all have come; dashed: target.",
        lambda legend: figures.accuracy_curves(combination, cost, analysis.strategies, legend=legend),
    )  # fmt: skip
    picture.legend = strategy_legend(arms, analysis.strategies)
    return picture


def _table(analysis: Analysis, combination: Combination, snapshot: Snapshot) -> Table:
    rows = []
    for label, runs in snapshot.of(combination.name).items():
        for run in runs:
            status = run.status
            accuracy = float(run.curve.accuracy[-1]) if run.curve is not None else None
            rows.append([
                Cell(label, label, swatch=analysis.strategies.index(label) % 8),
                Cell(str(run.spec.seed), float(run.spec.seed)),
                _state_cell(status),
                Cell(f"{status.step} of {run.spec.algorithm.max_steps}", float(status.step)),
                Cell(words.percent(accuracy), accuracy),
                Cell(words.seconds(status.seconds), status.seconds),
                Cell("yes" if snapshot.reached(run) else "no"),
            ])  # fmt: skip
    heads = [
        ("strategy", False),
        ("seed", True),
        ("state", False),
        ("step", True),
        ("accuracy", True),
        ("training time", True),
        ("at target", False),
    ]
    return Table(f"Runs on {combination.name}", heads, rows)


def _state_cell(status: RunStatus) -> Cell:
    if status.state == "failed":
        return Cell(f"failed: {status.failure}", "failed", "warn")
    return Cell(status.state, status.state)
