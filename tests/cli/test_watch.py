"""``halfway watch``: ledgers read as they grow, pictures in the terminal, a page that loads itself again."""

from __future__ import annotations

import signal
import time

import pytest
from toy_place import SUITE, ToyPlace

from harness.cli.terminal_plot import Axes, plot
from harness.cli.watch import watch_suite
from harness.errors import UserError
from harness.records.ledger import LedgerWriter
from harness.records.ledger_records import Attempt, start_of
from harness.records.suite_watch import GrowingLog, SuiteWatch
from harness.suite.reader import load_suite
from harness.suite.suite import plan
from harness.types import Costs, EvalPoint
from tests.edits import edited


def evaluation(step: int, accuracy: float) -> EvalPoint:
    return EvalPoint(step, accuracy, {"test": accuracy}, 10, Costs(training_seconds=float(step), training_steps=step))


def test_a_ledger_is_read_as_it_grows(place: ToyPlace) -> None:
    """Whole lines only; what a resumed attempt takes back goes; a folder that was moved away starts anew."""
    spec = plan(load_suite(place.write()))[0]
    path = place.folder / "ledger.jsonl"
    growing = GrowingLog(path, spec)
    assert not growing.update()
    writer = LedgerWriter(path)
    writer.write(start_of(spec))
    writer.write(Attempt(1, {}, 0))
    for step in (0, 2, 4):
        writer.write(evaluation(step, step / 10))
    writer.close()
    assert growing.update()
    assert growing.log is not None
    assert [e.accuracy for e in growing.log.evaluations] == [0.0, 0.2, 0.4]
    assert not growing.update()
    whole = path.read_bytes()
    with open(path, "ab") as file:
        file.write(b'{"type":"evaluation","step":6,')  # torn
    assert not growing.update()
    path.write_bytes(whole)
    writer = LedgerWriter(path)
    writer.write(Attempt(2, {}, 2))
    writer.close()
    assert growing.update()
    assert [e.step for e in growing.log.evaluations] == [0, 2]
    path.unlink()
    assert growing.update()
    assert growing.log is None


def test_the_target_waits_for_a_finished_baseline(place: ToyPlace) -> None:
    """From a run that is still learning it would move with every evaluation; then it is that of the report."""
    place.write(edited(SUITE, {"seeds = [1]": "seeds = [1, 2]"}))
    suite = load_suite(place.suite)
    watch = SuiteWatch(plan(suite), place.folder / "runs", suite.baseline)
    before = watch.look()
    assert before.targets["bandit"].accuracy is None
    assert "known when a run of grpo is done" in before.targets["bandit"].note
    place.run(only="grpo/1")
    after = watch.look()
    assert after.targets["bandit"].accuracy is not None
    assert after.targets["bandit"].provisional
    assert not after.over


def test_once_before_and_after(place: ToyPlace) -> None:
    """Nothing has started: said, exit 0. Everything is done: curves and the table; plain letters where there is no UTF-8."""
    place.write()
    empty = place.halfway("watch", "toy.toml", "--once")
    assert empty.returncode == 0
    assert "nothing has started yet; 'halfway run toy.toml' starts it" in empty.stdout
    place.run()
    shown = place.halfway("watch", "toy.toml", PYTHONIOENCODING="utf-8", COLUMNS="100")
    assert shown.returncode == 0
    assert "2 runs: 2 complete" in shown.stdout
    assert any("\u2800" < c <= "\u28ff" for c in shown.stdout)
    plain = place.halfway("watch", "toy.toml", "--cost", "tokens", PYTHONIOENCODING="ascii", COLUMNS="100")
    assert plain.returncode == 0, plain.stderr
    assert plain.stdout.isascii()
    assert "generated tokens" in plain.stdout
    assert "ooo" in plain.stdout


def test_the_page_refreshes_until_everything_is_done(place: ToyPlace) -> None:
    """While runs are missing it reloads itself; Ctrl-C ends the watching, not the page; when all is done it stays as it is."""
    place.write()
    process = place.start("watch", "toy.toml", "--html", "live.html", "--every", "0.2")
    page = place.folder / "live.html"
    deadline = time.monotonic() + 120
    while not page.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    text = page.read_text(encoding="utf-8")
    assert 'http-equiv="refresh" content="5"' in text
    assert "Nothing to draw yet" in text
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "no longer watching; the runs go on" in errors
    assert "Traceback" not in errors
    place.run()
    done = place.halfway("watch", "toy.toml", "--html", "live.html")
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert 'http-equiv="refresh"' not in text
    assert "<svg" in text
    assert "8 of 8" in text


def test_bad_input_is_one_sentence(place: ToyPlace) -> None:
    """A cost that is none, and a page in a folder that is not there."""
    suite = load_suite(place.write())
    with pytest.raises(UserError, match="did you mean 'tokens'"):
        watch_suite(suite, plan(suite), place.folder, "tokes", 2.0, None, True)
    with pytest.raises(UserError, match="there is no folder"):
        watch_suite(suite, plan(suite), place.folder, "time", 2.0, place.folder / "no" / "where.html", True)


def test_a_plot_by_hand() -> None:
    """A diagonal from the lower left to the upper right over a line at half height, in letters and in dots; the ends are named."""
    axes = Axes(right=10.0, low=0.0, high=1.0, right_label="10", low_label="0 %", high_label="100 %", across="steps")
    drawn = plot([(1, [(0.0, 0.0), (10.0, 1.0)])], axes, 30, 9, target=0.5, braille=False).plain
    assert drawn.isascii()
    rows = drawn.splitlines()
    assert len(rows) == 9
    assert rows[0].startswith("100 %+")
    assert rows[0].rstrip().endswith("x")
    assert rows[5].startswith("  0 %+x")
    assert rows[2].count("-") > 10
    assert rows[-1].split() == ["steps"]
    assert rows[-2].split() == ["0", "10"]
    dots = plot([(0, [(0.0, 0.5)]), (1, [(0.0, 0.0), (10.0, 1.0)])], axes, 30, 9, target=None, braille=True).plain
    assert any("\u2800" < c <= "\u28ff" for c in dots.splitlines()[0])


def test_watching_loads_no_training_library_and_no_figures(place: ToyPlace) -> None:
    """The terminal view takes little from runs that are being timed: neither torch nor matplotlib is loaded."""
    code = "import sys, harness.cli.watch; print(sorted({'torch', 'matplotlib', 'pandas', 'scipy'} & set(sys.modules)))"
    assert place.python(code).stdout.strip() == "[]"
