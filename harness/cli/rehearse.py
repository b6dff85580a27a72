"""``halfway rehearse``: strategies against recorded pass rates, without a model."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.bars import progress_bar
from harness.cli.options import AsJson, Plugins, print_json
from harness.cli.tables import print_table
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.rehearsal.leaderboard import Leaderboard, Player
    from harness.rehearsal.play import Conditions
    from harness.rehearsal.recording import Recording
    from harness.rehearsal.summary import Estimate, Row
    from harness.types import FloatArray

CAVEAT = "The recorded policy does not react to the selection: this is selection quality, not accuracy."


def rehearse(
    table: Annotated[Path, typer.Argument(help="Parquet or CSV: one row per question, recorded pass rates as columns or lists.")],
    strategies: Annotated[list[str] | None, typer.Argument(help="Strategies to play; default: all that ship with Halfway.")] = None,
    suite: Annotated[str | None, typer.Option(metavar="SUITE", help="Play the strategies of this suite, with its settings.")] = None,
    plugin: Plugins = None,
    seeds: Annotated[int, typer.Option(min=2, help="Seeds per strategy.")] = 20,
    steps: Annotated[int, typer.Option(min=1, help="Training steps, spread over the recording.")] = 100,
    groups: Annotated[int, typer.Option(min=1, help="Prompt groups per step (B).")] = 64,
    group_size: Annotated[int, typer.Option(min=2, help="Rollouts per group (G).")] = 8,
    draws: Annotated[
        str, typer.Option(metavar="binomial|recorded", help="Draw outcomes from the rate, or use those recorded.")
    ] = "binomial",
    policy: Annotated[list[str] | None, typer.Option(metavar="COLUMN", help="Of a table of models, play these only; repeatable.")] = None,
    predictor: Annotated[Path | None, typer.Option(metavar="DIR", help="Trained predictor for strategies that need one.")] = None,
    from_runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="First make TABLE from the run of uniform selection in this folder.")
    ] = None,
    drop_repeated: Annotated[bool, typer.Option("--drop-repeated", help="Of a repeated question keep the first row.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="DIR", help="Write rehearsal.csv and figures there.")] = None,
    into: Annotated[Path | None, typer.Option(metavar="FILE.md", help="Write the table into this document.")] = None,
    as_json: AsJson = False,
) -> None:
    """Play selectors and replays against recorded pass rates: how informative, how broad, how costly their batches are."""
    from harness.rehearsal.leaderboard import hold
    from harness.rehearsal.play import Conditions
    from harness.rehearsal.recording import read_recording

    if draws not in ("binomial", "recorded"):
        raise UserError(f"--draws {draws}: write binomial or recorded")
    if from_runs is not None:
        _record(from_runs, table)
    recording = read_recording(table, policies=policy or (), samples=group_size, drop_repeated=drop_repeated)
    players = _players(strategies or [], suite, plugin or [])
    conditions = Conditions(
        steps=steps, groups_per_step=groups, group_size=group_size, draws="recorded" if draws == "recorded" else "binomial"
    )
    with progress_bar() as progress:
        board = hold(
            recording, players, conditions, seeds=range(1, seeds + 1), predictor=predictor,
            embeddings=_embeddings(recording, predictor), progress=progress,
        )  # fmt: skip
    if output is not None:
        _write(output, table, board)
    if into is not None:
        importlib.import_module("reports.rehearsal").write_into(into, table.stem, _conditions_text(recording, conditions, seeds), board)
    if as_json:
        print_json(_as_json(table, recording, conditions, board))
        return
    _print(recording, conditions, seeds, board)


def _record(runs: Path, table: Path) -> None:
    """Make the table from a run's ledger; an existing file is never overwritten."""
    from harness.files import replacing
    from harness.rehearsal.from_runs import table_from_runs

    if table.exists():
        raise UserError(f"{table} exists already; name another file for the table made from {runs}, or leave --from-runs out")
    frame = table_from_runs(runs)
    with replacing(table) as partial:
        frame.to_csv(partial, index=False) if table.suffix == ".csv" else frame.to_parquet(partial)
    typer.echo(f"wrote {table}: {len(frame):,} questions, {len(frame.columns) - 1} evaluations of each", err=True)


