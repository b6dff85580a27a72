"""What a suite can show before anything runs: the smallest speed-up that its seeds detect, and what keeps it from answering."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.data.checks import TaskCheck
    from harness.spec import RunSpec
    from harness.suite.suite import Suite

#: Deviation of paired runs' log ratios where nothing was measured yet: the median over strategies of the suite quick (μ = 1, n = 12).
USUAL_SCATTER = 0.3

#: Finished runs up to which a plan reads the ledgers to see how far pairs scatter.
READ_UP_TO = 200


def detectable(suite: Suite, runs: Sequence[RunSpec], runs_dir: Path) -> str:
    """One sentence: the smallest speed-ups that the suite's paired seeds show with power 0.8, measured scatter before the usual one."""
    from harness.stats import LEAST_PAIRS

    seeds = len({run.seed for run in runs})
    if seeds < LEAST_PAIRS:
        return (
            f"{seeds} paired seed{'s' if seeds != 1 else ''}: too few for any verdict, {LEAST_PAIRS} are needed; "
            f"with {LEAST_PAIRS}, {_factors(suite, runs, runs_dir, LEAST_PAIRS)}"
        )
    return f"{seeds} paired seeds: {_factors(suite, runs, runs_dir, seeds)}"


def _factors(suite: Suite, runs: Sequence[RunSpec], runs_dir: Path, seeds: int) -> str:
    from harness.stats import minimum_detectable_speed_up

    measured = _measured_scatter(suite, runs, runs_dir)
    if not measured:
        return (
            f"speed-ups below {minimum_detectable_speed_up(USUAL_SCATTER, seeds):.2f}x cannot be told from noise, in seconds and at every "
            f"price of a generated token (power 0.8; pairs scatter by {USUAL_SCATTER} in log ratio, as in the suite quick: none is "
            "finished here)"
        )
    smallest = ", ".join(f"{minimum_detectable_speed_up(scatter, seeds):.2f}x {where}" for where, scatter in measured)
    return (
        f"speed-ups below {smallest} cannot be told from noise (power 0.8; pairs scatter by "
        f"{', '.join(f'{scatter:.2f}' for _, scatter in measured)} in log ratio, measured here)"
    )


def _measured_scatter(suite: Suite, runs: Sequence[RunSpec], runs_dir: Path) -> list[tuple[str, float]]:
    """(on the deciding cost or at which price, deviation of log ratios), medians over the strategies whose pairs are finished."""
    from harness.records.run_folder import run_paths, run_status

    done = [run for run in runs if run_status(run_paths(runs_dir, run), run).is_result]
    if not 0 < len(done) <= READ_UP_TO or not any(run.strategy.label == suite.baseline for run in done):
        return []
    read = importlib.import_module("reports.condensed").condense_ledgers
    condensed = read([run_paths(runs_dir, run).ledger for run in done], None, [])
    prices = suite.report.token_prices
    analyse = importlib.import_module("reports.analysis").analyse
    analysis = analyse(condensed, baseline=suite.baseline, target=suite.target.model_dump(mode="json"), prices=prices)
    scatter, names = importlib.import_module("reports.detectable").scatter, importlib.import_module("reports.words").COST_NAMES
    deciding = " or ".join(dict.fromkeys(names[c.main_cost] for c in analysis.combinations))
    asked = [(f"in {deciding}", "main"), *((f"at {price.label}", price.ledger) for price in prices)]
    return [(where, found) for where, ledger in asked if (found := scatter(analysis.combinations, ledger)) is not None]


def suite_notes(suite: Suite, runs: Sequence[RunSpec], checks: Sequence[TaskCheck]) -> list[str]:
    """What keeps a suite from showing anything about selection, one sentence each: seeds, oracle, visits, measured regime."""
    from harness.stats import LEAST_PAIRS

    notes = []
    seeds = len(suite.seeds)
    if seeds < LEAST_PAIRS:
        notes.append(f"{seeds} seeds: no strategy can be called faster or slower, {LEAST_PAIRS} are needed")
    if not any(run.strategy.uncharged_oracle for run in runs):
        notes.append("no oracle: the report cannot say how much perfect selection would gain (add the strategy oracle)")
    return notes + _few_visits(runs, checks) + _measured(suite, runs)


def _few_visits(runs: Sequence[RunSpec], checks: Sequence[TaskCheck]) -> list[str]:
    pool = {name: found.questions for check in checks for found in check.sets if found.name == "train" for name in check.combinations}
    notes = []
    for name in dict.fromkeys(run.combination.name for run in runs):
        draws = max(r.algorithm.groups_per_step * r.algorithm.max_steps for r in runs if r.combination.name == name)
        if name in pool and draws < 2 * pool[name]:
            notes.append(
                f"{name}: a run draws {draws / pool[name]:.1f} times per question of its pool; what is learned of one is hardly used"
            )
    return notes


def _measured(suite: Suite, runs: Sequence[RunSpec]) -> list[str]:
    """Remarks on what ``halfway regime`` has measured in the usual place."""
    from harness.cli.regime import FOLDER, remarks, start_regimes

    notes = []
    for name in dict.fromkeys(run.combination.name for run in runs):
        size = next(run.algorithm.group_size for run in runs if run.combination.name == name)
        for table in sorted(Path("runs", suite.name, FOLDER).glob(f"{name}-*.parquet")):
            notes += [f"{name}: {remark}" for remark in remarks(start_regimes(table, size)[-1], math.inf)]
    return notes
