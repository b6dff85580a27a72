"""build_report: a pure function of the ledgers, whole files or none, nothing hidden."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from harness.errors import UserError
from reports.figures.style import add_legend, new_figure, styled
from tests.reports.ledgers import ENVIRONMENT, mini_suite, read, write_run
from tests.reports.pages import build_report

TARGET = {"share_of_gain": 0.9, "crossing": "sustained"}


def text_of(html: str) -> str:
    """The page's text without markup."""
    import html as entities

    plain = re.sub(r"<(style|script|svg).*?</\1>", " ", html, flags=re.DOTALL)
    return re.sub(r"\s+", " ", entities.unescape(re.sub(r"<[^>]+>", " ", plain)).replace("\u00a0", " "))


def small(folder: Path) -> list[Path]:
    """Two arms, two seeds."""
    return [write_run(folder, label, s, steps=16) for label in ("grpo", "rr") for s in (1, 2)]


@pytest.mark.slow
def test_same_ledgers_same_bytes(tmp_path: Path) -> None:
    """In another order, in another folder, built twice: byte for byte the same files, figures included."""
    logs = read(small(tmp_path / "runs"))
    build_report(logs, tmp_path / "a", title="T", baseline="grpo", target=TARGET, figures=True)
    build_report(reversed(logs), tmp_path / "b", title="T", baseline="grpo", target=TARGET, figures=True)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert {p.suffix for p in files} == {".html", ".csv", ".tex", ".svg", ".png", ".pdf", ".parquet"}
    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


@pytest.mark.slow
def test_page_says_first_what_it_shows(tmp_path: Path) -> None:
    """The verdict comes before everything else, with interval and n; every section is there, in order."""
    index = build_report(read(mini_suite(tmp_path)), tmp_path / "out", title="T", baseline="grpo", target=TARGET)
    html = index.read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([a-z0-9-]+)"', html)
    assert sections == ["regime", "verdict", "c1", "off-clock", "trouble", "settings", "environment", "data"]
    text = text_of(html)
    assert "dots-rr against grpo on spell-backward: undecided in training time to reach 47.2 % accuracy; speed-up 1.45×" in text
    assert "n = 3 paired seeds" in text
    assert "undecided (n = 3, 5 needed)" in text
    assert text.index("undecided (n = 3, 5 needed)") < text.index("Time to target")


@pytest.mark.slow
def test_nothing_that_went_wrong_is_hidden(tmp_path: Path) -> None:
    """Failed, unfinished, missing, warned, uncharged, lost: each is named."""
    paths = mini_suite(tmp_path)
    expected = [("spell-backward", "grpo", s) for s in (1, 2, 3, 4)]
    index = build_report(read(paths), tmp_path / "out", title="T", baseline="grpo", target=TARGET, expected=expected)
    text = text_of(index.read_text(encoding="utf-8"))
    for words in (
        "the loss is NaN at step 12",
        "spell-backward / rr / seed 2 : stopped or still running after step 24",
        "spell-backward / grpo / seed 4 : never started: there is no record of this run",
        "the importance ratio reached 6.3",
        "upper bound, labels not charged",
        "2 of 3 (1 failed)",
        "12.6 s",  # 28 steps of .45 s were done twice
        "predictor training 41.0 s",
        "never: no speed-up shown",  # 44.5 s of one-off costs and three pairs, which are too few for a verdict
    ):
        assert words in text, words


def test_only_baseline_runs_so_far(tmp_path: Path) -> None:
    """A suite that has just begun has a page too."""
    paths = [write_run(tmp_path, "grpo", 1, steps=4, state="unfinished")]
    text = text_of(build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target=TARGET).read_text(encoding="utf-8"))
    assert "nothing to compare yet" in text
    assert "provisional" in text


def test_a_run_that_has_recorded_nothing_yet(tmp_path: Path) -> None:
    """A ledger with its first lines only, for the baseline and for a strategy."""
    paths = [write_run(tmp_path, label, 1, steps=-1, state="unfinished") for label in ("grpo", "dots")]
    text = text_of(build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target=TARGET).read_text(encoding="utf-8"))
    assert "no baseline run has an evaluation yet" in text
    assert "dots" in text


