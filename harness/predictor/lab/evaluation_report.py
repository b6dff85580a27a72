"""The evaluation's table (CSV and Markdown) and figure (PNG)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.predictor.lab.evaluation import summarise

_METRICS = ("pearson", "spearman", "mae", "top_b_precision", "random_precision", "best_precision")
_HEADERS = ("Pearson", "Spearman", "MAE", "top-B near ½", "random B", "best B")


def report_rows(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Headers and rows of the printed table: per predictor over all targets (or epochs), then per predictor and target."""
    over = "epoch" if "epoch" in records[0] else "target"
    headers = ["predictor", over, "draws", *_HEADERS]
    rows = [_row(r, "all") for r in summarise(records, ["predictor"])]
    rows += [_row(r, str(r[over])) for r in summarise(records, ["predictor", over])]
    return headers, rows


def _row(summary: dict[str, Any], over: str) -> list[str]:
    cells = [f"{summary[m]:.3f} ± {summary[m + '_sd']:.3f}" if m in ("pearson", "spearman") else f"{summary[m]:.3f}" for m in _METRICS]
    return [summary["predictor"], over, str(summary["draws"]), *cells]


def write_report(records: Sequence[dict[str, Any]], out: Path, title: str) -> list[Path]:
    """Write ``evaluation.csv`` (one line per draw), ``evaluation.md`` (means ± sd over draws) and ``evaluation.png``."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        return [_write_csv(records, out), _write_markdown(records, out, title), _draw(records, out / "evaluation.png", title)]
    except OSError as error:
        raise UserError(f"cannot write the evaluation to {error.filename or out}: {error.strerror}") from None


def _write_csv(records: Sequence[dict[str, Any]], out: Path) -> Path:
    fields = [k for k in records[0] if k != "calibration"]
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    (out / "evaluation.csv").write_text(text.getvalue(), encoding="utf-8")
    return out / "evaluation.csv"


def _write_markdown(records: Sequence[dict[str, Any]], out: Path, title: str) -> Path:
    headers, rows = report_rows(records)
    lines = [f"# {title}", "", "Mean ± standard deviation over reference draws.", "", "| " + " | ".join(headers) + " |"]
    lines += ["|" + "---|" * len(headers), *("| " + " | ".join(row) + " |" for row in rows)]
    (out / "evaluation.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return out / "evaluation.md"


def _draw(records: Sequence[dict[str, Any]], path: Path, title: str) -> Path:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3)
    _draw_correlation(left, records)
    _draw_calibration(middle, records)
    _draw_precision(right, records)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
    return path


def _draw_correlation(axes: Any, records: Sequence[dict[str, Any]]) -> None:
    over = "epoch" if "epoch" in records[0] else "target"
    summaries = summarise(records, ["predictor", over])
    places = list(dict.fromkeys(r[over] for r in summaries))
    for name in dict.fromkeys(r["predictor"] for r in summaries):
        mine = {r[over]: r for r in summaries if r["predictor"] == name}
        x = [p for p in places if p in mine] if over == "epoch" else [places.index(p) for p in places if p in mine]
        y = [mine[p]["pearson"] for p in places if p in mine]
        sd = [mine[p]["pearson_sd"] for p in places if p in mine]
        axes.errorbar(x, y, yerr=sd, label=name, marker="o", markersize=3, capsize=2, linestyle="-" if over == "epoch" else "none")
    axes.set(xlabel=over, ylabel="Pearson correlation")
    if over == "target":
        axes.set_xticks(range(len(places)), [str(p).replace("__", " ") for p in places], rotation=90, fontsize=6)
    axes.legend(fontsize=7)


def _draw_calibration(axes: Any, records: Sequence[dict[str, Any]]) -> None:
    axes.plot([0, 1], [0, 1], color="grey", linewidth=0.8)
    for name in dict.fromkeys(r["predictor"] for r in records):
        pooled: dict[int, list[float]] = {}
        for record in records:
            for point in record.get("calibration", ()) if record["predictor"] == name else ():
                cell = pooled.setdefault(min(9, int(point["predicted"] * 10)), [0.0, 0.0, 0.0])
                for i, value in enumerate((point["predicted"] * point["n"], point["true"] * point["n"], point["n"])):
                    cell[i] += value
        points = [(a / n, b / n) for _, (a, b, n) in sorted(pooled.items())]
        axes.plot([p[0] for p in points], [p[1] for p in points], marker="o", markersize=3, label=name)
    axes.set(xlabel="predicted pass rate", ylabel="true pass rate", title="calibration")


def _draw_precision(axes: Any, records: Sequence[dict[str, Any]]) -> None:
    summaries = summarise(records, ["predictor"])
    names = [*(s["predictor"] for s in summaries), "random", "best"]
    values = [*(s["top_b_precision"] for s in summaries), summaries[0]["random_precision"], summaries[0]["best_precision"]]
    axes.bar(range(len(names)), values)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=8)
    axes.set(ylabel="share with pass rate in [.125, .875]", title="the B questions predicted nearest ½", ylim=(0, 1))