def _embeddings(recording: Recording, predictor: Path | None) -> FloatArray | None:
    """Those that the predictor was trained on; None without a predictor."""
    if predictor is None:
        return None
    from harness.predictor.lab.embedders import embed_cached, embedder_of

    return embed_cached(embedder_of(predictor), recording.questions, None)


def _players(names: Sequence[str], suite: str | None, plugins: Sequence[str]) -> list[Player]:
    from harness.registry import BUILTIN_STRATEGIES, strategy_entry, strategy_references
    from harness.rehearsal.leaderboard import Player

    found: list[Player] = []
    if suite is not None:
        from harness.suite.reader import load_suite
        from harness.suite.suite import find_suite

        arms = {arm.strategy.label: arm.strategy for arm in load_suite(find_suite(suite), plugins).arms}
        found += [Player(s.label, s.name, dict(s.config), s.plugin) for s in arms.values()]
    own = [name for name, (_, reference) in strategy_references(plugins).items() if reference in plugins]
    chosen = [*names, *(name for name in own if name not in names)]
    if not chosen and suite is None:
        chosen = list(BUILTIN_STRATEGIES)
    for name in chosen:
        entry = strategy_entry(name, plugins)
        reference = next((p for p in plugins if entry.origin.endswith(p)), None)
        found.append(Player(name, name, plugin=reference))
    return found


def _conditions_text(recording: Recording, conditions: Conditions, seeds: int) -> str:
    drawn = conditions.steps * conditions.groups_per_step / len(recording)
    what = "evaluations of one training run" if recording.trajectory else "policies, one per seed in turn"
    repeated = f" ({recording.repeated} repeated rows left out)" if recording.repeated else ""
    return (
        f"{len(recording):,} questions{repeated}, {recording.rates.shape[1]} {what}; {conditions.steps} steps of "
        f"{conditions.groups_per_step} groups of {conditions.group_size} ({drawn:.1f} visits per question), {conditions.draws} draws, "
        f"{seeds} seeds"
    )


def _print(recording: Recording, conditions: Conditions, seeds: int, board: Leaderboard) -> None:
    typer.echo(_conditions_text(recording, conditions, seeds))
    headers = ["strategy", "informative [95 %]", "gain", "rollouts per useful", "coverage", "on top 50", "ρ", "s/step"]
    print_table(headers, [_row(row) for row in board.rows])
    for label, reason in board.left_out:
        typer.echo(f"left out: {label}: {reason}")
    typer.echo(f"{CAVEAT} * has labels that cost nothing: an upper bound.")


def _row(row: Row) -> list[str]:
    e = row.estimates
    return [
        row.label + (" *" if row.upper_bound else ""), interval(e["informative"]), f"{e['gain'].mean:+.3f}", f"{e['wasted'].mean:.2f}",
        f"{e['coverage'].mean:.2f}", f"{e['concentration'].mean:.2f}", number(e["spearman"].mean), f"{e['seconds'].mean:.4f}",
    ]  # fmt: skip


def interval(estimate: Estimate) -> str:
    """``0.561 [0.557, 0.565]``."""
    return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def number(value: float) -> str:
    """Two decimals; empty where nothing was measured."""
    return "" if math.isnan(value) else f"{value:.2f}"


def _write(folder: Path, table: Path, board: Leaderboard) -> None:
    module = importlib.import_module("reports.rehearsal")
    for path in module.write_files(folder, table.stem, board):
        typer.echo(f"wrote {path}", err=True)


def _as_json(table: Path, recording: Recording, conditions: Conditions, board: Leaderboard) -> dict[str, Any]:
    def plain(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "table": table.name,
        "questions": len(recording),
        "policies": len(recording.policies),
        "trajectory": recording.trajectory,
        "conditions": {
            "steps": conditions.steps, "groups_per_step": conditions.groups_per_step, "group_size": conditions.group_size,
            "draws": conditions.draws,
        },
        "strategies": [
            {
                "strategy": row.label,
                "upper_bound": row.upper_bound,
                **{
                    name: {"mean": plain(e.mean), "low": plain(e.low), "high": plain(e.high), "n": e.n} for name, e in row.estimates.items()
                },
            }
            for row in board.rows
        ],
        "left_out": [{"strategy": label, "reason": reason} for label, reason in board.left_out],
        "note": CAVEAT,
    }  # fmt: skip
