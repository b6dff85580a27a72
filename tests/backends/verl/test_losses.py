"""verl's forms of GSPO and CISPO, configured as a run configures them, against the formulas of their papers; and through its trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.registry import strategy_entry
from harness.spec import AlgorithmSpec, RunSpec, StrategySpec
from harness.strategy import Correction
from harness.testing.backend_contract import LossCase, contract_spec, loss_cases
from harness.types import FloatArray
from tests.backends.verl.recording import record
from tests.backends.verl.test_contract import verl_loss

pytestmark = pytest.mark.timeout(900)

GSPO = {"ratio_level": "sequence", "loss_aggregation": "sequence-mean"}
CISPO = {"surrogate": "cispo"}


def parts(case: LossCase) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """new, the policy that the ratio is to, weight ρ, advantages and mask, in float64."""
    new, old, mu = (a.astype(np.float64) for a in (case.new, case.old, case.behaviour))
    centred = case.correction.ratio == "behaviour" and case.correction.clip_center == "one"
    weighted = case.correction.ratio == "behaviour" and case.correction.clip_center == "old"
    rho = np.exp(old - mu) if weighted else np.ones_like(old)
    if case.correction.weight_cap is not None:
        rho = np.minimum(rho, case.correction.weight_cap)
    return new, mu if centred else old, rho, case.advantages.astype(np.float64)[:, None], case.mask.astype(np.float64)


def gspo(case: LossCase) -> tuple[float, FloatArray]:
    """arXiv 2507.18071, equation 5: one clipped ratio per completion, the geometric mean of its tokens' ratios."""
    new, base, _, advantages, mask = parts(case)
    lengths = mask.sum(1, keepdims=True)
    ratio = np.exp(((new - base) * mask).sum(1, keepdims=True) / lengths)
    clipped = np.clip(ratio, 1 - case.epsilon, 1 + case.epsilon)
    moves = (ratio * advantages <= clipped * advantages) | (clipped == ratio)
    loss = -np.minimum(ratio * advantages, clipped * advantages).mean()
    return float(loss), -(moves * ratio * advantages) * mask / lengths / len(new)


def cispo(case: LossCase) -> tuple[float, FloatArray]:
    """arXiv 2506.13585, equation 4, bounded from above only: the capped ratio is a constant weight of each token's log-probability."""
    new, base, rho, advantages, mask = parts(case)
    weight = -np.minimum(np.exp(new - base), 1 + case.epsilon) * rho * advantages * mask / mask.sum()
    return float((weight * new).sum()), weight


@pytest.mark.parametrize(("algorithm", "formula", "per_token"), [(GSPO, gspo, False), (CISPO, cispo, True)])
def test_loss_and_gradient_equal_the_papers_formula(algorithm: dict[str, Any], formula: Any, per_token: bool) -> None:
    """With every correction of replayed rows that the loss defines; to 1e-6."""
    tried = 0
    for case in loss_cases():
        if not per_token and case.correction.ratio == "behaviour" and case.correction.clip_center == "old":
            continue  # refused: a weight per token and one ratio per completion
        loss, gradient = verl_loss(case, **algorithm)
        expected, slope = formula(case)
        assert loss == pytest.approx(expected, abs=1e-6), case.correction
        assert np.abs(gradient - slope).max() < 1e-6, case.correction
        assert np.abs(slope).max() > 1e-3
        tried += 1
    assert tried == (4 if per_token else 2)


def test_the_cases_tell_the_losses_apart() -> None:
    """GSPO, CISPO and the clipped loss differ on these batches, so that equality above means something."""
    case = next(c for c in loss_cases() if c.correction == Correction("one"))
    losses = [verl_loss(case, **algorithm)[0] for algorithm in ({}, GSPO, CISPO)]
    assert min(abs(a - b) for i, a in enumerate(losses) for b in losses[:i]) > 1e-3


@pytest.mark.slow_verl
@pytest.mark.parametrize("algorithm", [GSPO, CISPO], ids=["gspo", "cispo"])
def test_they_train_with_replay(algorithm: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    """Through verl's trainer: the loss is finite, replayed groups take part."""
    spec: RunSpec = contract_spec("verl")
    entry = strategy_entry("rr")
    arm = StrategySpec(label="rr", name="rr", version=entry.version, config=entry.resolve_config({"capacity": 8, "admission": "all"}))
    changed = AlgorithmSpec(**{**spec.algorithm.model_dump(), **algorithm, "max_steps": 3})
    training = record(spec.model_copy(update={"algorithm": changed, "strategy": arm}), tmp_path / "run", cache)
    assert all(np.isfinite(step.loss) for step in training.log.steps)
    assert any(step.replayed_question_ids for step in training.log.steps)
