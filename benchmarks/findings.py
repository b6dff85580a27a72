"""Write docs/findings.md, its figures, and the tables of README and docs/frontier.md from the archives of whole courses.

    python benchmarks/findings.py                            # from benchmarks/results/courses/*.tar.xz
    python benchmarks/findings.py --runs-dir runs quick mini # from folders of runs, before they are archived

A chapter appears where its records exist. Sentences frame the numbers; which of them stand there follows from the verdicts alone.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.course.archive import archives_in
from benchmarks.course.course import Course, course_of_archive, course_of_runs, finished_runs, resolved
from benchmarks.course.table import is_ablation
from benchmarks.courses import COURSES, ROOT
from benchmarks.document import insert
from benchmarks.finding.answer import answer_table, regimes_table
from benchmarks.finding.chapter import Chapter, listed
from benchmarks.finding.claims import claim_tables
from benchmarks.finding.lean import headroom_chapter, lean_chapter
from benchmarks.finding.limits import limits_chapter
from benchmarks.finding.parts import batch_chapter, parts_chapter
from benchmarks.finding.ranks import ranks_chapter, simulator_chapter
from benchmarks.finding.regimes import regime_chapter, time_chapter
from benchmarks.finding.selection import selection_chapter
from benchmarks.finding.targets import targets_chapter
from benchmarks.finding.verdicts import break_even_chapter, savings_chapter, speed_up_chapter, summary_chapter
from harness.errors import UserError
from harness.files import write_text
from reports.figures.style import STYLE

PAGE = ROOT / "docs" / "findings.md"
README = ROOT / "README.md"
FRONTIER = ROOT / "docs" / "frontier.md"

#: Courses in the order of the page; others follow by name.
ORDER = ("quick", "mini", "regimes")

CHAPTERS: tuple[Callable[[Sequence[Course]], Chapter | None], ...] = (
    summary_chapter, regime_chapter, targets_chapter, speed_up_chapter, lean_chapter, headroom_chapter, break_even_chapter, savings_chapter,
    parts_chapter, selection_chapter, batch_chapter, ranks_chapter, simulator_chapter, time_chapter, limits_chapter,
)  # fmt: skip

#: Chapters that count or rank strategies; a course that takes one apart would crowd out the others.
OF_WHOLE_STRATEGIES = (summary_chapter, targets_chapter, headroom_chapter, ranks_chapter, simulator_chapter)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "suites", nargs="*", help="only these; with --runs-dir default: quick, mini and regimes where they have finished runs"
    )
    parser.add_argument("--archives", type=Path, default=COURSES)
    parser.add_argument("--runs-dir", type=Path, help="read folders of runs instead of archives")
    parser.add_argument("-o", "--output", type=Path, default=PAGE)
    options = parser.parse_args()
    try:
        if options.runs_dir is not None:
            names = options.suites or [name for name in ORDER if has_results(name, options.runs_dir)]
            courses = [course_of_runs(name, options.runs_dir) for name in names]
        else:
            courses = archived(options.archives, options.suites)
        write(courses, options.output)
        if options.output.resolve() == PAGE and not options.suites and options.runs_dir is None:
            insert(README, "answer", answer_table(courses))
            insert(README, "regimes", regimes_table(courses))
            for place, table in claim_tables(courses).items():
                insert(FRONTIER, place, table)
    except UserError as error:
        sys.exit(f"findings: {error}")
    print(f"{options.output}: {', '.join(c.name for c in courses)}")


def has_results(name: str, runs_dir: Path) -> bool:
    """Whether a suite of that name exists and has a finished run."""
    try:
        return bool(finished_runs(resolved(name, runs_dir), runs_dir))
    except UserError:
        return False


def archived(folder: Path = COURSES, names: Sequence[str] = ()) -> list[Course]:
    """The courses in a folder of archives, in the order of the page. Raises UserError where a name has no archive."""
    found = archives_in(folder)
    absent = [name for name in names if name not in found]
    if absent:
        raise UserError(f"{folder} has no archive of {', '.join(absent)}; pack it with 'benchmarks/courses.py pack {absent[0]}'")
    order = sorted(names or found, key=lambda n: (ORDER.index(n) if n in ORDER else len(ORDER), n))
    return [course_of_archive(found[name]) for name in order]


def chapters(courses: Sequence[Course]) -> list[Chapter]:
    """Those that the records of the courses can fill. Raises UserError where there is no course."""
    if not courses:
        raise UserError("there is no course; pack one with 'benchmarks/courses.py pack SUITE', or give --runs-dir")
    whole = [course for course in courses if not is_ablation(course)] or courses
    return [chapter for make in CHAPTERS if (chapter := make(whole if make in OF_WHOLE_STRATEGIES else courses)) is not None]


def page(courses: Sequence[Course], found: Sequence[Chapter]) -> str:
    """The text of docs/findings.md."""
    baselines = ", ".join(f"{c.name} against `{c.analysis.baseline}` to {c.analysis.rule.words}" for c in courses)
    lines = [
        "# Findings",
        "This page is written by `python benchmarks/findings.py` from the records in `benchmarks/results/courses`; no number on it is "
        f"typed by hand. Courses: {baselines}; {sum(len(c.analysis.runs) for c in courses)} runs. Models: {', '.join(_models(courses))}.",
    ]
    lines += [other] if (other := versions_that_differ(courses)) else []
    for chapter in found:
        lines += [f"## {chapter.title}", *chapter.blocks]
        lines += [f"![{shown}](images/findings-{name}.svg)" for name, shown, _ in chapter.figures]
    return "\n\n".join(lines) + "\n"


def versions_that_differ(courses: Sequence[Course]) -> str:
    """Which strategies have another declared version in one course than in another; empty if none."""
    found: dict[str, dict[str, list[str]]] = {}
    for course in courses:
        for spec in (run.spec["strategy"] for run in course.analysis.runs):
            where = found.setdefault(spec["name"], {}).setdefault(spec["version"], [])
            if course.name not in where:
                where.append(course.name)
    said = [
        f"`{name}` ran as {listed([f'{version} in {listed(where)}' for version, where in sorted(of.items())])}"
        for name, of in sorted(found.items())
        if len(of) > 1
    ]
    return f"Versions of strategies differ (name, then the versions of selector and replay): {'; '.join(said)}." if said else ""


def _models(courses: Sequence[Course]) -> list[str]:
    return sorted({str(run.spec["combination"]["model"]["name"]) for c in courses for run in c.analysis.runs})


def write(courses: Sequence[Course], output: Path = PAGE) -> list[Chapter]:
    """Write the page and its figures, ``images/findings-*.svg`` beside it; returns the chapters."""
    import matplotlib

    found = chapters(courses)
    images = output.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    for name, _, figure in (item for chapter in found for item in chapter.figures):
        with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
            figure.savefig(images / f"findings-{name}.svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    write_text(output, page(courses, found))
    return found


if __name__ == "__main__":
    main()
