"""Tables in a terminal: they fit its width, and no word is broken."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from harness.cli.ending import again
from harness.cli.main import app
from harness.cli.tables import table_lines

HEADS = ["strategy", "runs", "verdict"]
ROWS = [["dots-rr-lean", "5", "no difference shown (n = 5), upper bound"], ["grpo", "5", "baseline"]]


def test_a_table_that_is_not_for_a_terminal_is_as_wide_as_it_is() -> None:
    """One line a row, whatever its length."""
    assert [line for line, _ in table_lines(HEADS, ROWS, None)] == [
        "strategy      runs  verdict",
        "dots-rr-lean  5     no difference shown (n = 5), upper bound",
        "grpo          5     baseline",
    ]


def test_a_table_folds_between_words() -> None:
    """The widest column gives way first; every word is whole and in its column."""
    lines = [line for line, _ in table_lines(HEADS, ROWS, 40)]
    assert max(map(len, lines)) <= 40
    assert lines[1:3] == ["dots-rr-lean  5     no difference shown", "                    (n = 5), upper bound"]
    words = {word for line in lines for word in line.split()}
    assert words == {word for row in [HEADS, *ROWS] for cell in row for word in cell.split()}


def test_a_table_that_cannot_fold_that_far_is_written_as_paragraphs() -> None:
    """Three words side by side need more than 20 characters: a paragraph per row, head before value."""
    lines = [line for line, _ in table_lines(HEADS, ROWS, 24)]
    assert lines[:3] == ["dots-rr-lean", "  runs: 5", "  verdict: no difference"]
    assert max(map(len, lines)) <= 24


def test_version_is_an_option_too() -> None:
    """``halfway --version`` says what ``halfway version`` says."""
    runner = CliRunner()
    assert runner.invoke(app, ["--version"]).stdout == runner.invoke(app, ["version"]).stdout
    assert runner.invoke(app, ["--version"]).stdout.startswith("halfway ")


def test_hints_repeat_the_options_that_were_given() -> None:
    """The usual folder is left out, an odd one and filters are not, quoted where a shell needs it."""
    assert again("quick", Path("runs")) == "halfway run quick"
    assert again("quick", Path("/data/my runs"), ["seed=1", "strategy=rr"], "--retry-failed") == (
        "halfway run quick --runs-dir '/data/my runs' --only seed=1 --only strategy=rr --retry-failed"
    )
