"""RR's loss and the dropping of degenerate groups, against numbers worked out by hand and TRL's own loss."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from backends.common.ratios import RatioStatistics
from backends.trl.loss import correct_off_policy, drop_degenerate_rows
from harness.strategy import Correction
from tests.backends.trl.conftest import make_spec, start

LOG2, LOG3 = math.log(2), math.log(3)


def batch(mu: float, old: float | None, advantage: float, replayed: bool = True) -> dict[str, Any]:
    """One row of one token."""
    made = {
        "completion_mask": torch.ones(1, 1, dtype=torch.long),
        "sampling_per_token_logps": torch.tensor([[mu]]),
        "advantages": torch.tensor([advantage]),
        "replayed": torch.tensor([replayed]),
    }
    if old is not None:
        made["old_per_token_logps"] = torch.tensor([[old]])
    return made


def clipped(made: dict[str, Any], pi: float, epsilon: float = 0.2) -> float:
    """TRL's per-token objective min(c·A, clip(c, 1±ε)·A), c = π/old, for one token."""
    old = made.get("old_per_token_logps")
    ratio = math.exp(pi - float(old[0, 0] if old is not None else pi))
    advantage = float(made["advantages"].flatten()[0])
    return min(ratio * advantage, min(max(ratio, 1 - epsilon), 1 + epsilon) * advantage)


@pytest.mark.parametrize(
    ("center", "cap", "advantage", "expected"),
    [
        # μ = 1/8, π_old = 1/4, π = 3/8: ρ = 2, π/π_old = 1.5, r̃ = 3. ε = .2
        ("old", None, 1.0, 2.4),  # clip(3, 1.6, 2.4)·1 = 2.4 < 3
        ("old", None, -1.0, -3.0),  # min(−3, −2.4)
        ("old", 1.5, 1.0, 1.8),  # ρ capped at 1.5: 1.5·min(1.5, 1.2)
        ("old", 1.5, -2.0, -4.5),  # 1.5·min(−3, −2.4)
        ("one", None, 1.0, 1.2),  # min(3, clip(3, .8, 1.2))
        ("one", None, -1.0, -3.0),  # min(−3, −1.2)
        ("one", 1.5, -1.0, -2.25),  # r̃ = 1.5·1.5
    ],
)
def test_replayed_token_by_hand(center: Any, cap: float | None, advantage: float, expected: float) -> None:
    """Both centres of the clip, with and without a cap, on one token."""
    made = batch(mu=-3 * LOG2, old=-2 * LOG2, advantage=advantage)
    pi = LOG3 - 3 * LOG2
    correct_off_policy(made, torch.tensor([[pi]]), Correction(center, cap), RatioStatistics())
    assert clipped(made, pi) == pytest.approx(expected, rel=1e-6)


def test_replayed_rows_as_on_policy_keep_their_advantages() -> None:
    """With ``ratio = "old"`` nothing of μ reaches the loss; the coefficient does, and the ledger gets the ratio all the same."""
    made = batch(mu=-3 * LOG2, old=-2 * LOG2, advantage=2.0)
    stats = RatioStatistics()
    correct_off_policy(made, torch.tensor([[-1.0]]), Correction(ratio="old", coefficient=0.25), stats)
    assert made["advantages"].tolist() == [0.5]
    assert made["old_per_token_logps"].tolist() == [[pytest.approx(-2 * LOG2)]]
    assert stats.summary()["mean"] == pytest.approx(2)
    for contradiction in ({"clip_center": "one"}, {"weight_cap": 2.0}):
        with pytest.raises(ValueError, match="has no weight"):
            Correction(ratio="old", **contradiction)


def test_one_update_per_batch_uses_the_running_forward_pass_as_old_policy() -> None:
    """Without old log-probs π_old = π: the code variant is then ρ·A = (π/μ)·A, here 3·2."""
    made = batch(mu=-3 * LOG2, old=None, advantage=2.0)
    pi = torch.tensor([[LOG3 - 3 * LOG2]], requires_grad=True)
    correct_off_policy(made, pi, Correction("old"), RatioStatistics())
    assert float(made["advantages"]) == pytest.approx(6.0)
    assert not made["advantages"].requires_grad


def test_fresh_rows_are_left_alone() -> None:
    """A batch without replayed rows keeps the very tensors TRL made."""
    made = batch(mu=-3 * LOG2, old=-2 * LOG2, advantage=1.0, replayed=False)
    before = dict(made)
    stats = RatioStatistics()
    correct_off_policy(made, torch.tensor([[-1.0]]), Correction("old"), stats)
    assert all(made[k] is before[k] for k in before)
    assert stats.fresh == pytest.approx(LOG2)
    assert stats.summary() == {}


