"""What is searched: the shared space is the same for every arm, holds the suite's own settings, and mistakes get a message."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.suite.reader import load_suite
from harness.suite.suite import Suite, SuiteError, shipped_suites
from harness.tuning.freeze import by_part
from harness.tuning.sampler import STARTUP_TRIALS, propose
from harness.tuning.space import Parameter, at, spaces, with_settings
from harness.tuning.tuner import all_studies, check_disjoint_seeds
from tests.edits import edited
from tests.tuning.made_up import SUITE, made_up_suite


def described(suite: Suite, combination: str = "first") -> dict[str, dict[str, Any]]:
    return {s.arm.strategy.label: {p.name: p.described for p in s.space} for s in all_studies(suite, combination)}


def test_the_default_space(tmp_path: Path) -> None:
    """Learning rate within a factor of 4 of the baseline's, 1 to 8 updates where they divide the batch; then the strategy's own ranges."""
    found = described(made_up_suite(tmp_path))
    shared = {"learning_rate": {"low": 2.5e-4, "high": 4e-3, "log": True}, "updates_per_batch": {"choices": [1, 2, 4, 8]}}
    assert found["grpo"] == shared
    # The suite's capacity 32 is none of the declared choices: the range is widened to hold it.
    assert found["rr"] == {**shared, "capacity": {"choices": [64, 128, 256, 512, 32]}, "fresh_fraction": {"low": 0.25, "high": 0.9}}
    odd = edited(SUITE, {"groups_per_step = 6": "groups_per_step = 3"})
    assert described(made_up_suite(tmp_path, odd))["grpo"]["updates_per_batch"] == {"choices": [1, 2, 4]}  # of 12 rollouts


def test_the_shared_space_holds_every_arm(tmp_path: Path) -> None:
    """An arm far from the baseline widens the shared range for all of them alike."""
    text = edited(SUITE, {"groups_per_step = 8": "groups_per_step = 12"}) + "algorithm = { learning_rate = 2e-2, updates_per_batch = 3 }\n"
    found = described(made_up_suite(tmp_path, text))
    for arm in ("grpo", "rr"):
        assert found[arm]["learning_rate"] == {"low": 2.5e-4, "high": 2e-2, "log": True}
        assert found[arm]["updates_per_batch"] == {"choices": [1, 2, 4, 8, 3]}


def test_a_suite_declares_its_space(tmp_path: Path) -> None:
    """What [tuning.space] says replaces the default; whole numbers stay whole."""
    space = "space = { warmup_steps = { low = 0, high = 6 }, clip_epsilon = { low = 0.1, high = 0.3 } }"
    suite = made_up_suite(tmp_path, edited(SUITE, {"seeds = [11, 12]": f"seeds = [11, 12]\n{space}"}))
    assert described(suite)["grpo"] == {"warmup_steps": {"low": 0, "high": 6}, "clip_epsilon": {"low": 0.1, "high": 0.3}}
    study = all_studies(suite, "first")[0]
    points = [propose(study.fingerprint, study.space, [])] + [study.space[0].at(u) for u in (0.0, 0.3, 0.999)]
    assert points == [{"warmup_steps": 0, "clip_epsilon": 0.2}, 0, 2, 6]


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ("learning_rat = { factor = 4 }", "did you mean 'learning_rate'"),
        ("group_size = { choices = [4, 8] }", "not a setting of the algorithm that can be tuned"),
        ("updates_per_batch = { choices = [5] }", "updates_per_batch = 5 does not divide a batch of 24 rollouts"),
        ("learning_rate = { low = -1, high = 1 }", "learning_rate"),
        ("clip_epsilon_high = { low = 0.2, high = 0.3 }", "the suite's own value is none, not a number"),
        ("weight_decay = { factor = 2 }", "a factor needs a value above 0"),
        ("weight_decay = { low = 0.01, high = 1, log = true }", "cannot be searched on a logarithmic scale"),
    ],
)
def test_ranges_that_make_no_sense(tmp_path: Path, space: str, words: str) -> None:
    """Each is one sentence that names the setting."""
    suite = made_up_suite(tmp_path, edited(SUITE, {"seeds = [11, 12]": f"seeds = [11, 12]\nspace = {{ {space} }}"}))
    with pytest.raises(UserError, match=words):
        all_studies(suite, "first")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("space = { learning_rate = { low = 1.0 } }", r"line 17: tuning.space.learning_rate must be given as"),
        (
            "space = { learning_rate = { low = 2.0, high = 1.0 } }",
            r"line 17: tuning.space.learning_rate has low = 2, which is not below high = 1",
        ),
        ("trails = 3", r"line 17: unknown key 'trails' in \[tuning\]; did you mean 'trials'"),
        ('cost = "tokens"', r"line 17: tuning.cost must be"),
        ("trials = 0", r"line 17: tuning.trials must be greater than or equal to 1"),
        ("seeds = [4, 5, 4]", r"line 17: tuning.seeds has seed 4 twice"),
        ("seeds = [-4]", r"line 17: tuning.seeds has seed -4"),
    ],
)
def test_the_table_is_read_strictly(tmp_path: Path, line: str, words: str) -> None:
    """File, line and key, as for the rest of a suite."""
    before, _, after = SUITE.partition("trials = 8\nseeds = [11, 12]\n")
    with pytest.raises(SuiteError, match=words):
        made_up_suite(tmp_path, f"{before}\n{line}\n{after}")


def test_a_strategy_with_a_wrong_range_is_named(tmp_path: Path) -> None:
    """The mistake of a plugin's author is reported with strategy and setting."""
    text = SUITE + '\n[[strategies]]\nname = "plugin"\nplugin = "broken_range:PLUGIN"\n'
    with pytest.raises(UserError, match="strategy 'plugin', setting 'depth': its tune range has low = 9, which is not below high = 1"):
        all_studies(made_up_suite(tmp_path, text), "first")


