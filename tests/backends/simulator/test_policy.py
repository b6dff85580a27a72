"""The simulated policy: gradients and corrections worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.simulator.engine import PricedTime, right_answers
from backends.simulator.policy import Policy, Rows, ratio_statistics
from harness.numerics.latent_skills import SkillQuestions, SkillSettings, skill_questions
from harness.spec import AlgorithmSpec
from harness.strategy import Correction
from harness.types import PromptGroup, Rollout

#: Two questions, one skill each, both at even odds for an untrained policy.
TWO = SkillQuestions(np.array([[0], [1]]), np.array([[1.0], [1.0]]), np.array([0.0, 0.0]))


def group(question: int, rewards: list[float], log_behaviour: float = np.log(0.5), source: str = "fresh", version: int = 0) -> PromptGroup:
    token = np.zeros(1, dtype=np.int64)
    rollouts = tuple(Rollout(question, token, token, np.array([log_behaviour]), version, "", r) for r in rewards)
    return PromptGroup(question, rollouts, source=source)  # type: ignore[arg-type]


def policy(theta: list[float] | None = None) -> Policy:
    return Policy(TWO, np.array(theta or [0.0, 0.0]), gradient_noise=0.0, forgetting=0.0)


def test_the_first_step_of_adam_goes_up_the_gradient() -> None:
    """Question 0 is mixed, question 1 all right: only skill 0 moves, by one learning rate."""
    p = policy()
    found, _ = p.train([group(0, [1, 0]), group(1, [1, 1])], AlgorithmSpec(learning_rate=0.1), Correction(), np.random.default_rng(0))
    assert p.theta == pytest.approx([0.1, 0.0], abs=1e-6)
    assert found == {}


def test_coefficients_by_hand() -> None:
    """Without normalisation, advantages are ±½ and the gradient of the two rollouts is Σ A (r − p) w = ½·½ + ½·½ = ½, halved by R = 2."""
    p = policy()
    algorithm = AlgorithmSpec(advantage_normalization="none")
    rows = Rows.of([group(0, [1, 0])], algorithm)
    coefficients = p._coefficients(rows, p.theta, algorithm, Correction())
    assert coefficients.tolist() == [0.5, -0.5]
    pull = coefficients * (rows.outcomes - 0.5)
    assert (TWO.gradient(p.theta, rows.question_ids, pull) / 2).tolist() == [0.25, 0.0]


@pytest.mark.parametrize(
    ("correction", "expected"),
    [
        (Correction(), 2.0),  # ρ = π_old/μ = ½ / ¼
        (Correction(weight_cap=1.5), 1.5),
        (Correction(coefficient=0.25), 0.5),
        (Correction(ratio="old"), 1.0),
    ],
)
def test_replayed_rollouts_are_corrected_as_declared(correction: Correction, expected: float) -> None:
    """A stored right answer whose behaviour policy gave it ¼, under a policy that gives it ½."""
    p, algorithm = policy(), AlgorithmSpec(advantage_normalization="none")
    rows = Rows.of([group(0, [1, 0], np.log(0.25), "replayed")], algorithm)
    assert p._coefficients(rows, p.theta, algorithm, correction)[0] == pytest.approx(0.5 * expected)


def test_the_clip_centred_on_one_stops_what_has_moved_too_far() -> None:
    """ρ = 2 is beyond 1 + ε: a positive advantage has no gradient, a negative one has."""
    p, algorithm = policy(), AlgorithmSpec(advantage_normalization="none")
    rows = Rows.of([group(0, [1, 0], np.log(0.25), "replayed")], algorithm)
    assert p._coefficients(rows, p.theta, algorithm, Correction(clip_center="one")).tolist() == [0.0, -1.0]


def test_fresh_rollouts_need_no_correction() -> None:
    """Their behaviour policy is the old policy; whatever the declared correction, the weight is one."""
    p, algorithm = policy(), AlgorithmSpec(advantage_normalization="none")
    rows = Rows.of([group(0, [1, 0], np.log(0.25))], algorithm)
    assert p._coefficients(rows, p.theta, algorithm, Correction(coefficient=0.1)).tolist() == [0.5, -0.5]


@pytest.mark.parametrize("correction", [Correction(), Correction("one", weight_cap=1.5, coefficient=0.25), Correction(ratio="old")])
def test_fresh_rollouts_of_an_older_policy_are_weighted_alike_in_every_arm(correction: Correction) -> None:
    """ρ = ½ / ¼ = 2, whatever the strategy declares for its replayed rollouts; the ledger gets |log ρ| = log 2."""
    p, algorithm = policy(), AlgorithmSpec(advantage_normalization="none", staleness=1)
    groups = [group(0, [1, 0], np.log(0.25))]
    assert p._coefficients(Rows.of(groups, algorithm), p.theta, algorithm, correction) == pytest.approx([1.0, -1.0])
    ratios, off = p.train(groups, algorithm, correction, np.random.default_rng(0))
    assert ratios == {}
    assert off == pytest.approx([np.log(2), np.log(2)])


def test_ratio_statistics_by_hand() -> None:
    """Ratios 1 and 3: mean 2, effective share 16/(2·10)."""
    found = ratio_statistics(np.array([1.0, 3.0]))
    assert (found["mean"], found["min"], found["max"], found["effective_share"]) == (2.0, 1.0, 3.0, 0.8)
    assert sum(found["classes"]) == 2


@given(st.integers(2, 64), st.integers(1, 4), st.floats(0, 0.9))
def test_questions_are_as_their_settings_say(skills: int, loadings: int, unreachable: float) -> None:
    """Loadings have unit length or are zero; rates are probabilities; the same settings give the same questions."""
    settings = SkillSettings(skills=skills, loadings=loadings, out_of_reach=unreachable)
    questions = skill_questions(settings, "train", 50)
    norms = (questions.loadings**2).sum(axis=1)
    assert np.all(np.isclose(norms, 1) | (norms == 0))
    rates = questions.pass_rates(np.zeros(skills))
    assert np.all((rates > 0) & (rates < 1))
    again = skill_questions(settings, "train", 50)
    assert np.array_equal(questions.difficulties, again.difficulties)
    other = skill_questions(replace(settings, seed=1), "train", 50)
    assert not np.array_equal(questions.difficulties, other.difficulties)


def test_time_is_what_tokens_cost() -> None:
    """μ = 5: 10 generated tokens, 10 trained, 3 forward-only cost 50 + 10 + 1 trained tokens."""
    time = PricedTime(5.0)
    time.pay(generated=10, trained=10, forward=3)
    assert time() == pytest.approx(61e-4)


def test_accuracy_is_sampled_or_greedy() -> None:
    """Greedy counts what is more likely right than wrong."""
    questions = SkillQuestions(np.array([[0], [1]]), np.array([[1.0], [1.0]]), np.array([-3.0, 3.0]))
    greedy = right_answers(questions, np.zeros(2), samples=3, greedy=True, seed=1)
    assert greedy.tolist() == [3, 0]
    many = right_answers(questions, np.zeros(2), samples=4000, greedy=False, seed=1)
    assert many.shape == (2,)
    assert many.mean() / 4000 == pytest.approx(0.5, abs=0.02)