def test_ratio_statistics_by_hand() -> None:
    """ρ = 2 and 4: mean 3, effective share 6²/(2·20) = .9."""
    made = batch(mu=0.0, old=0.0, advantage=1.0)
    made["completion_mask"] = torch.ones(1, 2, dtype=torch.long)
    made["sampling_per_token_logps"] = torch.zeros(1, 2)
    made["old_per_token_logps"] = torch.tensor([[LOG2, 2 * LOG2]])
    stats = RatioStatistics()
    correct_off_policy(made, torch.zeros(1, 2), Correction("old"), stats)
    found = stats.summary()
    assert sum(found["classes"]) == sum(found.pop("classes")[-2:]) == 2  # both above 1.25
    assert found == pytest.approx({"mean": 3, "min": 2, "max": 4, "effective_share": 0.9, "tokens": 2})


@pytest.fixture(scope="module")
def part(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, dict[str, Any]]]:
    """A real trainer and one of its real batches, degenerate and informative groups mixed."""
    from backends.common.prepare import prepare
    from backends.trl.run import build_trainer

    spec = make_spec("grpo", algorithm={"groups_per_step": 16})
    folder = tmp_path_factory.mktemp("loss")
    trainer = build_trainer(spec, prepare(spec, cache, lambda *_: None), folder / "checkpoints", start(spec, folder))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    made = trainer._generate_and_score_completions([])
    assert 0 < int(made["informative"].sum()) < len(made["informative"])
    yield trainer, made
    trainer.session.engine.scorer.close()


def loss_and_gradient(trainer: Any, inputs: dict[str, Any]) -> tuple[float, torch.Tensor]:
    trainer.model.zero_grad()
    loss = trainer.compute_loss(trainer.model, inputs)
    loss.backward()
    return float(loss.detach()), torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("loss_type", ["dapo", "grpo", "dr_grpo", "bnpo", "cispo"])
def test_dropping_degenerate_groups_changes_neither_loss_nor_gradient(part: tuple[Any, dict[str, Any]], loss_type: str) -> None:
    """The same numbers from fewer rows, for every loss normalisation, through TRL's own loss."""
    trainer, made = part
    trainer.loss_type = loss_type
    smaller = drop_degenerate_rows(made, loss_type)
    assert len(smaller["completion_ids"]) == int(made["informative"].sum())
    whole_loss, whole_gradient = loss_and_gradient(trainer, made)
    loss, gradient = loss_and_gradient(trainer, smaller)
    assert loss == pytest.approx(whole_loss, rel=1e-5, abs=1e-7)
    assert torch.allclose(gradient, whole_gradient, rtol=1e-4, atol=1e-7)
    assert whole_gradient.abs().max() > 1e-4


def test_dropping_everything_keeps_one_silent_row(part: tuple[Any, dict[str, Any]]) -> None:
    """A batch of degenerate groups only still makes an update, with a zero gradient."""
    trainer, made = part
    trainer.loss_type = "dapo"
    silent = {**made, "advantages": torch.zeros_like(made["advantages"]), "informative": torch.zeros_like(made["informative"])}
    smaller = drop_degenerate_rows(silent, "dapo")
    assert len(smaller["completion_ids"]) == 1
    loss, gradient = loss_and_gradient(trainer, smaller)
    assert loss == 0
    assert not gradient.any()


@pytest.mark.parametrize("center", ["old", "one"])
def test_corrected_loss_and_gradient_equal_the_literal_formula(part: tuple[Any, dict[str, Any]], center: Any) -> None:
    """TRL's loss on corrected inputs, against the formulas written out here, to 1e-6: code clips r̃ = π/μ to ρ(1±ε), paper to 1±ε."""
    trainer, made = part
    trainer.loss_type = "dapo"
    trainer.session.correction = Correction(center)
    generator = torch.Generator().manual_seed(0)
    mask = made["completion_mask"].bool()
    with torch.no_grad():
        ids = torch.cat([made["prompt_ids"], made["completion_ids"]], 1)
        attention = torch.cat([made["prompt_mask"], made["completion_mask"]], 1)
        width = made["completion_ids"].shape[1]
        pi, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, attention, width)
        old = pi + 0.3 * torch.randn(pi.shape, generator=generator)
        mu = old + 0.5 * torch.randn(pi.shape, generator=generator)
    replayed = torch.arange(len(ids)) % 2 == 0
    inputs = {**made, "old_per_token_logps": old, "sampling_per_token_logps": mu, "replayed": replayed}
    loss, gradient = loss_and_gradient(trainer, inputs)

    trainer.model.zero_grad()
    now, _, _ = trainer._get_per_token_logps_and_entropies(trainer.model, ids, attention, width)
    rho = torch.where(replayed[:, None] & (center == "old"), (old - mu).exp(), torch.ones_like(old))
    ratio = torch.where(replayed[:, None], (now - mu).exp(), (now - old).exp())
    advantage = made["advantages"][:, None]
    token_loss = -torch.min(ratio * advantage, torch.clamp(ratio, rho * 0.8, rho * 1.2) * advantage)
    literal = (token_loss * mask).sum() / made["num_items_in_batch"]
    literal.backward()
    expected = torch.cat([p.grad.flatten() for p in trainer.model.parameters()])
    assert loss == pytest.approx(float(literal.detach()), abs=1e-6)
    assert torch.allclose(gradient, expected, atol=1e-6)
