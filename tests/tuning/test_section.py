"""The tuning section of a report: drawn from the lock file, complete, and inert whatever stands in it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.tuning.freeze import freeze
from harness.tuning.importance import importances
from harness.tuning.lock_file import TuningLock
from harness.tuning.sampler import Trial
from harness.tuning.space import Parameter
from harness.tuning.tuner import Tuner
from reports.analysis import analyse
from reports.condensed import condense
from reports.page.build import write_report
from reports.page.parts import Drawer
from reports.page.tuning import tuning_section
from tests.reports.ledgers import mini_suite, read
from tests.reports.pages import build_report
from tests.tuning.made_up import made_up_suite, write_runs


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> TuningLock:
    folder = tmp_path_factory.mktemp("section")
    suite = made_up_suite(folder)
    state = Tuner(suite, suite.arms, folder, 9).run(lambda runs, _: write_runs(runs, folder))
    frozen = freeze(suite, state, folder, None)
    frozen.write(folder / "lock.toml")
    read_again = TuningLock.read(folder / "lock.toml")
    assert read_again == frozen  # every number survives the file
    return read_again


@pytest.mark.slow
def test_the_section_shows_every_study(lock: TuningLock) -> None:
    """A row per arm and combination; importance per combination, trials per arm over each of its settings; targets and seeds."""
    section = tuning_section(lock, ["grpo", "rr"], Drawer("tuning"))
    table = section.tables[0]
    assert [(row[0].text, row[1].text) for row in table.rows] == [(c, s) for c in ("first", "second") for s in ("grpo", "rr")]
    for row, study in zip(table.rows, lock.studies, strict=True):
        assert row[3].sort == study.trials[0].value > row[4].sort == study.winner.value  # type: ignore[operator]
        assert row[2].text == f"9 ({sum(t.state == 'pruned' for t in study.trials)})"
        assert "learning_rate = " in row[7].text
    assert [p.name for p in section.pictures] == [
        f"tuning-{kind}" for c in ("first", "second") for kind in (f"importance-{c}", f"trials-{c}-grpo", f"trials-{c}-rr")
    ]
    words = " ".join(section.notes)
    assert "tuning seeds 11, 12" in words
    assert f"first: target {100 * lock.targets[0].accuracy:.1f} %" in words
    for picture in section.pictures:
        assert "<title" in picture.svg
        assert "nan" not in picture.svg.lower()


def test_the_search_pays_back_after_so_many_runs(lock: TuningLock) -> None:
    """Rule 1: tuning is a one-off cost, shown with the number of runs after which it is earned back."""
    study = lock.studies[0]
    worth = study.model_copy(update={"cost": 4.5})  # budgets; a run saves own − tuned of them
    saved = study.own.value - study.winner.value
    section = tuning_section(lock.model_copy(update={"studies": (worth,)}), ["grpo"], Drawer("t"))
    assert section.tables[0].rows[0][9].sort == -(-4.5 // saved)
    useless = study.model_copy(update={"best": 0})
    section = tuning_section(lock.model_copy(update={"studies": (useless,)}), ["grpo"], Drawer("t"))
    assert section.tables[0].rows[0][9].text == "never: nothing better found"
    assert section.tables[0].rows[0][7].text == "the suite's own"


@pytest.mark.slow
def test_the_page_has_the_section_where_runs_were_tuned(lock: TuningLock, tmp_path: Path) -> None:
    """With a lock the page says how its settings were found, and shows its trials; without one nothing is said."""
    runs = [condense(log) for log in read(mini_suite(tmp_path / "runs"))]
    analysis = analyse(runs, baseline="grpo", target={"share_of_gain": 0.9})
    text = write_report(analysis, tmp_path / "a", title="T", lock=lock).read_text(encoding="utf-8")
    sections = re.findall(r'<section id="([a-z0-9-]+)"', text)
    assert sections.index("tuning") == sections.index("c1") + 1  # right after the last combination
    assert '<a href="#tuning">Tuning</a>' in text
    assert 'aria-labelledby="tuning-trials-first-rr-title' in text
    plain = build_report(runs, tmp_path / "c", title="T", baseline="grpo", target={"share_of_gain": 0.9}).read_text(encoding="utf-8")
    assert "tuning" not in re.findall(r'<section id="([a-z0-9-]+)"', plain)


@pytest.mark.slow
def test_markup_in_a_setting_is_inert(lock: TuningLock, tmp_path: Path) -> None:
    """A plugin may offer any text as a choice; it reaches the page as text."""
    study = lock.studies[1]
    evil = "<script>alert(1)</script>"
    trials = tuple(t.model_copy(update={"settings": {**t.settings, "capacity": evil}}) for t in study.trials)
    parameters = tuple(p.model_copy(update={"range": {"choices": [evil, 64]}}) if p.name == "capacity" else p for p in study.parameters)
    bad = lock.model_copy(update={"studies": (study.model_copy(update={"trials": trials, "parameters": parameters}),)})
    runs = [condense(log) for log in read(mini_suite(tmp_path / "runs"))]
    analysis = analyse(runs, baseline="grpo", target={"share_of_gain": 0.9})
    text = write_report(analysis, tmp_path / "out", title="T", lock=bad).read_text(encoding="utf-8")
    assert evil not in text
    assert "&lt;script&gt;alert(1)" in text


def trial(number: int, value: float, state: str = "complete", **point: object) -> Trial:
    return Trial(number, dict(point), state, value, 10, 2, ())  # type: ignore[arg-type]


def test_importance_by_hand() -> None:
    """A setting that decides the order alone explains all of it, one that is constant or mere chance nothing; few trials: no answer."""
    space = (
        Parameter("rate", "algorithm", 1e-3, None, 1e-4, 1e-2, log=True),
        Parameter("half", "strategy", "a", ("a", "b")),
        Parameter("idle", "strategy", 1.0, None, 0.0, 2.0),
    )
    trials = [trial(k, 1.0 + k, rate=10 ** (-4 + 0.25 * k), half="ab"[k % 2], idle=1.0) for k in range(8)]
    found = importances(space, trials)
    assert found["rate"] == pytest.approx(1.0)
    assert found["idle"] == 0.0
    # Ranks 0, 2, 4, 6 against 1, 3, 5, 7: R² = 4·(0.5² + 0.5²) / 42; adjusted 1 − (40/6) / (42/7) = −0.11, cut at 0.
    assert found["half"] == 0.0
    split = [trial(k, float(k), half="a" if k < 4 else "b", rate=1e-3, idle=1.0) for k in range(8)]
    # Within each half the ranks vary by 5 (of 42 in all): 1 − (10/6) / (42/7).
    assert importances(space, split)["half"] == pytest.approx(1 - (10 / 6) / 6)
    assert importances(space, trials[:6])["rate"] is None


def test_pruned_trials_rank_last() -> None:
    """Their values are bounds on another scale, so a pruned trial stands behind every complete one."""
    space = (Parameter("half", "strategy", "a", ("a", "b")),)
    trials = [trial(k, 5.0 + k, half="a") for k in range(4)] + [trial(k, 0.1, "pruned", half="b") for k in range(4, 8)]
    assert importances(space, trials)["half"] == pytest.approx(1 - (10 / 6) / 6)
