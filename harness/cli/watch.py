"""``halfway watch SUITE``: accuracy against cost in the terminal, or in a page that refreshes itself, while runs go on."""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.cli.terminal_plot import COLOURS, LETTERS, Axes, plot
from harness.errors import UserError, did_you_mean
from harness.records.run_folder import DONE, STATES
from harness.records.suite_watch import LiveRun, Snapshot, SuiteWatch, lines_of
from harness.spec import RunSpec
from harness.suite.suite import Suite

#: Cost axes by the name they have on the command line, with their unit.
AXES = {
    "time": ("training_seconds", "training seconds"),
    "tokens": ("generated_tokens", "generated tokens"),
    "steps": ("training_steps", "training steps"),
    "rollouts": ("rollouts", "rollouts"),
}

#: Lines of the terminal that one combination's plot needs at least, frame and table not counted.
LEAST_HEIGHT = 7


def watch_suite(
    suite: Suite, runs: Sequence[RunSpec], runs_dir: Path, cost: str, every: float, html: Path | None, once: bool, start: str = ""
) -> None:
    """Show the runs' curves until all are done or Ctrl-C; ``once``: as they stand now."""
    if cost not in AXES:
        raise UserError(f"--cost {cost}: must be one of {', '.join(AXES)}{did_you_mean(cost, AXES)}")
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UserError(f"--html {html}: {'a folder is there' if html.is_dir() else f'there is no folder {html.parent}'}; name a file")
    looker = SuiteWatch(runs, runs_dir, suite.baseline)
    try:
        if html is not None:
            _watch_html(looker, suite, cost, every, html, once)
        else:
            _watch_terminal(looker, suite, cost, every, once or not sys.stdout.isatty(), start or f"halfway run {suite.argument}")
    except KeyboardInterrupt:
        typer.echo("no longer watching; the runs go on", err=True)


def _watch_html(looker: SuiteWatch, suite: Suite, cost: str, every: float, html: Path, once: bool) -> None:
    write = importlib.import_module("reports.page.live").write_live
    ledger, before = AXES[cost][0], None
    pause = max(every, 5.0)
    typer.echo(f"page: {html} (refreshes itself every {pause:.0f} s; Ctrl-C ends it)", err=True)
    while True:
        snapshot = looker.look()
        seen = [(r.status, len(r.curve.accuracy) if r.curve is not None else 0) for r in snapshot.runs]
        if seen != before:
            write(snapshot, html, title=suite.name, baseline=suite.baseline, cost=ledger, refresh=None if snapshot.over or once else pause)
            before = seen
        if snapshot.over or once:
            return
        time.sleep(pause)


def _watch_terminal(looker: SuiteWatch, suite: Suite, cost: str, every: float, once: bool, start: str) -> None:
    console = Console()
    snapshot = looker.look()
    if not once and not snapshot.over and not console.is_dumb_terminal:
        with Live(console=console, screen=True, auto_refresh=False) as live, contextlib.suppress(KeyboardInterrupt):
            while not snapshot.over:
                live.update(_frame(snapshot, console, suite, cost, console.height, start), refresh=True)
                time.sleep(every)
                snapshot = looker.look()
    console.print(_frame(snapshot, console, suite, cost, None, start))


# -- one picture ---------------------------------------------------------------------------------------------------------


