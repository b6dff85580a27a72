"""A rehearsal's leaderboard as files: CSV, a figure over time, and the table inside a Markdown document."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from harness.errors import UserError
from harness.files import write_bytes, write_text
from harness.rehearsal.leaderboard import BASELINE, Leaderboard
from harness.rehearsal.summary import METRICS, Estimate, Row
from reports.figures.style import PALETTE, STYLE

#: Rows drawn with a colour and a name; the others are grey.
NAMED = 7
_COLUMNS = ("informative", "gain", "variance", "wasted", "coverage", "concentration", "probe_rollouts", "filtered_rollouts", "spearman",
            "calibration_error", "seconds")  # fmt: skip
_HEADS = {
    "informative": "informative", "gain": "gain over uniform", "variance": "reward variance", "wasted": "rollouts per useful one",
    "coverage": "coverage", "concentration": "draws on top 50", "probe_rollouts": "probes/step", "filtered_rollouts": "filtered/step",
    "spearman": "ρ", "calibration_error": "calibration error", "seconds": "s/step",
}  # fmt: skip


def write_files(folder: Path, name: str, board: Leaderboard) -> Iterator[Path]:
    """Write ``rehearsal.csv`` and the figure as SVG and PNG into ``folder``; yield what was written."""
    path = folder / "rehearsal.csv"
    write_text(path, to_csv(board))
    yield path
    figure = over_time(board, name)
    for kind in ("svg", "png"):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=kind, dpi=150)
        write_bytes(folder / f"rehearsal.{kind}", buffer.getvalue())
        yield folder / f"rehearsal.{kind}"


def to_csv(board: Leaderboard) -> str:
    """One line per strategy and metric: mean, 95 % interval, seeds."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["strategy", "upper_bound", "metric", "mean", "low", "high", "n"])
    for row in board.rows:
        for metric in METRICS:
            e = row.estimates[metric]
            writer.writerow([row.label, row.upper_bound, metric, *(f"{v:.6g}" for v in (e.mean, e.low, e.high)), e.n])
    return buffer.getvalue()


def over_time(board: Leaderboard, name: str) -> Figure:
    """Share of informative groups per step: the best rows, uniform selection and the upper bound by name, the rest in grey."""
    import matplotlib as mpl

    named = [r for r in board.rows if not r.upper_bound and r.label != BASELINE][: NAMED - 2]
    special = [r for r in board.rows if r.upper_bound or r.label == BASELINE]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(7.2, 4.0), layout="constrained")
        axes = figure.add_subplot()
        for row in board.rows:
            if row not in named and row not in special:
                axes.plot(_smooth(row.over_time), color="#d5dade", linewidth=0.8, zorder=1)
        for row, colour in zip([*special, *named], PALETTE, strict=False):
            dash = ":" if row.upper_bound else "-"
            axes.plot(_smooth(row.over_time), dash, color=colour, linewidth=1.6, label=row.label, zorder=2)
        axes.set(xlabel="training step", ylabel="informative groups", ylim=(0, 1.02), title=f"{name}: a recorded policy, not a trained one")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure


def _smooth(values: np.ndarray, width: int = 5) -> np.ndarray:
    """Moving average over five steps, so that lines can be told apart; the table has the plain numbers."""
    if len(values) < width:
        return values
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def write_into(document: Path, name: str, conditions: str, board: Leaderboard) -> None:
    """Replace the section of ``name`` between its markers in a Markdown document. Raises UserError where the markers are missing."""
    begin, end = f"<!-- rehearsal {name} -->", f"<!-- end of rehearsal {name} -->"
    try:
        text = document.read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot read {document}: {error.strerror}") from error
    if begin not in text or end not in text:
        raise UserError(f"{document} has no place for this table: add the lines '{begin}' and '{end}' where it belongs")
    section = f"{begin}\n{to_markdown(conditions, board)}{end}"
    write_text(document, re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: section, text, count=1, flags=re.DOTALL))


def to_markdown(conditions: str, board: Leaderboard) -> str:
    """The leaderboard as a Markdown table, with its conditions and what was left out."""
    lines = [f"{conditions}.", "", "| strategy | " + " | ".join(_HEADS[c] for c in _COLUMNS) + " |", "|---" * (len(_COLUMNS) + 1) + "|"]
    lines += [f"| {_label(row)} | " + " | ".join(_cell(c, row.estimates[c]) for c in _COLUMNS) + " |" for row in board.rows]
    lines += [""] + [f"Left out: `{label}`: {reason}." for label, reason in board.left_out]
    return "\n".join(lines).rstrip("\n") + "\n"


def _label(row: Row) -> str:
    return f"*{row.label}* (upper bound)" if row.upper_bound else f"`{row.label}`"


def _cell(metric: str, estimate: Estimate) -> str:
    if estimate.n == 0:
        return "–"
    if metric == "informative":
        return f"{estimate.mean:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
    if metric in ("probe_rollouts", "filtered_rollouts"):
        return f"{estimate.mean:.0f}"
    return f"{estimate.mean:+.3f}" if metric == "gain" else f"{estimate.mean:.2g}" if metric == "seconds" else f"{estimate.mean:.2f}"
