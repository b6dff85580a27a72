"""``halfway compare``, and what ``halfway report`` says of runs without a result, on real runs of the toy engine."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from toy_place import SUITE, ToyPlace

from harness.cli.compare import compare
from harness.errors import FailureKind, UserError
from harness.records.ledger import LEDGER_NAME
from harness.records.ledger_records import Failure
from tests.edits import edited


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two arms, three seeds, run once for this file."""
    place = ToyPlace(tmp_path_factory.mktemp("compare"))
    place.write(edited(SUITE, {"seeds = [1]": "seeds = [1, 2, 3]"}))
    result, text = place.run()
    assert result.exit_code == 0, text
    return place.runs


@pytest.fixture
def two(runs: Path, place: ToyPlace) -> ToyPlace:
    """A folder with the same runs twice, as ``before`` and ``after``."""
    for name in ("before", "after"):
        shutil.copytree(runs, place.folder / name / "toy")
    return place


def test_two_folders(two: ToyPlace) -> None:
    """The same runs twice: 1× for every arm and no difference in the settings; table, page and results.csv."""
    done = two.halfway("compare", "before", "after", "-o", "page")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines() if line.startswith("bandit")]
    assert [line[2] for line in lines] == ["grpo", "grpo-fast"]
    assert done.stdout.count("undecided (n = 3, 5 needed)") == 2
    assert "differs:" not in done.stdout
    with open(two.folder / "page" / "results.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["strategy"] == "after"]
    assert [row["combination"] for row in rows] == ["bandit · grpo", "bandit · grpo-fast"]
    html = (two.folder / "page" / "index.html").read_text(encoding="utf-8")
    assert "Does after reach the target accuracy at lower cost than before?" in html
    assert list((two.folder / "page" / "figures").glob("*.pdf"))


def move_to_another_machine(path: Path) -> None:
    """Rewrite a ledger as another machine would have written it."""
    from harness.records.ledger import LedgerWriter, read_ledger
    from harness.records.ledger_records import Complete, RunStart

    log = read_ledger(path)
    log.attempts[0].environment["fingerprint"] = "elsewhere"
    path.unlink()
    writer = LedgerWriter(path)
    writer.write(RunStart(log.run_id, log.spec))
    writer.write(log.attempts[0])
    for step in log.steps:
        writer.write(step)
    for point in log.evaluations:
        writer.write(point)
    writer.write(Complete(8))
    writer.close()


def test_a_report_mixes_machines_in_seconds_only_when_told(two: ToyPlace) -> None:
    """Half the runs from elsewhere: tokens decide; with the flag seconds do, and the page says so at its top."""
    two.write(edited(SUITE, {"seeds = [1]": "seeds = [1, 2, 3]"}))
    for path in sorted((two.folder / "after").glob(f"*/*/{LEDGER_NAME}"))[:3]:
        move_to_another_machine(path)
    for words, ledger in ((), "generated_tokens"), (("--mix-machines",), "training_seconds"):
        done = two.halfway("report", "toy.toml", "--runs-dir", "after", "-o", "page", *words)
        assert done.returncode == 0, done.stderr
        with open(two.folder / "page" / "results.csv", encoding="utf-8", newline="") as file:
            assert {row["compared_on"] for row in csv.DictReader(file)} - {""} == {ledger}
        top = (two.folder / "page" / "index.html").read_text(encoding="utf-8").split("<h2")[0]
        for text in (top, done.stderr):
            assert ("Seconds of different machines are compared, as asked for" in text) is bool(words)


def test_another_machine_is_refused_unless_told_and_json_is_strict(two: ToyPlace) -> None:
    """Seconds of another machine are refused, steps are not; JSON has no infinity in it."""
    for path in (two.folder / "after").glob(f"*/*/{LEDGER_NAME}"):
        move_to_another_machine(path)
    done = two.halfway("compare", "before", "after")
    assert "seconds are refused" in done.stdout
    assert "differs: environment.fingerprint" in done.stdout

    def strict(name: str) -> None:
        raise AssertionError(name)

    for words, compared in ((), "generated_tokens"), (("--mix-machines",), "training_seconds"):
        found = json.loads(two.halfway("compare", "old=before", "new=after", *words, "--json").stdout, parse_constant=strict)
        assert found["sides"] == ["old", "new"]
        assert [row["compared_on"] for row in found["comparisons"]] == [compared] * 2
        assert [row["pairs"] for row in found["final_accuracy"]] == [3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"second": "nowhere"}, "nowhere holds no runs"),
        ({"second": "before"}, "are the same runs; choose different ones with --a and --b"),
        ({"baseline": "gropo"}, "has no run of the baseline 'gropo'; did you mean 'grpo'?"),
        ({"of_b": ["sed=1"]}, "sed=1: write key=value with one of the keys combination, strategy, seed, backend, run"),
        ({"of_b": ["strategy=dots"]}, "no run with a result in after has strategy 'dots'"),
        ({"of_a": ["strategy=grpo"], "of_b": ["strategy=grpo-fast"]}, "have no arm in common"),
        ({"crossing": "frist"}, "must be sustained or first; did you mean 'first'?"),
        ({"target": "finale"}, "did you mean 'final'?"),
    ],
)
def test_bad_input_is_one_sentence(two: ToyPlace, monkeypatch: pytest.MonkeyPatch, words: dict[str, Any], message: str) -> None:
    """A sentence that names what is wrong; nothing is written."""
    monkeypatch.chdir(two.folder)
    with pytest.raises(UserError) as caught:
        compare(**{"first": "before", "second": "after", "output": two.folder / "page", **words})
    assert message in str(caught.value)
    assert not (two.folder / "page").exists()


def test_a_report_says_why_a_run_has_no_result(runs: Path, place: ToyPlace) -> None:
    """Seed 3 of one arm was stopped at step 5, another crashed, a third was never started: state and reason of each."""
    from harness.records.ledger import LedgerWriter

    place.write(edited(SUITE, {"seeds = [1]": "seeds = [1, 2, 3]"}))
    shutil.copytree(runs, place.runs)
    folders = place.folders()
    for label in ("grpo/3", "grpo-fast/3"):
        path = folders[label] / LEDGER_NAME
        lines = path.read_bytes().splitlines(keepends=True)
        until = next(i for i, line in enumerate(lines) if line.startswith(b'{"type":"step","step":5,'))
        path.write_bytes(b"".join(lines[: until + 1]))
    writer = LedgerWriter(folders["grpo-fast/3"] / LEDGER_NAME)
    writer.write(Failure(FailureKind.ERROR, "unexpected KeyError after step 5"))
    writer.close()
    shutil.rmtree(folders["grpo/2"])
    done = place.halfway("report", "toy.toml", "-o", "page", "--no-figures")
    assert done.returncode == 0, done.stderr
    html = (place.folder / "page" / "index.html").read_text(encoding="utf-8")
    assert "recorded up to step 5 of 8: stopped, or still running; &#39;halfway run toy&#39; goes on with it" in html
    assert "unexpected KeyError after step 5 (recorded up to step 5 of 8)" in html
    assert "never started: there is no record of this run" in html
    assert "1 unfinished, 1 missing" in html
    assert "1 crashed" in html