@pytest.mark.slow
def test_seconds_across_machines_are_refused_in_words(tmp_path: Path) -> None:
    """Tokens stay, and the page says why."""
    paths = [write_run(tmp_path, "grpo", s) for s in range(5)]
    other = {**ENVIRONMENT, "fingerprint": "other"}
    paths += [write_run(tmp_path, "rr", s, environment=other, replayed=4) for s in range(5)]
    text = text_of(build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target=TARGET).read_text(encoding="utf-8"))
    assert "Seconds are not compared" in text
    assert "rr needed 50 % less generated tokens than grpo" in text
    assert "refused" in text


@pytest.mark.slow
def test_a_busy_machine_is_noticed(tmp_path: Path) -> None:
    """One run got less than half a core (38 % processor time): its seconds measure the neighbours, and the page says so."""
    paths = [write_run(tmp_path, "grpo", s) for s in (1, 2, 3)]
    quiet = text_of(build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target=TARGET).read_text(encoding="utf-8"))
    assert "The machine was busy" not in quiet
    paths.append(write_run(tmp_path, "rr", 1, busy=0.4))
    text = text_of(build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target=TARGET).read_text(encoding="utf-8"))
    assert "only 38 % to 95 % was processor time" in text


@pytest.mark.slow
def test_a_plateau_is_flagged(tmp_path: Path) -> None:
    """A target on the flat part of the baseline's curve: one deviation moves the crossing out of the budget. Below, it is steep."""
    flat = [0.1, 0.4, 0.40, 0.41, 0.40, 0.41, 0.40]
    paths = [write_run(tmp_path, "grpo", s, steps=24, accuracies=[a + 0.02 * s for a in flat]) for s in (1, 2, 3)]
    paths += [write_run(tmp_path, "rr", s, steps=24, accuracies=flat) for s in (1, 2, 3)]
    text = text_of(build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target={"final": True}).read_text("utf-8"))
    assert "Plateau warning" in text
    assert text.count("of the gain it is steep enough (share_of_gain = ") == 2, "on top of the page and at the target"


@pytest.mark.slow
def test_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up while the page is written leaves the old page and no scraps, and says so."""
    logs = read(small(tmp_path / "runs"))
    out = tmp_path / "out"
    index = build_report(logs, out, title="Old", baseline="grpo", target=TARGET)
    before = index.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("harness.files.os.fsync", full)
    with pytest.raises(UserError, match="No space left on device"):
        build_report(logs, out, title="New", baseline="grpo", target=TARGET)
    assert index.read_bytes() == before
    assert sorted(p.name for p in out.iterdir()) == [
        "curves.csv",
        "index.html",
        "prices.tex",
        "results.csv",
        "results.tex",
        "steps.parquet",
    ]


def test_a_file_in_the_way_is_a_user_error(tmp_path: Path) -> None:
    """``-o`` names a file: one sentence, no traceback."""
    (tmp_path / "out").write_text("")
    with pytest.raises(UserError, match="cannot write the report"):
        build_report(read(small(tmp_path / "runs")), tmp_path / "out", title="T", baseline="grpo", target=TARGET)


@pytest.mark.slow
def test_odd_characters_do_not_break_anything(tmp_path: Path) -> None:
    """Dollar signs (no formula), other scripts, control characters and lone surrogates in labels."""
    labels = ["grpo", "$x_1$", "策略", "a\x00b\x1b[31m", "half\ud800"]
    logs = read([write_run(tmp_path, "grpo", s, steps=8) for s in range(len(labels))])
    for log, label in zip(logs, labels, strict=True):
        log.spec["strategy"]["label"] = label
        log.spec["seed"] = 1
    index = build_report(logs, tmp_path / "o", title="$a^2$", baseline="grpo", target=TARGET, figures=True)
    html = index.read_bytes().decode("utf-8")
    assert "策略" in html
    assert "$x_1$" in html
    assert r"\$x\_1\$" in (tmp_path / "o" / "results.tex").read_text(encoding="utf-8")


def test_steps_are_a_table(tmp_path: Path) -> None:
    """steps.parquet: every step of every run, with seconds per phase that add up to the step's."""
    import pandas as pd

    build_report(read(small(tmp_path)), tmp_path / "o", title="T", baseline="grpo", target=TARGET)
    table = pd.read_parquet(tmp_path / "o" / "steps.parquet")
    assert len(table) == 4 * 16
    assert table.groupby(["strategy", "seed"], observed=True).step.max().eq(16).all()
    assert table.filter(like="seconds_").sum(axis=1).sub(table.seconds).abs().max() < 1e-9


