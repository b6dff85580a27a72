"""The simulator fitted to a course: what the search simulates is what the driver simulates, and the search finds what is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import simulated_courses
from benchmarks.course import fit
from benchmarks.course.course import course_of_runs
from benchmarks.simulated_runs import Arm, simulate
from benchmarks.skill_search import Candidate
from harness.numerics.latent_skills import SkillSettings
from harness.spec import AlgorithmSpec
from tests.benchmarks.made_course import made_runs

POINT = Candidate(SkillSettings(24, 3, 0.6, 2.0, 0.2), 0.03, 0.02, 1e-4)
ALGORITHM = AlgorithmSpec(groups_per_step=4, group_size=8, max_steps=80, updates_per_batch=2, learning_rate=POINT.learning_rate)
SCHEDULE = fit.Schedule(128, ALGORITHM, 8, 0.75)


def test_side_by_side_is_what_the_driver_simulates() -> None:
    """Mean pass rate and shares of degenerate groups by fifths, eight seeds each: equal but for the draws, selection by the oracle, too."""
    for oracle, name in ((False, "grpo"), (True, "oracle")):
        rates, accuracies = fit._train(POINT, SCHEDULE, range(1, 9), oracle=oracle)
        changed = {k: getattr(ALGORITHM, k) for k in ("groups_per_step", "group_size", "max_steps", "updates_per_batch", "learning_rate")}
        runs = [simulate(Arm(name, {}, changed, fit.task_of(POINT, 128)), seed, 8) for seed in range(1, 9)]
        driven = np.array([[s.pass_rates for s in run.steps] for run in runs]).transpose(1, 0, 2)
        assert driven.shape == rates.shares.shape == (80, 8, 4)
        for ours, theirs in zip(np.array_split(rates.shares, 5), np.array_split(driven, 5), strict=True):
            assert ours.mean() == pytest.approx(theirs.mean(), abs=0.05)
            assert (ours == 0).mean() == pytest.approx((theirs == 0).mean(), abs=0.08)
        assert accuracies[-1].mean() == pytest.approx(np.mean([run.points[-1].accuracy for run in runs]), abs=0.04)
        if not oracle:  # the order of an epoch is the seed's
            assert rates.ids[:, 0].tolist() == [s.question_ids for s in runs[0].steps]


def test_the_search_comes_nearer_to_what_it_looks_for() -> None:
    """Observables of a known point: the best of a short search is nearer to them than the best of its first points."""
    wanted = fit.simulated(POINT, SCHEDULE, fit.JUDGED)
    assert fit.error(wanted, wanted) == 0
    first, found = (fit.fitted(wanted, SCHEDULE, broad=6, narrow=narrow) for narrow in (0, 40))
    errors = [fit.error(fit.simulated(p, SCHEDULE, fit.SEARCHED), wanted) for p in (first, found)]
    assert errors[1] < errors[0] / 2


def test_when_a_target_is_reached() -> None:
    """By hand: between two evaluations, at the first one, never."""
    accuracies = np.array([[0.2, 0.5, 0.2], [0.4, 0.6, 0.3], [0.6, 0.7, 0.35]])
    assert fit._reached(accuracies, 0.5) == pytest.approx([1.5, 1.0, 2.0])


def test_arms_of_a_course_beside_their_simulation(tmp_path: Path) -> None:
    """Every arm with a ratio is simulated with its own settings; the oracle, to which the simulator was fitted, is not ranked."""
    made_runs(tmp_path)
    course = course_of_runs(str(tmp_path / "made.toml"), tmp_path / "runs")
    likeness, ratios = simulated_courses.rows_of(course, course.analysis.combinations[0], range(1, 4), broad=3, narrow=3)
    assert {row["observable"] for row in likeness} >= {"mean_0", "all_wrong_4", "all_right_2"}
    assert [row["strategy"] for row in ratios] == ["dots", "dots-rr", "history", "oracle", "rr"]
    assert {row["strategy"]: row["measured_at_least"] for row in ratios}["history"] == pytest.approx(2)
    assert [row["fitted"] for row in ratios] == [False, False, False, True, False]
    table = simulated_courses.markdown(likeness, ratios)
    assert "| `rr` | " in table
    assert "| mean over the combinations | " in table
    assert "n = 4 arms" in table
    assert table.splitlines()[-1].endswith("| – |")  # two of them have no predictor: too few to rank
