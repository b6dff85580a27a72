"""Probes before the rollout, labels once, and a value model."""

from __future__ import annotations

import numpy as np
import pytest

from harness.strategies.value_model import ValueModel
from tests.strategies.made import run_of


def test_speed_continues_where_the_screening_disagrees() -> None:
    """Every trained group began with 2 screening rollouts that differ; all rollouts are on the ledger; surplus waits."""
    run = run_of("speed", {"screening": 2})
    for _ in range(3):
        waiting = list(run.driver.strategy.selector._waiting)
        batch = run.step()
        for made in batch.groups:
            assert made.size == 4
            assert made.question_id in waiting or made.rollouts[0].reward != made.rollouts[1].reward
        assert set(waiting) <= {g.question_id for g in batch.groups}
    costs = run.driver.costs
    assert costs.rollouts == run.engine.rollouts_generated


def test_speed_with_nothing_to_continue_ends() -> None:
    """All wrong: screening stops after ten rounds, refused questions fill the batch, their screening is not thrown away."""
    run = run_of("speed", {"screening": 2})
    run.engine.ability[:] = -100
    batch = run.step()
    assert len(batch.groups) == 16
    assert run.driver.costs.fresh_rollouts == 16 * 2
    assert sum(phase == "probe" for phase, _, _ in run.engine.calls) <= 10


def test_lilo_takes_the_most_learnable() -> None:
    """Of 64 probed candidates the 16 with the greatest p̂(1−p̂); rolled out again, or trained on as they are."""
    run = run_of("lilo", {"probe_rollouts": 4})
    batch = run.step()
    probes = [g for g in run.driver._engine.probes if g.source == "probe"]
    least = sorted((g.pass_rate * (1 - g.pass_rate) for g in probes), reverse=True)[15]
    chosen = {g.question_id for g in batch.groups}
    assert all(g.pass_rate * (1 - g.pass_rate) >= least for g in probes if g.question_id in chosen)
    assert (run.driver.costs.probe_rollouts, run.driver.costs.fresh_rollouts) == (256, 64)
    reusing = run_of("lilo", {"probe_rollouts": 4, "train_on_probes": True})
    assert {g.source for g in reusing.step().groups} == {"probe"}
    assert (reusing.driver.costs.probe_rollouts, reusing.driver.costs.fresh_rollouts) == (256, 0)


def test_curriculum_goes_from_easy_to_hard() -> None:
    """Three stages of two steps over difficulties 0 … 100: thirds of the pool in order, then the last one for good."""
    run = run_of("curriculum", {"stages": 3, "steps_per_stage": 2}, pool_size=96)
    ranks = np.argsort(np.argsort([i * 37 % 101 for i in range(96)], kind="stable"))
    for step in range(8):
        third = ranks[[g.question_id for g in run.step().groups]] // 32
        assert set(third.tolist()) == {min(step // 2, 2)}


def test_value_model_gradient_is_the_difference_quotient() -> None:
    """Against central differences of ½ mean (V − p)², for every weight."""
    rng = np.random.default_rng(0)
    model = ValueModel(3, 2, rng)
    model._weights = [rng.normal(size=w.shape) for w in model._weights]
    x, rates = rng.normal(size=(5, 3)), rng.random(5)

    def loss() -> float:
        return float(0.5 * np.square(model(x) - rates).mean())

    for weights, gradient in zip(model._weights, model.gradients(x, rates), strict=True):
        for at in np.ndindex(weights.shape):
            before, around = weights[at], []
            for shift in (1e-5, -1e-5):
                weights[at] = before + shift
                around.append(loss())
            weights[at] = before
            assert (around[0] - around[1]) / 2e-5 == pytest.approx(gradient[at], abs=1e-8)


def test_pcl_learns_which_questions_are_hard() -> None:
    """The simulated ability is the first embedding coordinate: after some steps V follows the pass rate."""
    run = run_of("pcl")
    for _ in range(12):
        run.step()
    predicted = run.driver.strategy.predict(np.arange(256), run.driver.context("predict"))
    assert predicted is not None
    assert np.corrcoef(predicted, 1 / (1 + np.exp(-run.engine.ability)))[0, 1] > 0.8
