"""From an analysis to the folder of a report. The same records give the same bytes."""

from __future__ import annotations

import base64
import hashlib
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from harness.errors import UserError
from harness.files import write_bytes
from harness.tuning.lock_file import TuningLock
from reports.arms import Analysis
from reports.exports import csv_rows
from reports.exports.latex import prices_tex, results_tex
from reports.exports.steps_parquet import write_steps
from reports.page import appendix, sections, selection, verdict
from reports.page.ablation import ablation_pictures, ablation_table
from reports.page.certainty import certainty_notes
from reports.page.data_used import data_table
from reports.page.parts import Drawer, Section, Table
from reports.page.prices import price_picture, price_table
from reports.page.published import published_table
from reports.page.regime import regime_section
from reports.page.side_effects import side_effects_table
from reports.page.sides import backend_sections
from reports.page.sooner_or_higher import sooner_or_higher_table
from reports.page.tuning import tuning_section
from reports.parallel import map_processes
from reports.reference import Reproduction
from reports.regime import StartRegime


def write_report(
    analysis: Analysis,
    out: Path,
    *,
    title: str,
    description: str = "",
    figures: bool = False,
    extra: Table | None = None,
    more: Sequence[Section] = (),
    question: str = "",
    lock: TuningLock | None = None,
    regimes: Mapping[str, StartRegime] | None = None,
    reproduced: Sequence[Reproduction] = (),
) -> Path:
    """Write the folder of an analysis; every file appears whole or not at all. For the rest see :func:`render`."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".partial.") as name:
            folder = Path(name) / "figures" if figures else None
            if folder is not None:
                folder.mkdir()
            html = render(
                analysis,
                title=title,
                description=description,
                figures=folder,
                extra=extra,
                more=more,
                question=question,
                lock=lock,
                regimes=regimes,
                reproduced=reproduced,
            )
            if folder is not None:
                _move_figures(folder, out / "figures")
            if write_steps(analysis.runs, Path(name) / "steps.parquet"):
                (Path(name) / "steps.parquet").chmod(0o644)
                (Path(name) / "steps.parquet").replace(out / "steps.parquet")
        files = {
            "results.csv": csv_rows.to_csv(csv_rows.result_rows(analysis)),
            "curves.csv": csv_rows.curves_csv(analysis),
            "results.tex": results_tex(analysis),
            "prices.tex": prices_tex(analysis),
            "index.html": html,  # last: what it links to is there when it is
        }
        for name, text in files.items():
            write_bytes(out / name, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"cannot write the report to {out}: {error.strerror or error}; choose another folder with -o") from error
    return out / "index.html"


def _move_figures(drawn: Path, folder: Path) -> None:
    """Replace the figures of an earlier report; files that are not figures of ours stay."""
    folder.mkdir(exist_ok=True)
    for path in sorted(drawn.iterdir()):
        path.chmod(0o644)
        path.replace(folder / path.name)


def render(
    analysis: Analysis,
    *,
    title: str,
    description: str = "",
    figures: Path | None = None,
    extra: Table | None = None,
    more: Sequence[Section] = (),
    question: str = "",
    lock: TuningLock | None = None,
    regimes: Mapping[str, StartRegime] | None = None,
    reproduced: Sequence[Reproduction] = (),
) -> str:
    """The page as text: no network, no time stamps, everything from the records escaped.

    figures: an existing folder to draw every figure into as SVG, PDF and PNG too. extra: what other rules say, beside the verdict.
    more: sections of their own before the combinations (two sides). lock: what tuning found, if the runs used it.
    regimes: per combination, what ``halfway regime`` measured. reproduced: how the baselines stand to a reference. question: what the
    verdict answers, if it is not whether another strategy is cheaper than the baseline.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    script = resource("page.js")
    mark = "simulated" if verdict.is_simulated(analysis) else ""
    cards = verdict.verdict_cards(analysis)
    shown = cards if len(cards) <= verdict.MOST_CARDS else [c for c in cards if c["kind"] in ("faster", "slower")]
    jobs = [
        (replace(analysis, combinations=[c], overall=[]), Drawer(f"c{i}", figures, mark))
        for i, c in enumerate(analysis.combinations, start=1)
    ]
    drawn = map_processes(_combination_content, jobs, least=5)  # goes on beside what follows
    parts = {
        "overview": verdict.overview_pictures(analysis, Drawer("overview", figures, mark)),
        "ablation_pictures": ablation_pictures(analysis, Drawer("ablation", figures, mark)),
        "more": [*more, *backend_sections(analysis, Drawer("backends", figures, mark))],
        "tuning": tuning_section(lock, analysis.strategies, Drawer("tuning", figures, mark)) if lock is not None else None,
    }
    text = environment.get_template("page.html.j2").render(
        **parts,
        combinations=list(drawn),
        title=title,
        description=description,
        baseline=analysis.baseline,
        cards=shown,
        folded=[" ".join(part for part in (c["sentence"], c["damage"], c["prices"]) if part) for c in cards if c not in shown],
        headline=verdict.headline(cards),
        alarms=[*verdict.alarms(analysis), *(r.sentence for r in reproduced if not r.holds)],
        sentences=csv_rows.verdicts(analysis),
        certainty=[*certainty_notes(analysis), *(r.sentence for r in reproduced if r.holds)],
        regime=regime_section(analysis, regimes or {}) if not question else None,
        overall=verdict.overall_table(analysis),
        off_clock=appendix.off_clock_table(analysis),
        trouble=appendix.trouble(analysis),
        settings=appendix.settings_table(analysis),
        environment=appendix.environment_table(analysis),
        data_used=data_table(analysis),
        rule=analysis.rule,
        exported=figures is not None,
        extra=extra,
        ablation=ablation_table(analysis),
        question=question,
        has_steps=any(len(r.steps["step"]) for r in analysis.runs),
        versions=appendix.versions_line(analysis),
        published=published_table(analysis) if extra is None else None,
        css=Markup(resource("page.css")),  # noqa: S704 - ours, not from the records
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        svg=Markup,
        infinity=float("inf"),
    )
    # No line break between a number and its per cent, nor within an interval or a number of pairs.
    return re.sub(r"(\bn|μ) = (?=[\d⅓])", "\\1\u00a0=\u00a0", re.sub(r"(\[-?[\d.]+,) ", "\\1\u00a0", str(text).replace(" %", "\u00a0%")))


def _combination_content(job: tuple[Analysis, Drawer]) -> dict[str, Any]:
    """The section of one combination: ``job`` holds an analysis of that combination alone, and where to draw."""
    analysis, drawer = job
    combination = analysis.combinations[0]
    return {
        "name": combination.name,
        "notes": sections.target_notes(analysis, combination),
        "table": sections.time_to_target_table(analysis, combination),
        "prices": (price_picture(analysis, combination, drawer), price_table(analysis, combination)),
        "costs": sections.all_costs_tables(analysis, combination),
        "curves": sections.curve_pictures(analysis, combination, drawer),
        "sooner": sooner_or_higher_table(analysis, combination),
        "reached": sections.reach_picture(analysis, combination, drawer),
        "phases": sections.phase_section(analysis, combination, drawer),
        "side_effects": side_effects_table(analysis, combination),
        "selection": selection.selection_section(analysis, combination, drawer),
    }


def resource(name: str) -> str:
    """A file beside the page's template."""
    return (resources.files("reports") / "templates" / name).read_text(encoding="utf-8")
