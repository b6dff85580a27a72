"""Archives of courses: pack, unpack and report give the same table; the same bytes again; nothing escapes the folder."""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.course import archive
from benchmarks.course.archive import check_no_machine_paths, check_sizes, packed, records_of, unpack
from benchmarks.course.clock import covered
from benchmarks.course.course import course_of_archive, course_of_runs, resolved, share_of_most_drawn
from benchmarks.courses import members_of, pack
from harness.cli.main import app
from harness.errors import UserError
from harness.records.ledger import parse_line, read_ledger
from harness.records.ledger_records import to_json
from harness.records.run_folder import RunPaths
from harness.spec import RunSpec
from harness.tuning.lock_file import TuningLock
from tests.benchmarks.made_course import SUITE, made_runs
from tests.cli.test_recommend import with_regime
from tests.reports.ledgers import write_run


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a suite, all its runs but one, and a lock-free folder of runs."""
    folder = tmp_path_factory.mktemp("course")
    made_runs(folder)
    return folder


def report(place: Path, runs: Path, out: Path) -> str:
    """results.csv of ``halfway report``."""
    done = CliRunner().invoke(app, ["report", str(place / "made.toml"), "--runs-dir", str(runs), "-o", str(out), "--no-figures"])
    assert done.exit_code == 0, done.output
    return (out / "results.csv").read_bytes().decode()


@pytest.mark.slow
def test_pack_unpack_report_gives_the_same_table(kept: Path, tmp_path: Path) -> None:
    """results.csv of the runs, of the unpacked archive, and the one that pack wrote are one text; packed again: the same bytes."""
    said = pack(str(kept / "made.toml"), kept / "runs", tmp_path / "kept")
    assert "made.tar.xz: 29 runs" in said
    assert "1 runs are not finished and left out" in said
    names = unpack(tmp_path / "kept" / "made.tar.xz", tmp_path / "again")
    assert len(names) == 2 * 29 + 2
    assert not list((tmp_path / "again").rglob("attempts"))
    first = report(kept, kept / "runs", tmp_path / "a")
    assert report(kept, tmp_path / "again", tmp_path / "b") == first
    assert (tmp_path / "kept" / "made.csv").read_bytes().decode() == first
    pack(str(kept / "made.toml"), tmp_path / "again", tmp_path / "twice")
    assert (tmp_path / "twice" / "made.tar.xz").read_bytes() == (tmp_path / "kept" / "made.tar.xz").read_bytes()


def test_what_a_course_ran_on_and_how_long(kept: Path, tmp_path: Path) -> None:
    """29 runs, each from an attempt at 1000 s · k to a ledger 60 s later: 28·1000 + 60 s in all, 29·60 s of them busy."""
    pack(str(kept / "made.toml"), kept / "runs", tmp_path)
    facts = json.loads((tmp_path / "made.json").read_text(encoding="utf-8"))
    assert (facts["planned"], facts["finished"], facts["baseline"]) == (30, 29, "grpo")
    assert facts["time"]["runs"] == 29
    assert facts["time"]["wall_seconds"] == pytest.approx(28 * 1000 + 60)
    assert facts["time"]["busy_seconds"] == pytest.approx(29 * 60)
    [hardware] = facts["hardware"]
    assert (hardware["cpu"], hardware["runs"]) == ("Example CPU 3.0 GHz", 29)
    assert facts["versions"][0]["torch"] == "2.13.0"
    assert str(kept) not in (tmp_path / "made.json").read_text(encoding="utf-8")


def test_overlapping_spans_count_once() -> None:
    """[0, 10] and [5, 12] cover 12, [20, 21] one more."""
    assert covered([(5, 12), (0, 10), (20, 21), (6, 7)]) == 13


def test_nothing_finished_is_one_sentence(kept: Path, tmp_path: Path) -> None:
    """An empty folder of runs."""
    with pytest.raises(UserError, match=r"no run of suite 'made' in .* is finished"):
        pack(str(kept / "made.toml"), tmp_path, tmp_path / "kept")


def test_a_record_that_names_a_folder_of_the_machine_is_refused(tmp_path: Path) -> None:
    """Named with its file."""
    with pytest.raises(UserError, match=r"a/ledger\.jsonl names the folder"):
        check_no_machine_paths({"a/spec.json": b"{}", "a/ledger.jsonl": f'"{tmp_path}/x"'.encode()}, [Path("/"), tmp_path])


def test_all_archives_together_stay_small(tmp_path: Path) -> None:
    """6 MiB beside 5 are too many; instead of the same 5 they are not."""
    (tmp_path / "a.tar.xz").write_bytes(bytes(5 * 2**20))
    assert check_sizes(tmp_path, "a.tar.xz", 6 * 2**20) == 6 * 2**20
    with pytest.raises(UserError, match=r"would have 11\.0, more than 10 MiB"):
        check_sizes(tmp_path, "b.tar.xz", 6 * 2**20)


@pytest.mark.parametrize("where", ["runs/made/lock.toml", "made.lock.toml"])
def test_the_lock_of_the_tuning_goes_along(where: str, kept: Path, tmp_path: Path) -> None:
    """From the runs folder, or as published beside the suite's file."""
    course = tmp_path / "course"
    shutil.copytree(kept, course)
    lock = TuningLock(suite="made", cost="price:1", seeds=(1001,), evaluation="validation", target="50 %")
    lock.write(course / where)
    members, _ = members_of(resolved(str(course / "made.toml"), course / "runs"), course / "runs")
    assert members["made/lock.toml"] == (course / where).read_bytes()
    assert course_of_runs(str(course / "made.toml"), course / "runs").lock == lock


