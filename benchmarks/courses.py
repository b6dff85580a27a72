"""Keep the results of whole courses: every finished run of a suite in one archive, with its table and what it ran on.

    python benchmarks/courses.py pack SUITE [--runs-dir runs]    # results/courses/SUITE.tar.xz, .csv and .json; reports/data/courses.csv
    python benchmarks/courses.py unpack SUITE -o DIR             # then: halfway report SUITE --runs-dir DIR -o page
    python benchmarks/courses.py table                           # reports/data/courses.csv again, from all archives

The archive holds what ``halfway report`` reads (specs, ledgers, lock of the tuning, tables of the regime) and neither checkpoints nor
logs. The same records give the same bytes. ``reports/data/courses.csv``, which ``halfway recommend`` reads, is made of all archives.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.course.archive import LIMIT_MIB, archives_in, check_no_machine_paths, check_sizes, packed, records_of, unpack
from benchmarks.course.course import FACTS, Course, course_of_archive, facts_of, finished_runs, resolved
from benchmarks.course.table import table_of
from harness.cli.regime import regime_tables
from harness.errors import UserError
from harness.files import write_bytes, write_text
from harness.machine.environment import cache_folder
from harness.records.run_folder import run_paths, suite_folder
from harness.suite.suite import Suite
from harness.tuning.lock_file import NAME as LOCK
from harness.tuning.lock_file import find_tuning_lock
from reports.condensed import Run
from reports.exports.csv_rows import result_rows, to_csv
from reports.recommendation import NAME

ROOT = Path(__file__).resolve().parents[1]
COURSES = Path(__file__).resolve().parent / "results" / "courses"

#: What of an attempt's environment stands in SUITE.json.
HARDWARE = ("cpu", "cores", "gpus", "memory_gib", "threads", "python")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    pack_ = commands.add_parser("pack", help="keep a suite's finished runs")
    pack_.add_argument("suite", help="a suite's name or file")
    pack_.add_argument("--runs-dir", type=Path, default=Path("runs"))
    pack_.add_argument("--to", type=Path, default=COURSES, help="folder of the archives")
    commands.add_parser("table", help="write reports/data/courses.csv from all archives")
    unpack_ = commands.add_parser("unpack", help="make a folder of runs from an archive")
    unpack_.add_argument("suite", help="a suite's name, or an archive")
    unpack_.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    try:
        if options.command == "pack":
            print(pack(options.suite, options.runs_dir, options.to))
        elif options.command == "table":
            print(write_table(COURSES))
        else:
            archive = Path(options.suite) if options.suite.endswith(".tar.xz") else COURSES / f"{options.suite}.tar.xz"
            names = unpack(archive, options.output)
            suite = names[0].split("/")[0]
            print(f"{len(names)} files in {options.output}; now: halfway report {suite} --runs-dir {options.output} -o page")
    except UserError as error:
        sys.exit(f"courses: {error}")


def pack(name: str, runs_dir: Path, to: Path = COURSES) -> str:
    """Write archive, table and facts of a suite's finished runs; returns a sentence on their size.

    Raises UserError where nothing is finished, a record names a folder of this machine, or the archives would become too large.
    """
    suite = resolved(name, runs_dir)
    members, order = members_of(suite, runs_dir)
    check_no_machine_paths(members, _places(suite, runs_dir))
    data = packed(members, order)
    archive = to / f"{suite.name}.tar.xz"
    total = check_sizes(to, archive.name, len(data))
    write_bytes(archive, data)
    course = course_of_archive(archive)
    write_bytes(to / f"{suite.name}.csv", to_csv(result_rows(course.analysis)).encode())
    shown = {k: v for k, v in course.facts.items() if k not in ("expected", "absent", "settings_of")}
    runs = [found for arm in course.analysis.arms for found in arm.runs]
    facts = {**shown, **ran_on(runs), "archive": {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}}
    write_text(to / f"{suite.name}.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    write_table(to, {archive: course})
    left = f"; {len(course.facts['expected']) - len(runs)} runs are not finished and left out" if len(runs) < facts["planned"] else ""
    raw = sum(map(len, members.values()))
    return (
        f"{archive}: {len(runs)} runs, {len(data) / 2**20:.2f} MiB ({raw / 2**20:.1f} unpacked); "
        f"all archives {total / 2**20:.2f} of {LIMIT_MIB} MiB{left}"
    )


def write_table(folder: Path, known: Mapping[Path, Course] | None = None) -> Path:
    """Write the table of all archives in ``folder``: the packaged one for the committed archives, else one beside them.

    known: courses of some of the archives, which need not be read again.
    """
    path = ROOT / "reports" / "data" / NAME if folder.resolve() == COURSES else folder / NAME
    write_text(path, table_of((known or {}).get(archive) or course_of_archive(archive) for archive in archives_in(folder).values()))
    return path


def members_of(suite: Suite, runs_dir: Path) -> tuple[dict[str, bytes], list[str]]:
    """(content by name in the archive, names whose order in time matters)."""
    folder = suite_folder(runs_dir, suite.name)
    files = {"suite.toml": suite.path}
    lock = find_tuning_lock(suite, runs_dir)
    if lock is not None:
        files[LOCK] = lock
    members = {}
    for spec in finished_runs(suite, runs_dir):
        paths = run_paths(runs_dir, spec)
        members |= {f"{suite.name}/{spec.run_id}/{n}": content for n, content in records_of(paths).items()}
    tables = {f"{path.parent.name}/{path.name}": path for name in suite.combinations for path in regime_tables(folder, name)}
    members |= {f"{suite.name}/{name}": path.read_bytes() for name, path in (files | tables).items()}
    facts = json.dumps(facts_of(suite, runs_dir), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    return {**members, f"{suite.name}/{FACTS}": facts.encode()}, [f"{suite.name}/{name}" for name in tables]


def _places(suite: Suite, runs_dir: Path) -> list[Path]:
    """Folders of this machine that no record should name."""
    return list(dict.fromkeys([Path.home(), ROOT, runs_dir.resolve(), suite.path.resolve().parent, cache_folder().resolve()]))


def ran_on(runs: list[Run]) -> dict[str, Any]:
    """Hardware and versions as the ledgers recorded them, each set once with its number of runs."""
    found: dict[str, dict[str, dict[str, Any]]] = {"hardware": {}, "versions": {}}
    for run in runs:
        shown = {
            "hardware": {k: run.environment.get(k) for k in HARDWARE},
            "versions": dict(sorted(dict(run.environment.get("versions", {})).items())),
        }
        for what, facts in shown.items():
            entry = found[what].setdefault(json.dumps(facts, sort_keys=True), {**facts, "runs": 0})
            entry["runs"] += 1
    return {what: list(entries.values()) for what, entries in found.items()}


if __name__ == "__main__":
    main()
