"""A tuned result from several searches: other sampler seeds, the same first trial, and the median one is used."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import UserError
from harness.suite.suite import Suite
from harness.tuning.apply import tuned
from harness.tuning.freeze import finished, freeze, median_repeat
from harness.tuning.lock_file import TuningLock
from harness.tuning.sampler import Trial
from harness.tuning.study import StudyProgress
from harness.tuning.tuner import Tuner, TuningState, all_studies
from reports.page.parts import Drawer
from reports.page.tuning import tuning_section
from tests.edits import edited
from tests.tuning.made_up import SUITE, made_up_suite, write_runs

THREE = edited(SUITE, {"trials = 8": "trials = 6\nstudies = 3"})


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> tuple[Suite, Path, TuningState]:
    """Three searches of six trials for the two arms of the first combination."""
    folder = tmp_path_factory.mktemp("repeats")
    suite = made_up_suite(folder, THREE)
    arms = [arm for arm in suite.arms if arm.combination.name == "first"]
    return suite, folder, Tuner(suite, arms, folder, 6).run(lambda runs, _: write_runs(runs, folder))


def progress(*values: float) -> StudyProgress:
    """A search that found these objectives."""
    return StudyProgress([Trial(i, {}, "complete", value, 1, 1, ()) for i, value in enumerate(values)])


def test_the_median_search_by_hand(tmp_path: Path) -> None:
    """Best objectives .3, .5, .4: the third; of .3 and .5 the worse one; of one, that one."""
    study = all_studies(made_up_suite(tmp_path, THREE), "first")[0]
    three = [(study, progress(0.9, 0.3)), (study, progress(0.5, 0.8)), (study, progress(0.4))]
    assert median_repeat(three) == 2
    assert median_repeat(three[:2]) == 1
    assert median_repeat(three[:1]) == 0


def test_searches_share_the_first_trial_alone(found: tuple[Suite, Path, TuningState]) -> None:
    """The suite's own settings are run once for all; what the sampler proposes differs from search to search."""
    _, _, state = found
    assert [study.name for study, _ in state.progress[:3]] == [f"first/grpo (study {i})" for i in (1, 2, 3)]
    searches = [p.trials for _, p in state.progress[:3]]
    assert len({trials[0].runs for trials in searches}) == 1
    assert len({repr([t.point for t in trials[1:]]) for trials in searches}) == 3
    assert state.complete


def test_one_search_is_as_it_was(tmp_path: Path, found: tuple[Suite, Path, TuningState]) -> None:
    """The first of three proposes what a single one does, and nothing of a study's identity changes at the default."""
    suite, _, state = found
    single = made_up_suite(tmp_path)
    [study, _] = all_studies(single, "first")
    assert study.fingerprint == state.progress[0][0].fingerprint
    assert "studies" not in study.depends_on
    assert all_studies(suite, "first")[0].depends_on["studies"] == "3"


def test_the_lock_holds_every_search_and_uses_the_median(found: tuple[Suite, Path, TuningState]) -> None:
    """The settings that runs get are those of the median search; the cost is that of all; the file comes back as it was."""
    suite, folder, state = found
    lock = freeze(suite, state, folder, None)
    lock.write(folder / "lock.toml")
    assert TuningLock.read(folder / "lock.toml") == lock
    for study in lock.studies:
        assert len(study.repeats) == 3
        assert study.winner.value == sorted(repeat.value for repeat in study.repeats)[1]
        assert study.winner.settings == study.repeats[study.median].settings
    with_lock = tuned(suite, lock, folder / "lock.toml")
    assert with_lock.arms[0].algorithm.learning_rate == lock.studies[0].settings["algorithm"]["learning_rate"]
    runs = {run for _, p in state.progress[:3] for trial in p.trials for run in trial.runs}
    assert len(runs) > 6 * 2 * 2  # more than two searches' worth, each on two seeds, but for what they share


def test_an_arm_without_all_its_searches_is_not_frozen(found: tuple[Suite, Path, TuningState]) -> None:
    """Two of three searches say nothing yet."""
    _, _, state = found
    part = TuningState(state.standards, [*state.progress[:2], (state.progress[2][0], StudyProgress()), *state.progress[3:]], state.trials)
    assert [repeats[0][0].arm.strategy.label for repeats in finished(part)] == ["rr"]


def test_a_lock_of_one_search_is_stale_for_three(tmp_path: Path, found: tuple[Suite, Path, TuningState]) -> None:
    """Asking for more searches asks for another result."""
    suite, folder, state = found
    lock = freeze(suite, state, folder, None)
    old = [s.model_copy(update={"depends_on": {k: v for k, v in s.depends_on.items() if k != "studies"}}) for s in lock.studies]
    with pytest.raises(UserError, match="was tuned before the suite's studies settings"):
        tuned(suite, lock.model_copy(update={"studies": tuple(old)}), tmp_path / "lock.toml")


@pytest.mark.slow
def test_the_report_shows_every_search(found: tuple[Suite, Path, TuningState]) -> None:
    """A row per search, the median marked, and a note that says which one is used."""
    suite, folder, state = found
    section = tuning_section(freeze(suite, state, folder, None), ["grpo", "rr"], Drawer("tuning"))
    assert len(section.tables[1].rows) == 6
    assert sum("the median: used" in row[2].text for row in section.tables[1].rows) == 2
    assert any(note.startswith("Every search was made 3 times") for note in section.notes)