def test_page_asks_for_nothing(tmp_path: Path) -> None:
    """Self-contained: no address but XML namespaces, and a policy that forbids everything else."""
    html = build_report(read(small(tmp_path)), tmp_path / "o", title="T", baseline="grpo", target=TARGET).read_text("utf-8")
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) <= {
        "http://www.w3.org/1999/xlink",
        "http://www.w3.org/2000/svg",
    }
    assert "default-src 'none'" in html
    assert str(tmp_path) not in html


@pytest.mark.slow
def test_reports_leave_torch_alone() -> None:
    """A report needs no training library: importing it loads neither torch nor pyplot."""
    import subprocess
    import sys

    code = (
        "import sys, reports.page.build; print(sorted({'torch', 'transformers', 'trl', 'matplotlib.pyplot', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.slow
def test_many_strategies_are_not_a_wall_of_cards(tmp_path: Path) -> None:
    """Eleven strategies: one sentence counts them, who is faster or slower has a card, the others are sentences."""
    paths = [write_run(tmp_path, "grpo", s, steps=24) for s in range(5)]
    paths += [write_run(tmp_path, f"same-{i}", s, steps=24) for i in range(9) for s in range(5)]
    paths += [write_run(tmp_path, label, s, steps=24, pace=p) for label, p in (("quick", 0.25), ("slow", 1.0)) for s in range(5)]
    html = build_report(read(paths), tmp_path / "out", title="T", baseline="grpo", target=TARGET).read_text(encoding="utf-8")
    text = text_of(html)
    assert "Of 11 strategies 1 is faster (quick), 1 is slower (slow), 9 show no difference." in text
    assert html.count('class="card ') == 2
    assert "The other 9 as sentences" in text
    assert "same-3 against grpo on spell-backward: no difference shown in training time" in text
    assert "medians over seeds, whose own lines and bands are left out" in text


@pytest.mark.parametrize("strategies", [3, 8, 12, 32])
def test_the_legend_of_an_exported_figure_is_whole(strategies: int) -> None:
    """However many strategies: every name is inside the figure, and beside the axes where there are many."""
    with styled():
        figure, axes = new_figure(4.6, 3.0)
        for i in range(strategies):
            axes.plot([0, 1], [0, i], label=f"a-long-strategy-{i}")
        add_legend(axes)
        renderer = FigureCanvasAgg(figure).get_renderer()
        (legend,) = [*figure.legends, *filter(None, [axes.get_legend()])]
        assert len(legend.get_texts()) == strategies
        box = legend.get_window_extent(renderer)
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= figure.bbox.x1
        assert box.y1 <= figure.bbox.y1
        assert bool(box.x0 >= axes.get_window_extent(renderer).x1) == (strategies > 8)


def test_seeds_that_were_never_started_are_named_together(tmp_path: Path) -> None:
    """One line for all missing seeds of a strategy."""
    paths = [write_run(tmp_path, "grpo", 1, steps=24)]
    expected = [("spell-backward", label, s) for label in ("grpo", "rr") for s in (1, 2, 3)]
    page = build_report(read(paths), tmp_path / "out", title="T", baseline="grpo", target=TARGET, expected=expected)
    text = text_of(page.read_text(encoding="utf-8"))
    assert "spell-backward / grpo / seeds 2, 3 : never started: there is no record of these runs" in text
    assert "spell-backward / rr / seeds 1, 2, 3 :" in text


@pytest.mark.slow
def test_the_cost_model_is_published_and_compared(tmp_path: Path) -> None:
    """Its coefficients stand over the table, and its speed-up has an interval: the same tokens, so exactly 1."""
    paths = [write_run(tmp_path, label, s, steps=24) for label in ("grpo", "rr") for s in (1, 2, 3)]
    page = build_report(read(paths), tmp_path / "out", title="T", baseline="grpo", target=TARGET)
    text = text_of(page.read_text(encoding="utf-8"))
    assert "2 · tokens generated + 2 · forward-only tokens + 6 · tokens trained on" in text
    with open(tmp_path / "out" / "results.csv", encoding="utf-8", newline="") as file:
        row = list(csv.DictReader(file))[1]
    assert (row["strategy"], row["speedup_token_cost"], row["low_token_cost"], row["high_token_cost"]) == ("rr", "1", "1", "1")
