"""``halfway regime`` through a real worker process, and what ``plan`` and ``validate`` say of a suite's power."""

from __future__ import annotations

import json
import math
import os
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from harness.cli import power
from harness.cli.main import app
from harness.cli.power import USUAL_SCATTER, detectable, suite_notes
from harness.cli.regime import regime_tables, remarks
from harness.stats import minimum_detectable_speed_up
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from reports.regime import start_regime

QUICK = Path(__file__).resolve().parents[2] / "suites" / "quick.toml"


def suite_with(folder: Path, seeds: str) -> Path:
    """The quick suite with other seeds and a few steps."""
    text = re.sub(r"^seeds = .*$", f"seeds = {seeds}", QUICK.read_text(encoding="utf-8"), count=1, flags=re.MULTILINE)
    path = folder / "small.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_speed_up_before_anything_ran(tmp_path: Path) -> None:
    """Five seeds: exp((t(.975, 4) + t(.8, 4))·.3/√5) = exp(3.7174·.3/2.23607) = 1.65; three show nothing whatever they are."""
    five, three = (load_suite(suite_with(tmp_path, seeds)) for seeds in ("[1, 2, 3, 4, 5]", "[1, 2, 3]"))
    assert minimum_detectable_speed_up(USUAL_SCATTER, 5) == pytest.approx(1.6466, abs=1e-3)
    assert detectable(five, plan(five), tmp_path).startswith("5 paired seeds: speed-ups below 1.65x cannot be told from noise")
    assert "in seconds and at every price of a generated token" in detectable(five, plan(five), tmp_path)
    assert detectable(three, plan(three), tmp_path).startswith("3 paired seeds: too few for any verdict, 5 are needed; with 5,")


def test_the_smallest_speed_up_from_finished_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Measured scatter, per price; a price at which no pair is known is left out."""
    monkeypatch.setattr(power, "_measured_scatter", lambda *_: [("in training time", 0.1), ("at μ = 5", 0.2)])
    five = load_suite(suite_with(tmp_path, "[1, 2, 3, 4, 5]"))
    assert detectable(five, plan(five), tmp_path) == (
        "5 paired seeds: speed-ups below 1.18x in training time, 1.39x at μ = 5 cannot be told from noise "
        "(power 0.8; pairs scatter by 0.10, 0.20 in log ratio, measured here)"
    )


def test_validate_warns_of_what_a_suite_cannot_show(tmp_path: Path) -> None:
    """Three seeds and no oracle among the runs."""
    suite = load_suite(suite_with(tmp_path, "[1, 2, 3]"))
    notes = suite_notes(suite, [run for run in plan(suite) if run.strategy.label != "oracle"], [])
    assert notes[0].startswith("3 seeds: no strategy can be called faster or slower")
    assert notes[1].startswith("no oracle")


def test_remarks_on_a_start_that_is_unlike_real_training() -> None:
    """All questions at .5 of 4 samples, groups of 2: 1/6 all wrong (within), 1/6 all right (within), 2/3 informative (above)."""
    found = remarks(start_regime(np.full(10, 0.5), 4, 2), math.inf)
    assert found == ["67 % of the groups are informative; in the middle regime of real training 55 to 62 %"]
    assert "drawn once or never" in remarks(start_regime(np.full(10, 0.5), 4, 2), 0.6)[-1]


def test_tables_of_a_combination_whose_name_begins_another(tmp_path: Path) -> None:
    """``sums`` has two tables, the last measured last; that of ``sums-hard`` and a journal are none of them."""
    (tmp_path / "regime").mkdir()
    for when, name in enumerate(["sums-validation-512", "sums-train-16", "sums-hard-validation-16"], start=1):
        path = tmp_path / "regime" / f"{name}.parquet"
        path.touch()
        os.utime(path, (when, when))
    (tmp_path / "regime" / "sums-train-16.parquet.collecting").mkdir()
    assert [p.name for p in regime_tables(tmp_path, "sums")] == ["sums-validation-512.parquet", "sums-train-16.parquet"]


@pytest.mark.slow
def test_the_starting_policy_is_rolled_out(tmp_path: Path) -> None:
    """The tiny model of the quick suite on 16 questions: a histogram that sums to 1, and a table that is not measured twice."""
    arguments = ["regime", str(suite_with(tmp_path, "[1]")), "--questions", "16", "--runs-dir", str(tmp_path / "runs"), "--json"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    [row] = json.loads(done.stdout[done.stdout.index("[") :])
    assert (row["combination"], row["questions"], row["group_size"]) == ("spell-backward", 16, 8)
    assert sum(row["histogram"]) == pytest.approx(1)
    table = tmp_path / "runs" / "quick" / "regime" / "spell-backward-validation-16.parquet"
    assert list(table.parent.iterdir()) == [table]  # nothing is left of the work
    before = table.stat().st_mtime_ns
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert table.stat().st_mtime_ns == before
