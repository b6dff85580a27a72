"""Settings that users of TRL expect, through the real trainer: GSPO, CISPO, truncated completions, KL, gradient checkpointing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.errors import UserError
from harness.strategy import Correction
from tests.backends.trl.conftest import make_spec, start, train

EPSILON = 0.2


def trainer_of(algorithm: dict[str, Any], cache: Path, folder: Path) -> Any:
    from backends.common.prepare import prepare
    from backends.trl.run import build_trainer

    spec = make_spec("grpo", algorithm=algorithm)
    trainer = build_trainer(spec, prepare(spec, cache, lambda *_: None), folder / "checkpoints", start(spec, folder))
    trainer.model.train()
    trainer.current_gradient_accumulation_steps = 1
    return trainer


def log_probs(trainer: Any, batch: dict[str, Any]) -> Any:
    import torch

    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    return trainer._get_per_token_logps_and_entropies(trainer.model, ids, attention, batch["completion_ids"].shape[1])[0]


def gradient(trainer: Any, loss: Any) -> Any:
    import torch

    trainer.model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters()])


def gspo(log_ratio: Any, _pi: Any, advantages: Any, mask: Any, _items: Any) -> Any:
    """arXiv 2507.18071, equation 5: one clipped ratio per completion, the geometric mean of its tokens' ratios."""
    import torch

    ratio = ((log_ratio * mask).sum(1) / mask.sum(1)).exp()
    return -torch.min(ratio * advantages, ratio.clamp(1 - EPSILON, 1 + EPSILON) * advantages).mean()


def cispo(log_ratio: Any, pi: Any, advantages: Any, mask: Any, items: Any) -> Any:
    """arXiv 2506.13585, equation 4: the capped ratio is a constant weight of each token's log-probability."""
    weight = log_ratio.exp().clamp(max=1 + EPSILON).detach()
    return -(weight * advantages[:, None] * pi * mask).sum() / items


@pytest.mark.parametrize(
    ("algorithm", "formula"),
    [
        ({"ratio_level": "sequence", "loss_aggregation": "sequence-mean"}, gspo),
        ({"surrogate": "cispo"}, cispo),
    ],
)
def test_loss_and_gradient_equal_the_papers_formula(
    algorithm: dict[str, Any], formula: Callable[..., Any], tmp_path: Path, cache: Path
) -> None:
    """Fresh rows with the ratio to the old policy, replayed ones with that to the policy that sampled them; to 1e-6."""
    import torch

    trainer = trainer_of(algorithm, cache, tmp_path)
    try:
        made = trainer._generate_and_score_completions([])
        trainer.session.correction = Correction("one")
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            now = log_probs(trainer, made)
        old = now + 0.3 * torch.randn(now.shape, generator=generator)
        mu = old + 0.5 * torch.randn(now.shape, generator=generator)
        replayed = torch.arange(len(now)) % 2 == 0
        inputs = {**made, "old_per_token_logps": old, "sampling_per_token_logps": mu, "replayed": replayed}
        loss = trainer.compute_loss(trainer.model, inputs)
        found = gradient(trainer, loss)
        pi = log_probs(trainer, made)
        literal = formula(
            pi - torch.where(replayed[:, None], mu, old), pi, made["advantages"], made["completion_mask"], made["num_items_in_batch"]
        )
        assert float(loss.detach()) == pytest.approx(float(literal.detach()), abs=1e-6)
        expected = gradient(trainer, literal)
        assert torch.allclose(found, expected, atol=1e-6)
        assert expected.abs().max() > 1e-4
    finally:
        trainer.session.engine.scorer.close()


@pytest.mark.parametrize("algorithm", [{}, {"kl_coefficient": 0.5}, {"surrogate": "cispo"}])
@pytest.mark.parametrize("far", [-200.0, 200.0])
def test_padding_cannot_make_the_loss_infinite(algorithm: dict[str, Any], far: float, tmp_path: Path, cache: Path) -> None:
    """Log-probs of padding lie hundreds apart at a low temperature, exp() of which is infinite, and infinity times the mask is NaN.

    Seen with a real model at temperature .3 and four updates a batch: every run diverged, some with a finite loss.
    """
    import torch

    trainer = trainer_of({"updates_per_batch": 2, **algorithm}, cache, tmp_path)
    try:
        made = trainer._generate_and_score_completions([])
        with torch.no_grad():
            made["old_per_token_logps"] = log_probs(trainer, made)
        loss = trainer.compute_loss(trainer.model, made)
        expected = gradient(trainer, loss)
        padding = made["completion_mask"] == 0
        assert padding.any()
        for name in {"old_per_token_logps", "ref_per_token_logps"} & set(made):
            made[name] = torch.where(padding, torch.full_like(made[name], far), made[name])
            far = -far
        moved = trainer.compute_loss(trainer.model, made)
        assert float(moved.detach()) == float(loss.detach())
        assert torch.equal(gradient(trainer, moved), expected)
        assert expected.abs().max() > 0
    finally:
        trainer.session.engine.scorer.close()