def _frame(snapshot: Snapshot, console: Console, suite: Suite, cost: str, height: int | None, start: str) -> RenderableType:
    """Everything as it stands; ``height``: lines of the screen, or None where there is no end to them."""
    combinations = list(dict.fromkeys(r.spec.combination.name for r in snapshot.runs))
    # What is running first: that is what one looks at.
    combinations.sort(key=lambda c: not any(r.status.state == "running" for rs in snapshot.of(c).values() for r in rs))
    parts: list[RenderableType] = [_headline(snapshot, suite, start)]
    room = None if height is None else height - 3
    for index, combination in enumerate(combinations):
        table_lines = len(snapshot.of(combination)) + 3
        share = 16 if room is None else max(room // (len(combinations) - index) - table_lines - 3, LEAST_HEIGHT)
        needed = min(share, 18) + table_lines + 3
        if room is not None and index and needed > room:
            parts.append(Text(f"and {len(combinations) - index} more: --only combination=NAME shows one", "dim"))
            break
        parts.append(_combination(snapshot, combination, console, suite.baseline, cost, min(share, 18)))
        room = None if room is None else room - needed
    return Group(*parts)


def _headline(snapshot: Snapshot, suite: Suite, start: str) -> Text:
    counts = {state: sum(r.status.state == state for r in snapshot.runs) for state in STATES}
    states = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    text = Text(suite.name, "bold").append(f"  {len(snapshot.runs)} runs: {states}", "default")
    if not any(counts[state] for state in STATES if state != "pending"):
        text.append(f"\nnothing has started yet; '{start}' starts it", "dim")
    elif not counts["running"] and not snapshot.over:
        text.append(f"\nnothing is running; '{start}' goes on", "dim")
    return text


def _combination(snapshot: Snapshot, combination: str, console: Console, baseline: str, cost: str, height: int) -> RenderableType:
    arms = snapshot.of(combination)
    order = sorted(arms, key=lambda label: label != baseline)
    target = snapshot.targets[combination]
    title = Text(f"\n{combination}", "bold")
    if target.accuracy is not None:
        words = f"  target {100 * target.accuracy:.1f} % ({snapshot.rule.words}{', provisional' if target.provisional else ''}), dashed"
        title.append(words, "dim")
    elif target.note:
        title.append(f"  {target.note}", "dim")
    drawn: list[RenderableType] = [title]
    if any(r.curve is not None for runs in arms.values() for r in runs):
        drawn += _plot(arms, order, target.accuracy, console, cost, height)
    return Group(*drawn, _table(snapshot, arms, order, console))


def _plot(
    arms: dict[str, list[LiveRun]], order: list[str], target: float | None, console: Console, cost: str, height: int
) -> list[RenderableType]:
    ledger, label = AXES[cost]
    curves = [(order.index(name), line) for name, runs in arms.items() for line in lines_of(runs, ledger)]
    accuracies = [a for _, line in curves for _, a in line] + ([target] if target is not None else [])
    right = max(line[-1][0] for _, line in curves)
    low, high = min(accuracies), max(accuracies)
    margin = max(0.05 * (high - low), 0.005)
    low, high = max(low - margin, 0.0), min(high + margin, 1.0)
    braille = (console.encoding or "").lower().startswith("utf")
    axes = Axes(right or 1.0, low, high, short(right), f"{100 * low:.0f} %", f"{100 * high:.0f} %", label)
    curves.sort(key=lambda item: -item[0])  # the baseline last: on top
    return [plot(curves, axes, min(console.width, 120), height + 2, target=target, braille=braille)]


def _table(snapshot: Snapshot, arms: dict[str, list[LiveRun]], order: list[str], console: Console) -> RenderableType:
    braille = (console.encoding or "").lower().startswith("utf")
    table = Table(box=None, pad_edge=False, header_style="dim")
    for head, side in (("strategy", "left"), ("done", "right"), ("at target", "right"), ("median accuracy", "right"), ("now", "left")):
        table.add_column(head, justify=side, no_wrap=True)  # type: ignore[arg-type]
    for index, name in enumerate(order):
        runs = arms[name]
        colour = COLOURS[index % len(COLOURS)]
        mark = "━━" if braille else LETTERS[index % len(LETTERS)]
        last = [float(r.curve.accuracy[-1]) for r in runs if r.curve is not None]
        accuracy = f"{100 * median(last):.1f} %" if last else "–" if braille else "-"
        table.add_row(
            Text(f"{mark} ", colour).append(name, "default"),
            f"{sum(r.status.state in DONE for r in runs)}/{len(runs)}",
            f"{sum(snapshot.reached(r) for r in runs)}/{len(runs)}",
            accuracy,
            Text(_now(runs), "dim"),
        )
    return table


def _now(runs: list[LiveRun]) -> str:
    """What the runs of an arm do now: the running ones by step, what went wrong by seed."""
    said = []
    for run in runs:
        status, seed = run.status, run.spec.seed
        if status.state == "running":
            said.append(f"seed {seed} at step {status.step}/{run.spec.algorithm.max_steps}")
        elif status.state == "failed":
            said.append(f"seed {seed} failed after step {status.step}")
        elif status.state == "interrupted":
            said.append(f"seed {seed} stopped at step {status.step}/{run.spec.algorithm.max_steps}")
    return ", ".join(said)


def short(value: float) -> str:
    """``950``, ``12.3k``, ``4.56M``."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if value >= size:
            return f"{value / (1e3 if unit == 'k' else size):.3g}{unit}"
    return f"{value:.3g}"