def test_first_trials_spread_over_the_space() -> None:
    """The first point is the suite's own; the next four lie in four different quarters of every range."""
    space = (
        Parameter("learning_rate", "algorithm", 1e-3, None, 1e-4, 1e-2, log=True),
        Parameter("x", "strategy", "a", ("a", "b", "c", "d")),
    )
    history: list[Any] = []
    points = []
    for _ in range(STARTUP_TRIALS):
        points.append(propose("study", space, history))
        history.append(None)
    assert points[0] == {"learning_rate": 1e-3, "x": "a"}
    assert {p["x"] for p in points[1:]} == {"a", "b", "c", "d"}
    quarters = [1e-4, 10**-3.5, 1e-3, 10**-2.5, 1e-2]
    assert sorted(sum(p["learning_rate"] > q for q in quarters) for p in points[1:]) == [1, 2, 3, 4]


def test_spaces_need_no_strategy_ranges(tmp_path: Path) -> None:
    """A strategy without ranges has the shared space alone, and an empty space has one point."""
    suite = made_up_suite(tmp_path)
    arms = [arm for arm in suite.arms if arm.combination.name == "first"]
    assert spaces(arms[:1], arms[0], {}, {}) == [()]
    assert propose("study", (), []) == {}


def test_another_batch_trains_on_as_many_groups(tmp_path: Path) -> None:
    """By hand: 6 groups in 20 steps, evaluated every 2; with 3 groups 40 steps, every 4; with 12 groups 10 steps, every step."""
    space = "space = { groups_per_step = { choices = [3, 6, 12] } }"
    suite = made_up_suite(tmp_path, edited(SUITE, {"seeds = [11, 12]": f"seeds = [11, 12]\n{space}"}))
    study = all_studies(suite, "first")[0]
    found = {}
    for groups in (3, 6, 12):
        spec = study.spec(at(study.arm, study.space, {"groups_per_step": groups}), 11)
        found[groups] = (spec.algorithm.max_steps, spec.evaluation.every_steps)
    assert found == {3: (40, 4), 6: (20, 2), 12: (10, 1)}
    again = with_settings(with_settings(study.arm, {"groups_per_step": 3}, {}), {"groups_per_step": 12}, {})
    assert (again.algorithm.max_steps, again.evaluation.every_steps) == (10, 1)


