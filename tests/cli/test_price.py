"""``halfway price``, and prices from a suite or the command line in a report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from harness.cli.main import app
from harness.errors import UserError
from harness.suite.reader import load_suite
from reports.analysis import analyse
from reports.condensed import condense
from reports.page.build import write_report
from reports.words import break_even, price_sentence
from tests.edits import edited
from tests.reports.ledgers import read, write_run

SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]


def test_price_of_a_ledger_by_hand(tmp_path: Path) -> None:
    """A step of 1 s: .4 s for 640 generated tokens, .3 s for 640 trained ones; no forward-only token, so ⅓ there."""
    write_run(tmp_path / "runs", "grpo", 1, pace=1.0, steps=8)
    done = CliRunner().invoke(app, ["price", str(tmp_path / "runs"), "--json"])
    [row] = json.loads(done.stdout)
    assert row["machine"] == "Example CPU 3.0 GHz (1 runs)"
    assert (row["generated"], row["forward"]) == (pytest.approx(4 / 3), pytest.approx(1 / 3))


def test_price_from_three_numbers() -> None:
    """90 s of rollouts, 5 s of forward passes, 15 s of updates over the same tokens: 6 and ⅓."""
    done = CliRunner().invoke(app, ["price", "--seconds", "90", "5", "15"])
    assert "a generated token costs 6 trained tokens, one only passed forward 0.333" in done.stdout
    assert "[report] prices = [6]" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give ledgers or folders of runs, or three numbers"),
        (["--seconds", "0", "1", "1"], "above 0"),
        (["nowhere"], "holds no ledger.jsonl"),
    ],
)
def test_what_shows_no_price_is_refused(arguments: list[str], words: str) -> None:
    """One sentence each."""
    done = CliRunner().invoke(app, ["price", *arguments])
    assert isinstance(done.exception, UserError)
    assert words in str(done.exception)


def test_prices_in_a_suite_file(tmp_path: Path) -> None:
    """The table is read, changes no run, and its mistakes are named with their line."""
    text = (Path(__file__).resolve().parents[2] / "suites" / "quick.toml").read_text(encoding="utf-8")
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    (tmp_path / "b.toml").write_text(edited(text, {"[execution]": "[report]\nprices = [0.5, 7]\n\n[execution]"}), encoding="utf-8")
    (tmp_path / "c.toml").write_text(edited(text, {"[execution]": "[report]\nprices = [-1]\n\n[execution]"}), encoding="utf-8")
    plain, priced = (load_suite(tmp_path / name) for name in ("a.toml", "b.toml"))
    assert [p.label for p in plain.report.token_prices] == ["μ = ⅓", "μ = 1", "μ = 5"]
    assert [p.label for p in priced.report.token_prices] == ["μ = 0.5", "μ = 7"]
    assert plain.arms == priced.arms
    with pytest.raises(UserError, match=r"c.toml, line \d+: .*price -1"):
        load_suite(tmp_path / "c.toml")


@pytest.mark.slow
def test_verdicts_at_prices_by_hand(tmp_path: Path) -> None:
    """grpo: 640 generated, 640 trained per step; rr: half generated, as many steps plus a quarter: 16 against 20 steps.

    (640μ + 640)·16 against (320μ + 640)·20: at μ = ⅓ .914, at 1 1.067, at 5 1.371; equal at μ = ⅔.
    """
    later = [0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.5]
    paths = [write_run(tmp_path / "runs", "grpo", s, steps=24, accuracies=SLOW) for s in range(5)]
    paths += [write_run(tmp_path / "runs", "rr", s, steps=24, accuracies=later, replayed=4) for s in range(5)]
    analysis = analyse(map(condense, read(paths)), baseline="grpo", target={"share_of_gain": 0.9})
    write_report(analysis, tmp_path / "out", title="T")
    with open(tmp_path / "out" / "results.csv", encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert [float(row[f"speedup_price_{p}"]) for p in ("0.333333", "1", "5")] == pytest.approx([0.9143, 1.0667, 1.3714], abs=1e-4)
    assert [row[f"verdict_price_{p}"] for p in ("0.333333", "1", "5")] == ["slower", "faster", "faster"]
    assert float(row["break_even_price"]) == pytest.approx(2 / 3, rel=1e-3)
    assert row["cheaper"] == "above"
    [arm] = [a for a in analysis.arms if a.strategy == "rr"]
    assert break_even(arm) == "0.67, cheaper above"
    assert price_sentence(arm.speed_ups, analysis.prices, arm) == (
        "Priced by tokens, at μ = ⅓ 0.91× [0.91, 0.91] (slower), at μ = 1 1.07× [1.07, 1.07] (faster), "
        "at μ = 5 1.37× [1.37, 1.37] (faster); break-even μ 0.67, cheaper above."
    )
    assert r"rr & 0.91$\times$ [0.91, 0.91]" in (tmp_path / "out" / "prices.tex").read_text(encoding="utf-8")
    assert "At other prices of a generated token" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
