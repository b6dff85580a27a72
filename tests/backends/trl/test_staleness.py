"""Rollouts of an older policy (``algorithm.staleness``) through the real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.errors import UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, RunLog, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from harness.types import PromptGroup
from tests.backends.trl.conftest import make_spec, start, train

LAG = 2
FAST = {"learning_rate": 1e-2, "staleness": LAG}  # so that two steps move the policy visibly


def build(spec: RunSpec, cache: Path, folder: Path) -> Any:
    from backends.common.prepare import prepare
    from backends.trl.run import build_trainer

    return build_trainer(spec, prepare(spec, cache, lambda *_: None), folder / "checkpoints", start(spec, folder))


def log_probs(trainer: Any, groups: list[PromptGroup]) -> list[np.ndarray[Any, Any]]:
    """Of every rollout, under the trainer's present weights."""
    rollouts = [r for g in groups for r in g.rollouts]
    found = trainer.session.engine._score_log_probs(
        [r.prompt_token_ids.tolist() for r in rollouts], [r.completion_token_ids.tolist() for r in rollouts]
    )
    return [np.array(row) for row in found]


@pytest.mark.parametrize(("strategy", "generation"), [("grpo", "decoder"), ("dots", "decoder"), ("grpo", "generate")])
def test_rollouts_are_those_of_the_weights_two_steps_older(
    strategy: str, generation: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fresh and probe rollouts of step t have the log-probs of the weights that t − 2 updates left, to 1e-4, and not the present ones;
    the loss and the evaluations see the present weights."""
    import torch

    from backends.trl.trainer import HalfwayGRPOTrainer
    from harness.step.metered_engine import MeteredEngine

    config = {"references": 8, "interval": 1} if strategy == "dots" else {}
    trainer = build(make_spec(strategy, config, FAST | {"max_steps": 5}, {"every_steps": 5}, generation=generation), cache, tmp_path)
    weights: list[list[torch.Tensor]] = []
    sampled: list[list[PromptGroup]] = []
    loss, scored = HalfwayGRPOTrainer.compute_loss, MeteredEngine._scored

    def compute_loss(self: Any, *args: Any, **kwargs: Any) -> Any:
        weights.append([p.detach().clone() for p in self.model.parameters()])
        return loss(self, *args, **kwargs)

    def noted(self: Any, *args: Any) -> Any:
        while len(sampled) <= len(weights):
            sampled.append([])
        sampled[len(weights)] += (found := scored(self, *args))
        return found

    monkeypatch.setattr(HalfwayGRPOTrainer, "compute_loss", compute_loss)
    monkeypatch.setattr(MeteredEngine, "_scored", noted)
    with trainer.session.engine.scoring():
        trainer.train()

    def gap(groups: list[PromptGroup], version: int) -> float:
        with torch.no_grad():
            for parameter, value in zip(trainer.model.parameters(), weights[version], strict=True):
                parameter.copy_(value)
        mu = [r.behaviour_log_probs for g in groups for r in g.rollouts]
        return max(float(np.abs(a - b).max()) for a, b in zip(mu, log_probs(trainer, groups), strict=True))

    assert len(weights) == len(sampled) == 5
    for step, groups in enumerate(sampled):
        assert {r.policy_version for g in groups for r in g.rollouts} == {max(0, step - LAG)}
        assert len(groups) == 8 * (1 + (strategy == "dots"))
        assert gap(groups, max(0, step - LAG)) < 1e-4
        if step:
            assert gap(groups, step) > 1e-3
    log = read_ledger(tmp_path / "ledger.jsonl")
    assert [s.policy_version for s in log.steps] == [0, 0, 0, 1, 2]
    costs = log.steps[-1].costs
    assert (costs.fresh_rollouts, costs.probe_rollouts) == (5 * 8 * 4, 5 * 8 * 4 * (strategy == "dots"))
    assert costs.generated_tokens == sum(g.num_tokens for groups in sampled for g in groups)
    assert log.steps[0].fresh_log_ratio is not None
    assert log.steps[0].fresh_log_ratio < 1e-4
    assert all(s.fresh_mean_log_ratio is not None and s.fresh_mean_log_ratio > 1e-3 for s in log.steps[1:])


def test_loss_and_gradient_equal_the_formula(tmp_path: Path, cache: Path) -> None:
    """Fresh rows: ρ·min(cA, clip(c, 1±ε)A), ρ = π_old/μ, c = π/π_old; replayed ones beside them: min(r̃A, clip(r̃, 1±ε)A), r̃ = π/μ.

    The reference is float64, TRL's loss float32.
    """
    import torch

    from harness.strategy import Correction

    trainer = build(make_spec("grpo", algorithm={"staleness": 1}), cache, tmp_path)
    try:
        trainer.model.train()
        trainer.current_gradient_accumulation_steps = 1
        made = trainer._generate_and_score_completions([])
        trainer.session.correction = Correction("one", coefficient=0.5)
        ids, attention = (torch.cat([made[f"prompt_{name}"], made[f"completion_{name}"]], 1) for name in ("ids", "mask"))
        width = made["completion_ids"].shape[1]

        def present() -> Any:
            return trainer._get_per_token_logps_and_entropies(trainer.model, ids, attention, width)[0]

        generator = torch.Generator().manual_seed(0)
        old = present().detach()
        old = old + 0.3 * torch.randn(old.shape, generator=generator)
        mu = old + 0.5 * torch.randn(old.shape, generator=generator)
        replayed = torch.arange(len(ids)) % 2 == 0
        inputs = {**made, "old_per_token_logps": old, "sampling_per_token_logps": mu, "replayed": replayed}
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, inputs)
        loss.backward()
        found = [p.grad.clone() for p in trainer.model.parameters()]
        assert inputs["advantages"] is made["advantages"]

        trainer.model.zero_grad()
        pi, old, mu = present().double(), old.double(), mu.double()
        advantage = made["advantages"].double()[:, None]
        moved, rho, off = (pi - old).exp(), (old - mu).exp(), (pi - mu).exp()
        on_fresh = rho * torch.min(moved * advantage, moved.clamp(0.8, 1.2) * advantage)
        on_replayed = 0.5 * torch.min(off * advantage, off.clamp(0.8, 1.2) * advantage)
        per_token = -torch.where(replayed[:, None], on_replayed, on_fresh)
        literal = (per_token * made["completion_mask"]).sum() / made["num_items_in_batch"]
        literal.backward()
        assert float(loss.detach()) == pytest.approx(float(literal.detach()), abs=1e-6)
        for parameter, gradient in zip(trainer.model.parameters(), found, strict=True):
            assert torch.allclose(gradient, parameter.grad, atol=1e-6)
        assert max(float(g.abs().max()) for g in found) > 1e-4
    finally:
        trainer.session.engine.scorer.close()


def numbers(log: RunLog) -> list[Any]:
    steps = [
        (s.question_ids, s.pass_rates, s.replayed_question_ids, s.staleness, s.loss, s.policy_version, s.fresh_mean_log_ratio)
        for s in log.steps
    ]
    return [steps, [e.accuracies for e in log.evaluations], log.steps[-1].costs.generated_tokens, log.steps[-1].costs.replayed_rollouts]


@pytest.mark.parametrize("stopped", [2, 4])
def test_resume_goes_on_from_the_older_weights(stopped: int, tmp_path: Path, cache: Path) -> None:
    """Resumed with one and with two older copies kept: the same ledger to the last digit, replay included."""
    from backends.trl.backend import TrlBackend

    def spec(steps: int) -> RunSpec:
        lag = {"staleness": 3, "learning_rate": 1e-2, "max_steps": steps}
        return make_spec("rr", {"capacity": 16}, lag)

    whole = train(spec(6), tmp_path / "whole", cache)
    train(spec(stopped), tmp_path / "parts", cache)
    found = newest_complete(tmp_path / "parts" / "checkpoints")
    assert found is not None
    assert found[0] == stopped
    assert len(list(found[1].glob("halfway.older-weights-*.safetensors"))) == min(stopped, 3)
    ledger = LedgerWriter(tmp_path / "parts" / "ledger.jsonl")
    ledger.write(Attempt(2, {}, stopped))
    TrlBackend().train(spec(6), tmp_path / "parts", cache, ledger, found[1])
    assert numbers(read_ledger(tmp_path / "parts" / "ledger.jsonl")) == numbers(whole)
    assert [s.policy_version for s in whole.steps] == [0, 0, 0, 0, 1, 2]
    assert whole.steps[-1].replayed_question_ids
    assert min(age for s in whole.steps for age in s.staleness) >= 1


def test_nothing_is_copied_without_staleness(tmp_path: Path, cache: Path) -> None:
    """No copy in memory and none in a checkpoint; the first step's rollouts are its own policy's in either case."""
    trainer = build(make_spec("grpo", algorithm={"max_steps": 2}), cache, tmp_path)
    with trainer.session.engine.scoring():
        trainer.train()
    assert not trainer.session.older._copies
    assert not list(tmp_path.rglob("*older*"))
    fresh = [s.fresh_mean_log_ratio for s in read_ledger(tmp_path / "ledger.jsonl").steps]
    assert all(off is not None and off < 1e-4 for off in fresh)


@pytest.mark.parametrize(
    ("algorithm", "execution", "words"),
    [
        ({}, {"generation": "vllm-colocate"}, r"staleness = 2 needs execution.generation = 'decoder' or 'generate'"),
        ({"ratio_level": "sequence", "loss_aggregation": "sequence-mean"}, {}, r"use ratio_level = 'token' or staleness = 0"),
    ],
)
def test_what_has_no_older_policy_is_refused(algorithm: dict[str, Any], execution: dict[str, Any], words: str, tmp_path: Path) -> None:
    """One sentence that names the setting and the way out."""
    from backends.trl.config import grpo_config

    with pytest.raises(UserError, match=words):
        grpo_config(make_spec(algorithm={"staleness": LAG, **algorithm}, **execution), tmp_path, 1, True)