def test_a_choice_that_is_a_table_is_refused(tmp_path: Path) -> None:
    """With file, line and what a choice can be; ``{ none = true }`` is the one table that means something."""
    odd = edited(SUITE, {"seeds = [11, 12]": "seeds = [11, 12]\nspace = { updates_per_batch = { choices = [{ none = false }] } }"})
    with pytest.raises(UserError, match=r"line \d+: .*has the choice \{'none': False\}; a choice is a number"):
        made_up_suite(tmp_path, odd)


def test_a_suite_sets_the_ranges_of_strategies(tmp_path: Path) -> None:
    """What [tuning.strategy_space] says replaces a declared range and adds others; a name that nobody has is refused."""
    ranges = "strategy_space = { capacity = { choices = [8, 16] }, weight_cap = { choices = [2.0] } }"
    suite = made_up_suite(tmp_path, edited(SUITE, {"seeds = [11, 12]": f"seeds = [11, 12]\n{ranges}"}))
    found = described(suite)["rr"]
    assert found["capacity"] == {"choices": [8, 16, 32]}
    assert found["weight_cap"] == {"choices": [2.0, None]}
    said = ranges.replace("[2.0]", "[{ none = true }, 4.0]")
    suite = made_up_suite(tmp_path, edited(SUITE, {"seeds = [11, 12]": f"seeds = [11, 12]\n{said}"}))
    assert described(suite)["rr"]["weight_cap"] == {"choices": [None, 4.0]}
    assert found["fresh_fraction"] == {"low": 0.25, "high": 0.9}
    assert "capacity" not in described(suite)["grpo"]
    wrong = edited(SUITE, {"seeds = [11, 12]": "seeds = [11, 12]\nstrategy_space = { capacty = { choices = [8] } }"})
    with pytest.raises(UserError, match=r"tuning.strategy_space.capacty: no strategy .* did you mean 'capacity'"):
        all_studies(made_up_suite(tmp_path, wrong), "first")


@pytest.mark.parametrize("path", shipped_suites(), ids=lambda path: path.stem)
def test_shipped_suites_can_be_tuned(path: Path) -> None:
    """Every range that a shipped strategy declares makes sense, and tuning seeds are never a suite's own."""
    suite = load_suite(path)
    check_disjoint_seeds(suite)
    for combination in suite.combinations:
        for study in all_studies(suite, combination):
            assert {"learning_rate", "updates_per_batch"} <= {p.name for p in study.space}
            assert all(p.contains(p.own) for p in study.space)


def test_a_strategy_may_have_a_learning_rate_of_its_own(tmp_path: Path) -> None:
    """Where algorithm and strategy have a setting of one name, both are searched, each goes where it belongs, and the names differ."""
    suite = made_up_suite(tmp_path, SUITE + '\n[[strategies]]\nname = "sec"\n')
    study = all_studies(suite, "first")[2]
    assert [p.name for p in study.space][:3] == ["learning_rate", "updates_per_batch", "sec.learning_rate"]
    point = {p.name: p.own for p in study.space} | {"learning_rate": 2e-3, "sec.learning_rate": 0.9}
    arm = at(study.arm, study.space, point)
    assert (arm.algorithm.learning_rate, arm.strategy.config["learning_rate"]) == (2e-3, 0.9)
    parts = by_part(study.space, point)
    assert (parts["algorithm"]["learning_rate"], parts["strategy"]["learning_rate"]) == (2e-3, 0.9)