def test_of_two_regime_tables_the_last_measured_counts_after_unpacking(kept: Path, tmp_path: Path) -> None:
    """The one that sorts first by name was measured last: it stays the last."""
    shutil.copytree(kept / "runs", tmp_path / "runs")
    for when, rates in ((2000, [1.0] * 16), (1000, [0.0] * 32)):
        table = with_regime(tmp_path / "runs", "made", "words", rates)
        os.utime(table, (when, when))
    pack(str(kept / "made.toml"), tmp_path / "runs", tmp_path / "kept")
    course = course_of_archive(tmp_path / "kept" / "made.tar.xz")
    assert (course.regimes["words"].questions, course.regimes["words"].all_right) == (16, 1.0)


def tar_of(path: Path, *entries: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    return path


@pytest.mark.parametrize("name", ["/etc/x", "s/../../x", "top"])
def test_files_outside_a_folder_are_refused(name: str, tmp_path: Path) -> None:
    """Absolute, upwards, or at the top: nothing is written at all."""
    archive = tar_of(tmp_path / "bad.tar.xz", tarfile.TarInfo("s/fine"), tarfile.TarInfo(name))
    with pytest.raises(UserError, match="no plain file below the folder"):
        unpack(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(kind: bytes, tmp_path: Path) -> None:
    """Plain files only."""
    entry = tarfile.TarInfo("s/link")
    entry.type, entry.linkname = kind, "../../x"
    with pytest.raises(UserError, match="no plain file"):
        unpack(tar_of(tmp_path / "bad.tar.xz", entry), tmp_path / "out")


def test_what_is_no_archive_is_one_sentence(tmp_path: Path) -> None:
    """Absent, damaged, and an archive whose files are there already."""
    (tmp_path / "x.tar.xz").write_bytes(b"no archive")
    for path in (tmp_path / "absent.tar.xz", tmp_path / "x.tar.xz"):
        with pytest.raises(UserError, match="cannot read the archive"):
            unpack(path, tmp_path / "out")
    (tmp_path / "y.tar.xz").write_bytes(packed({"s/a": b"1"}))
    unpack(tmp_path / "y.tar.xz", tmp_path / "out")
    with pytest.raises(UserError, match="exists; unpack"):
        unpack(tmp_path / "y.tar.xz", tmp_path / "out")


def test_columns_that_fit_no_ledger_are_one_sentence(tmp_path: Path) -> None:
    """Too few values, an unknown type, no JSON: the archive is named."""
    few = b'{"order":[["step",2]],"columns":{"step":{"fields":{"step":{"values":[1]}}}}}'
    unknown = b'{"order":[["made-up",1]],"columns":{"made-up":{"fields":{}}}}'
    for number, content in enumerate((few, unknown, b"no JSON", b"[]")):
        archive = tmp_path / f"{number}.tar.xz"
        archive.write_bytes(packed({"s/r/ledger.columns.json": content}))
        with pytest.raises(UserError, match=rf"cannot read ledger.columns.json of .*{number}.tar.xz"):
            unpack(archive, tmp_path / f"out{number}")


def test_share_of_the_most_drawn(tmp_path: Path) -> None:
    """Draws of 8 different of 512 in 12 steps: 96 draws; the 50 most drawn hold all repeats and fill up with singles."""
    log = read_ledger(write_run(tmp_path, "grpo", 1, steps=12))
    drawn = [q for s in log.steps for q in s.question_ids]
    counts = sorted((drawn.count(q) for q in set(drawn)), reverse=True)
    assert share_of_most_drawn(log) == pytest.approx(sum(counts[:50]) / 96)


def test_the_course_of_a_folder_is_that_of_its_archive(kept: Path, tmp_path: Path) -> None:
    """Also when files have other times: the numbers are those of the records."""
    shutil.copytree(kept / "runs", tmp_path / "runs", copy_function=shutil.copy)
    course = course_of_runs(str(kept / "made.toml"), tmp_path / "runs")
    assert course.name == "made"
    assert {a.strategy: a.n for a in course.analysis.arms} == {"grpo": 5, "dots": 5, "dots-rr": 5, "history": 5, "rr": 5, "oracle": 4}
    assert len(course.most_drawn["words", "rr"]) == 5
    assert SUITE.count("[[strategies]]") == 6


def test_an_accuracy_that_equals_the_target_still_does() -> None:
    """281 of 512, nine digits: with seven it would lie below a target of the same value. Of other fractions seven are enough."""
    assert archive._rounded({"accuracy": 281 / 512, "mean_reward": 281 / 512}) == {"accuracy": 0.548828125, "mean_reward": 0.5488281}


def test_archived_records_are_rounded_and_nothing_else(kept: Path) -> None:
    """Seconds to hundredths of a millisecond, checksums renewed; settings, identity, counts and accuracies of the run are as they were."""
    spec = next(path for path in sorted((kept / "runs" / "made").glob("*/spec.json")))
    paths = RunPaths(spec.parent)
    archived = records_of(paths)
    assert RunSpec.model_validate_json(archived["spec.json"]).run_id == RunSpec.load(paths.spec).run_id
    whole = [parse_line(line) for line in paths.ledger.read_bytes().split(b"\n")[:-1]]
    short = [parse_line(line) for line in archived["ledger.jsonl"].split(b"\n")[:-1]]
    assert len(short) == len(whole)
    for before, after in zip(map(to_json, whole[1:]), map(to_json, short[1:]), strict=True):
        if before.get("accuracy") is not None:
            assert after["accuracy"] == before["accuracy"]
        assert after.get("question_ids") == before.get("question_ids")
        if "costs" in before:
            assert after["costs"] == {k: round(v, 5) if isinstance(v, float) else v for k, v in before["costs"].items()}
