"""``halfway recommend``: what it needs, what it says, and what it prints for a script."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import UserError
from harness.predictor.collection import METADATA_KEY
from tests.benchmarks.made_course import made_runs
from tests.reports.test_recommendation import HEAD, TABLE

ROOT = Path(__file__).resolve().parents[2]


def with_regime(runs: Path, suite: str, combination: str, rates: list[float]) -> Path:
    """A table as ``halfway regime`` leaves it: pass rates of 16 samples."""
    path = runs / suite / "regime" / f"{combination}-validation-{len(rates)}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"question": [str(i) for i in range(len(rates))], "policy": rates})
    pq.write_table(table.replace_schema_metadata({METADATA_KEY: json.dumps({"policy": {"rollouts": 16}})}), path)
    return path


def told(*words: str) -> str:
    done = CliRunner().invoke(app, ["recommend", *words])
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """The table of tests/reports/test_recommendation.py, as a file."""
    path = tmp_path / "courses.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_no_committed_results(tmp_path: Path) -> None:
    """A table of no rows: one sentence, exit 1."""
    path = tmp_path / "courses.csv"
    path.write_text(HEAD + "\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["recommend", "quick", "--results", str(path)])
    assert (done.exit_code, done.stderr) == (1, "no committed results yet\n")


def test_a_start_that_was_never_measured(tmp_path: Path, results: Path) -> None:
    """The command to run is named, with its folder."""
    done = CliRunner().invoke(app, ["recommend", "quick", "--results", str(results), "--runs-dir", str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert f"run 'halfway regime quick --runs-dir {tmp_path}' first" in str(done.exception)


def test_from_the_regime_to_an_arm(tmp_path: Path, results: Path) -> None:
    """Of 100 questions 30 always wrong, 10 always right, 60 at ½, of whose groups of 8 out of 16 one in 12,870 is all wrong."""
    with_regime(tmp_path / "runs", "quick", "spell-backward", [0.0] * 30 + [1.0] * 10 + [0.5] * 60)
    words = ["quick", "--results", str(results), "--runs-dir", str(tmp_path / "runs")]
    said = told(*words)
    assert said.startswith("spell-backward: try rr first: 1.30× [1.10, 1.50], n = 5 over grpo at μ = 1")
    [found] = json.loads(told(*words, "--json"))
    assert (found["recommended"], found["nearest"], found["near"]) == ("rr", "quick/words", True)
    assert found["start"]["all_wrong"] == pytest.approx(0.3 + 0.6 / 12870)
    assert found["start"]["informative"] == pytest.approx(0.6 - 1.2 / 12870)
    assert [row["arm"] for row in found["compared"]] == ["dots", "rr"]


def test_at_another_price(tmp_path: Path, results: Path) -> None:
    """At 5 only rr is surely cheaper; a word is no price, and without runs nothing was measured."""
    with_regime(tmp_path / "runs", "quick", "spell-backward", [0.0] * 30 + [1.0] * 10 + [0.5] * 60)
    words = ["quick", "--results", str(results), "--runs-dir", str(tmp_path / "runs"), "--price"]
    assert told(*words, "5").startswith("spell-backward: try rr first: 1.90×")
    for price, message in (("cheap", "give a number, or 'measured'"), ("measured", "no finished run of grpo on spell-backward")):
        done = CliRunner().invoke(app, ["recommend", *words, price])
        assert isinstance(done.exception, UserError)
        assert message in str(done.exception)


def test_the_price_that_runs_show(tmp_path: Path, results: Path) -> None:
    """A baseline's step: .2 s for 640 generated, .15 s for 640 trained tokens: 4/3, nearest to 1 of 1 and 5."""
    suite = made_runs(tmp_path)
    with_regime(tmp_path / "runs", "made", "words", list(np.repeat([0.0, 1.0, 0.5], [30, 10, 60])))
    said = told(str(suite), "--results", str(results), "--runs-dir", str(tmp_path / "runs"), "--price", "measured")
    assert "at μ = 1, the price of the table nearest to 1.33333, reached by 5 runs" in said
