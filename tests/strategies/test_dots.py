"""DOTS: what it rolls out, what it predicts from, what it selects; both variants of the paper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.registry import strategy_entry
from harness.strategies.dots import Dots, DotsConfig
from harness.strategy import NoReplay, Strategy, StrategyConfig
from harness.testing.simulation import SimulatedRun, untrained_predictor


class Fixed:
    """A predictor that returns given pass rates and remembers its references."""

    kind = "fixed"

    def __init__(self, rates: Any) -> None:
        self.rates, self.info, self.calls = rates, {"note": "fixed"}, []

    def predict(self, reference_ids: Any, reference_pass_rates: Any) -> Any:
        self.calls.append((np.asarray(reference_ids), np.asarray(reference_pass_rates)))
        return self.rates


def run(config: dict[str, Any], rates: Any = None, pool_size: int = 256) -> tuple[SimulatedRun, Fixed]:
    selector = Dots(DotsConfig(**config))
    fixed = Fixed(np.linspace(0, 0.99, pool_size) if rates is None else rates)
    selector._predictor = fixed
    return SimulatedRun(Strategy("dots", selector, NoReplay(StrategyConfig())), pool_size), fixed


def test_references_are_rolled_out_every_second_step_and_charged() -> None:
    """μ = 2, K = 32: probes at steps 1 and 3 of 4, G rollouts each, in the probe ledger."""
    simulated, fixed = run({"references": 32})
    probes = []
    for _ in range(4):
        simulated.step()
        probes.append(simulated.driver.costs.probe_rollouts)
    assert probes == [128, 128, 256, 256]
    references, rates = fixed.calls[0]
    assert len(np.unique(references)) == 32
    assert set(rates * 4) <= {0.0, 1.0, 2.0, 3.0, 4.0}


def test_selection_is_the_questions_nearest_one_half_that_are_not_references() -> None:
    """With τ = 1e-6 the sampling is top-k: exactly the nearest 16 of the questions that are no references."""
    simulated, fixed = run({"references": 32, "tau": 1e-6})
    chosen = [g.question_id for g in simulated.step().groups]
    free = np.setdiff1d(np.arange(256), fixed.calls[0][0])
    nearest = free[np.argsort(np.abs(fixed.rates[free] - 0.5), kind="stable")[:16]]
    assert sorted(chosen) == sorted(nearest.tolist())


def test_no_question_twice_within_an_interval() -> None:
    """The second step of an interval takes the next nearest, not the same again."""
    simulated, _ = run({"references": 16})
    first, second = ({g.question_id for g in simulated.step().groups} for _ in range(2))
    assert not first & second


@pytest.mark.parametrize(("alpha", "expected"), [(0.25, 0.75), (0.75, 0.25)])
def test_alpha_is_a_difficulty_not_a_pass_rate(alpha: float, expected: float) -> None:
    """d = 1 − p: α = .25 aims at questions answered three times out of four."""
    simulated, fixed = run({"references": 8, "alpha": alpha})
    chosen = [g.question_id for g in simulated.step().groups]
    assert fixed.rates[chosen].mean() == pytest.approx(expected, abs=0.03)


def test_reused_references_replace_fresh_rollouts() -> None:
    """References near ½ join the batch; fewer fresh rollouts are generated, the batch stays whole."""
    simulated, _ = run({"references": 32, "reuse_references": True})
    batch = simulated.step()
    reused = [g for g in batch.groups if g.source == "probe"]
    assert len(batch.groups) == 16
    assert reused
    assert not any(g.is_degenerate for g in reused)
    assert simulated.driver.costs.fresh_rollouts == (16 - len(reused)) * 4


def test_paper_and_code_calibration_are_settings(tmp_path: Path) -> None:
    """platt (paper) and platt+linear (code) give different predictions from the same references and weights."""
    predictor = untrained_predictor(tmp_path)
    predictions = []
    for calibration in ("platt", "platt+linear"):
        strategy = strategy_entry("dots").build({"references": 64, "calibration": calibration})
        simulated = SimulatedRun(strategy, predictor=predictor)
        simulated.step()
        predictions.append(strategy.predict(np.arange(256), None))  # type: ignore[arg-type]
    assert not np.allclose(*predictions)


def test_a_constant_prediction_is_recorded_and_selection_goes_on(tmp_path: Path) -> None:
    """All references failed: nothing can be predicted; the record says so and the step is not lost."""
    simulated = SimulatedRun(strategy_entry("dots").build({"references": 16}), predictor=untrained_predictor(tmp_path))
    simulated.engine.ability[:] = -100.0
    batch = simulated.step()
    assert len(batch.groups) == 16
    assert "predictor_fallback" in batch.selection.info


def test_a_diverse_reference_set_is_fixed_and_survives_a_resume(tmp_path: Path) -> None:
    """k-center on the embeddings, drawn once: the same references at every prediction, also after a resume."""
    predictor = untrained_predictor(tmp_path)
    config = {"references": 12, "reference_set": "diverse"}
    simulated = SimulatedRun(strategy_entry("dots").build(config), predictor=predictor)
    for _ in range(4):
        simulated.step()
    probed = [ids for phase, ids, _ in simulated.engine.calls if phase == "probe"]
    assert len(probed) == 2
    assert probed[0] == probed[1]
    resumed = SimulatedRun(strategy_entry("dots").build(config), predictor=predictor)
    resumed.driver.load_state_dict(simulated.driver.state_dict())
    resumed.step()
    assert next(ids for phase, ids, _ in resumed.engine.calls if phase == "probe") == probed[0]


def test_history_sharpens_the_prediction_and_is_part_of_the_state(tmp_path: Path) -> None:
    """With its own past groups the prediction follows what was observed, and a resumed run predicts the same."""
    predictor = untrained_predictor(tmp_path)
    truth = None
    errors = {}
    for history in (False, True):
        config = {"references": 16, "history": history, "tau": 1.0}
        simulated = SimulatedRun(strategy_entry("dots").build(config), predictor=predictor)
        for _ in range(24):
            simulated.step()
        truth = 1 / (1 + np.exp(-simulated.engine.ability - 0.05 * 24))
        predicted = simulated.driver.strategy.predict(np.arange(256), None)  # type: ignore[arg-type]
        assert predicted is not None
        errors[history] = np.abs(predicted - truth).mean()
        resumed = SimulatedRun(strategy_entry("dots").build(config), predictor=predictor)
        resumed.driver.load_state_dict(simulated.driver.state_dict())
        resumed.engine.policy_version = simulated.engine.policy_version = 24
        assert [g.question_id for g in resumed.step().groups] == [g.question_id for g in simulated.step().groups]
    assert errors[True] < 0.8 * errors[False]
