"""``halfway plan``: every run, what it will cost and how that is known, before anything starts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer

from harness.cli.tables import print_table
from harness.display.durations import duration
from harness.errors import UserError
from harness.records.run_folder import RunStatus, run_paths, run_status
from harness.registry import load_backend
from harness.runner.estimates import Estimate, estimate, token_bound, total, wall_seconds
from harness.runner.evaluation_costs import EvaluationCost, evaluation_costs
from harness.runner.executors.local import slots
from harness.spec import RunSpec
from harness.suite.suite import Suite

UNKNOWN = "unknown"
NOT_MEASURED = "not measured"


def plan_rows(suite: Suite, runs: Sequence[RunSpec], runs_dir: Path) -> list[dict[str, Any]]:
    """One row a run, for scripts; None for what is not known."""
    statuses = {spec.run_id: run_status(run_paths(runs_dir, spec), spec) for spec in runs}
    estimates = estimate(runs, statuses, runs_dir, suite.expected)
    evaluations = evaluation_costs(runs, statuses)
    return [_row(spec, statuses[spec.run_id], estimates[spec.run_id], evaluations[spec.run_id]) for spec in runs]


def print_plan(rows: Sequence[dict[str, Any]], parallel: int) -> None:
    """The runs, then the sums per combination."""
    headers = ["combination", "strategy", "seed", "backend", "run", "state", "time", "tokens", "disk", "estimated from"]
    cells = [[*(row[key] for key in headers[:6]), *_cells(_of(row), row["token_bound"]), row["estimated_from"]] for row in rows]
    print_table(headers, cells, droppable=["estimated from", "disk", "backend", "run", "tokens"])
    typer.echo()
    table: list[list[Any]] = []
    names = list(dict.fromkeys(row["combination"] for row in rows))
    for name in [*names, None] if len(names) > 1 else names:
        chosen = [row for row in rows if name in (row["combination"], None)]
        bound = sum(row["token_bound"] for row in chosen)
        sums = _cells(total(map(_of, chosen)), bound)
        table.append([name or "all", len(chosen), sum(row["max_steps"] for row in chosen), *sums, *_evaluation_cells(chosen)])
    heads = ["combination", "runs", "steps", "time", "tokens", "disk", "evaluations", "their tokens", "their time"]
    print_table(heads, table, droppable=["disk", "their time", "evaluations"])
    wall = wall_seconds([_of(row) for row in rows], parallel)
    at_a_time = "one at a time" if parallel == 1 else f"{parallel} at a time"
    known = f"about {duration(wall)}" if wall is not None else "unknown until a run of each combination is done"
    typer.echo(f"{len(rows)} runs, {sum(row['max_steps'] for row in rows)} training steps; here, {at_a_time}: {known}")
    typer.echo("evaluations are off the clock: their tokens are not among the tokens of training; times of whole runs include theirs")


def parallel_here(runs: Sequence[RunSpec], max_parallel: int | None = None) -> int:
    """Runs at a time on this machine."""
    return len(slots(runs, max_parallel))


def print_configurations(runs: Sequence[RunSpec]) -> None:
    """The configuration that each arm gives its engine, as the backend resolves it. Raises UserError where a backend has none."""
    shown = set()
    for spec in runs:
        arm = (spec.combination.name, spec.strategy.label)
        if arm in shown:
            continue
        shown.add(arm)
        resolve = getattr(load_backend(spec.combination.backend), "resolved_config", None)
        if resolve is None:
            raise UserError(
                f"backend {spec.combination.backend!r} has no configuration of its own to show; its settings are those of the suite"
            )
        config = resolve(spec)
        typer.echo(f"# {spec.combination.name} / {spec.strategy.label}, seed {spec.seed}, run {spec.run_id}")
        typer.echo(config.rstrip() if isinstance(config, str) else json.dumps(config, indent=2))
        typer.echo()


def _row(spec: RunSpec, status: RunStatus, found: Estimate, evaluation: EvaluationCost) -> dict[str, Any]:
    return {
        "combination": spec.combination.name, "strategy": spec.strategy.label, "seed": spec.seed, "backend": spec.combination.backend,
        "run": spec.run_id, "state": status.state, "max_steps": spec.algorithm.max_steps,
        "estimated_seconds": found.seconds, "estimated_tokens": found.tokens, "estimated_disk_bytes": found.disk,
        "estimated_from": found.source, "token_bound": token_bound(spec),
        "evaluations": evaluation.evaluations, "evaluation_tokens": evaluation.tokens, "evaluation_token_bound": evaluation.bound,
        "evaluation_seconds": evaluation.seconds,
    }  # fmt: skip


def _of(row: dict[str, Any]) -> Estimate:
    return Estimate(row["estimated_seconds"], row["estimated_tokens"], row["estimated_disk_bytes"], row["estimated_from"])


def _cells(found: Estimate, bound: int) -> list[str]:
    """Time, tokens and disk; the bound of the settings stands in for tokens nobody has measured."""
    tokens = f"≤ {_size(bound)}" if found.tokens is None else _size(found.tokens)
    disk = UNKNOWN if found.disk is None else f"{_size(found.disk)}B"
    return [UNKNOWN if found.seconds is None else duration(found.seconds), tokens, disk]


def _evaluation_cells(rows: Sequence[dict[str, Any]]) -> list[Any]:
    """Evaluations to come, their tokens (or a bound) and their time."""

    def add(key: str) -> float | None:
        values = [row[key] for row in rows]
        return None if any(value is None for value in values) else sum(values)

    tokens, bound, seconds = add("evaluation_tokens"), add("evaluation_token_bound"), add("evaluation_seconds")
    shown = _size(tokens) if tokens is not None else NOT_MEASURED if bound is None else f"≤ {_size(bound)}"
    return [sum(row["evaluations"] for row in rows), shown, NOT_MEASURED if seconds is None else duration(seconds)]


def _size(amount: float) -> str:
    for factor, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= factor:
            return f"{amount / factor:.3g} {prefix}"
    return f"{amount:.0f} "
