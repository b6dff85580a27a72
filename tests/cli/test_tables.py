"""Tables in a terminal: they fit its width, and no word is broken."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner

from harness.cli.hints import Given
from harness.cli.main import app
from harness.cli.tables import table_lines, without_columns

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
    assert Given("quick", Path("runs")).command() == "halfway run quick"
    assert Given("quick", Path("/data/my runs"), ["seed=1", "strategy=rr"]).command("run", "--retry-failed") == (
        "halfway run quick --runs-dir '/data/my runs' --only seed=1 --only strategy=rr --retry-failed"
    )
    every = Given("quick", plugin=["my:Idea"], backend="verl", untuned=True, data_dir=Path("d"), executor="ray", max_parallel=3)
    assert every.command() == ("halfway run quick --plugin my:Idea --backend verl --untuned --data-dir d --executor ray --max-parallel 3")
    assert every.command("report") == "halfway report quick --plugin my:Idea --backend verl --untuned"
    assert "--untuned" not in every.command("tune")


def test_every_option_of_a_hint_is_one_of_its_command() -> None:
    """What is repeated must be understood: each command knows every option that a hint may give it."""
    every = Given("quick", Path("x"), ["seed=1"], ["my:Idea"], "verl", True, Path("d"), "ray", 3)
    for name in ("run", "tune", "report"):
        shown = CliRunner().invoke(app, [name, "--help"]).stdout
        assert all(word in shown for word in every.command(name).split() if word.startswith("--")), name


def test_report_without_results_says_what_to_start(tmp_path: Path) -> None:
    """With the folder and the filter that were given."""
    done = CliRunner().invoke(app, ["report", "simulated", "--runs-dir", str(tmp_path), "--only", "seed=1"])
    assert f"start 'halfway run simulated --runs-dir {tmp_path} --only seed=1' first" in str(done.exception)


def test_columns_go_by_priority_before_rows_become_paragraphs() -> None:
    """Longest words strategy/dots-rr-lean 12, runs 4, verdict/difference 10: 30 with gaps; without "runs" 24; below that nothing helps."""
    assert without_columns(HEADS, ROWS, 30, ["runs"]) == (HEADS, ROWS, [])
    heads, cells, dropped = without_columns(HEADS, ROWS, 24, ["runs"])
    assert (heads, dropped) == (["strategy", "verdict"], ["runs"])
    assert cells[0] == [ROWS[0][0], ROWS[0][2]]
    assert without_columns(HEADS, ROWS, 23, ["runs"]) == (HEADS, ROWS, [])
    assert without_columns(HEADS, ROWS, None, ["runs"]) == (HEADS, ROWS, [])