def test_a_kl_term_is_against_the_starting_policy(tmp_path: Path, cache: Path) -> None:
    """TRL's reference model has the weights that training began with, and its term is the k3 estimate times the coefficient."""
    import torch

    trainer = trainer_of({"kl_coefficient": 0.5}, cache, tmp_path)
    try:
        starting = [p.detach().clone() for p in trainer.model.parameters()]
        with torch.no_grad():
            for parameter in trainer.model.parameters():
                parameter.add_(0.01)
        assert all(torch.equal(a, b) for a, b in zip(trainer.ref_model.parameters(), starting, strict=True))
        made = trainer._generate_and_score_completions([])
        assert (made["ref_per_token_logps"] - log_probs(trainer, made)).abs().max() > 1e-3
        with_term = float(trainer.compute_loss(trainer.model, made).detach())
        trainer.beta = 0.0
        without = float(trainer.compute_loss(trainer.model, made).detach())
        gap = (made["ref_per_token_logps"] - log_probs(trainer, made)).detach()
        term = ((gap.exp() - gap - 1) * made["completion_mask"]).sum() / made["num_items_in_batch"]
        assert with_term - without == pytest.approx(0.5 * float(term), rel=1e-4, abs=1e-7)
    finally:
        trainer.session.engine.scorer.close()


def test_the_reference_model_is_loaded_at_the_policys_commit(tmp_path: Path) -> None:
    """TRL knows the name of the policy only; without a KL term nothing is loaded a second time."""
    from backends.trl.config import grpo_config

    def kwargs(**algorithm: Any) -> Any:
        spec = make_spec(algorithm=algorithm)
        model = spec.combination.model.model_copy(update={"name": "a/b", "revision": "abc"})
        spec = spec.model_copy(update={"combination": spec.combination.model_copy(update={"model": model})})
        return grpo_config(spec, tmp_path, 1, True).model_init_kwargs

    assert kwargs(kl_coefficient=0.1) == {"revision": "abc"}
    assert kwargs() is None


@pytest.mark.parametrize("algorithm", [{}, {"drop_degenerate": True, "updates_per_batch": 2}])
def test_truncated_completions_stay_out_of_the_loss(
    algorithm: dict[str, Any], tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """Only finished ones have tokens there, and only those count as trained; every completion counts in its group's advantages."""
    settings = {"groups_per_step": 32, "max_completion_tokens": 9, "max_steps": 2, **algorithm}
    log = train(make_spec("grpo", algorithm={**settings, "mask_truncated": True}), tmp_path / "masked", cache)
    updates = algorithm.get("updates_per_batch", 1)
    for step in range(2):
        parts = recorded()[step * updates : (step + 1) * updates]
        groups = parts[0]["batch"].groups
        assert any(r.truncated for g in groups for r in g.rollouts)
        trained = [r for g in groups if not algorithm or 0.0 < g.pass_rate < 1.0 for r in g.rollouts]
        finished = sum(len(r.completion_token_ids) for r in trained if not r.truncated)
        assert finished > 0
        assert sum(int(part["inputs"]["completion_mask"].sum()) for part in parts) == finished
        assert log.steps[step].costs.trained_tokens - (log.steps[step - 1].costs.trained_tokens if step else 0) == finished
    seen = len(recorded())
    train(make_spec("grpo", algorithm={**settings, "max_steps": 1}), tmp_path / "whole", cache)
    for masked, whole in zip(recorded()[:updates], recorded()[seen : seen + updates], strict=True):
        assert masked["inputs"]["advantages"].tolist() == whole["inputs"]["advantages"].tolist()


def test_gradient_checkpointing_changes_no_number(tmp_path: Path, cache: Path) -> None:
    """The same activations, computed twice."""
    logs = [
        train(make_spec("grpo", algorithm={"max_steps": 2}, gradient_checkpointing=value), tmp_path / str(value), cache)
        for value in (None, True)
    ]
    first, second = ([(s.question_ids, s.pass_rates, s.loss) for s in log.steps] for log in logs)
    assert [s[:2] for s in first] == [s[:2] for s in second]
    assert [s[2] for s in first] == pytest.approx([s[2] for s in second], abs=1e-6)


def test_gspo_trains_with_replay_and_refuses_weights_per_token(tmp_path: Path, cache: Path) -> None:
    """rr clips around 1 by default, where one ratio per completion is defined; its other centre weights tokens."""
    algorithm = {"ratio_level": "sequence", "loss_aggregation": "sequence-mean", "max_steps": 3}
    log = train(make_spec("rr", {"capacity": 16}, algorithm), tmp_path / "one", cache)
    assert any(step.replayed_question_ids for step in log.steps)
    with pytest.raises(UserError, match=r"strategy 'rr' weights replayed rollouts token by token.*use clip_center = 'one'"):
        train(make_spec("rr", {"capacity": 16, "clip_center": "old"}, algorithm), tmp_path / "old", cache)


@pytest.mark.parametrize("name", ["ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"])
def test_sharding_from_the_shell_is_refused(name: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``accelerate launch`` leaves it in the environment; a run says itself how it is sharded."""
    monkeypatch.setenv(name, "true")
    with pytest.raises(UserError, match=f"^{name} is set.*write deepspeed or fsdp_config under"):
        train(make_spec("grpo"), tmp_path, cache)
    monkeypatch.setenv(name, "false")
    assert len(train(make_spec("grpo", algorithm={"max_steps": 1}), tmp_path / "off", cache).steps) == 1
