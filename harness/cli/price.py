"""``halfway price``: what a generated token costs on some hardware, from the measured phases of runs or from three numbers."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.errors import UserError

if TYPE_CHECKING:
    from harness.stats import TokenPrices

LEDGER = "ledger.jsonl"


def price(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUNS]...", help="Ledgers, run folders, or folders of runs (runs/quick).")
    ] = None,
    seconds: Annotated[
        tuple[float, float, float] | None,
        typer.Option(metavar="ROLLOUT FORWARD UPDATE", help="Seconds of these phases instead, per step or in all."),
    ] = None,
    tokens: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="GENERATED FORWARD TRAINED", help="With --seconds: tokens of each kind, per step or in all."),
    ] = (1.0, 1.0, 1.0),
    as_json: AsJson = False,
) -> None:
    """Compute the price of a generated token, in trained tokens, on the hardware that runs were measured on.

    Put it into a suite as [report] prices = [...], or give it to 'halfway report --price'.
    """
    if (seconds is None) == (not runs):
        raise UserError("give ledgers or folders of runs, or three numbers with --seconds ROLLOUT FORWARD UPDATE")
    found = _from_numbers(seconds, tokens) if seconds is not None else _from_runs(runs or [])
    if as_json:
        print_json([{"machine": name, "generated": p.generated, "forward": p.forward} for name, p in found])
        return
    for name, prices in found:
        where = f"{name}: " if name else ""
        typer.echo(f"{where}a generated token costs {prices.generated:.3g} trained tokens, one only passed forward {prices.forward:.3g}")
    typer.echo(f"in a suite: [report] prices = [{', '.join(f'{p.generated:.3g}' for _, p in found)}]")


def _from_numbers(seconds: Sequence[float], tokens: Sequence[float]) -> list[tuple[str, TokenPrices]]:
    from harness.stats import PRICED_LEDGERS, measured_prices

    by_phase = dict(zip(("rollout", "log_probs", "update"), seconds, strict=True))
    return [("", measured_prices(by_phase, dict(zip(PRICED_LEDGERS, tokens, strict=True))))]


def _from_runs(places: Sequence[Path]) -> list[tuple[str, TokenPrices]]:
    """(processor and accelerators, prices) of every machine that the ledgers name."""
    ledgers = [path for place in places for path in _ledgers(place)]
    runs = list(importlib.import_module("reports.condensed").condense_ledgers(ledgers))
    measured = importlib.import_module("reports.phase_costs").measured_prices_of_runs
    found = []
    for machine in dict.fromkeys(run.machine for run in runs):
        here = [run for run in runs if run.machine == machine]
        prices = measured(here)
        if prices is None:
            raise UserError(f"the runs in {', '.join(map(str, places))} recorded no seconds of rollouts and updates, so they show no price")
        environment = here[0].environment
        name = " + ".join([str(environment.get("cpu", "unknown processor")), *map(str, environment.get("gpus") or [])])
        found.append((f"{name} ({len(here)} runs)", prices))
    return found


def _ledgers(place: Path) -> list[Path]:
    """The ledgers at a path: the file itself, or those at most two folders below."""
    found = [place] if place.is_file() else sorted([*place.glob(LEDGER), *place.glob(f"*/{LEDGER}"), *place.glob(f"*/*/{LEDGER}")])
    if not found:
        raise UserError(f"{place} holds no {LEDGER}: give a ledger, a run's folder, or a suite's folder such as runs/quick")
    return found
