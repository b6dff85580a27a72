"""Low-rank adapters through TRL's own trainer: what is trained, which policy samples, what a checkpoint holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("peft", reason="adapters need the extra [lora]")

from backends.common.prepare import prepare
from backends.trl.backend import TrlBackend
from backends.trl.run import build_trainer
from harness.errors import UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from tests.backends.trl.conftest import make_spec, start, train, with_lora, worst
from tests.backends.trl.test_runs import numbers

#: Large enough steps that adapters, which start at zero, move the policy within a few updates.
FAST = {"learning_rate": 1e-2}
REPLAY: tuple[str, dict[str, Any]] = ("rr", {"capacity": 16, "fresh_fraction": 0.75})
#: Sampling and training compute the same adapters; base weights alone would be further off than 1e-2 after an update.
SAME_POLICY = 1e-4


def adapted(strategy: str = "grpo", config: dict[str, Any] | None = None, lora: dict[str, Any] | None = None, **settings: Any) -> RunSpec:
    """A small run that trains adapters."""
    algorithm = {**FAST, **settings.pop("algorithm", {})}
    return with_lora(make_spec(strategy, config, algorithm, **settings), **{"rank": 4, **(lora or {})})


def test_adapters_are_trained_and_the_weights_are_not(tmp_path: Path, cache: Path) -> None:
    """After training the base weights are the file's bit for bit, and the adapters have moved."""
    import torch

    from backends.common.model_loading import load_model

    spec = adapted()
    prepared = prepare(spec, cache, lambda *_: None)
    trainer = build_trainer(spec, prepared, tmp_path / "output", start(spec, tmp_path / "run"))
    with trainer.session.engine.scoring():
        trainer.train()
    before = dict(load_model(prepared.model).model.named_parameters())
    after = {n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in trainer.model.named_parameters()}
    assert all(torch.equal(after[name], weight) for name, weight in before.items())
    adapters = {name: p for name, p in after.items() if "lora_" in name}
    assert len(adapters) == 2 * 7 * 2  # A and B of seven linear layers in two blocks
    assert all(p.requires_grad and bool(p.detach().any()) for p in adapters.values())


@pytest.mark.parametrize("generation", ["decoder", "generate"])
def test_the_adapted_policy_samples(generation: str, tmp_path: Path, cache: Path) -> None:
    """Behaviour log-probs are the adapted policy's in every step, and replayed ones have aged by its updates."""
    log = train(adapted(*REPLAY, algorithm={"max_steps": 6}, generation=generation), tmp_path, cache)
    assert worst(log) < SAME_POLICY
    replaying = [step for step in log.steps if step.replayed_question_ids]
    assert replaying
    assert all(step.importance_ratio["max"] - step.importance_ratio["min"] > 1e-2 for step in replaying)


def test_evaluation_is_the_adapted_policys(tmp_path: Path, cache: Path) -> None:
    """Accuracy moves with the adapters; before the first update it is the starting policy's, with or without them."""
    greedy = {"temperature": 0.0, "diagnostic_questions": 0}
    log = train(adapted(evaluation=greedy), tmp_path / "adapted", cache)
    whole = train(make_spec(evaluation=greedy, algorithm={"max_steps": 1}), tmp_path / "whole", cache)
    assert log.evaluations[0].accuracy == whole.evaluations[0].accuracy
    assert len({e.accuracy for e in log.evaluations}) > 1


@pytest.mark.parametrize("algorithm", [{"updates_per_batch": 2, "drop_degenerate": True}, {"kl_coefficient": 0.1}, {"staleness": 1}])
def test_resume_continues_as_if_never_stopped(algorithm: dict[str, Any], tmp_path: Path, cache: Path) -> None:
    """A checkpoint holds the adapters: same questions, losses and accuracies, also with a reference policy or an older one."""
    whole = train(adapted(*REPLAY, algorithm=algorithm), tmp_path / "whole", cache)
    train(adapted(*REPLAY, algorithm={**algorithm, "max_steps": 2}), tmp_path / "parts", cache)
    found = newest_complete(tmp_path / "parts" / "checkpoints")
    assert found is not None
    assert (found[1] / "adapter_model.safetensors").exists()
    assert not (found[1] / "model.safetensors").exists()
    ledger = LedgerWriter(tmp_path / "parts" / "ledger.jsonl")
    ledger.write(Attempt(2, {}, found[0]))
    TrlBackend().train(adapted(*REPLAY, algorithm=algorithm), tmp_path / "parts", cache, ledger, found[1])
    assert numbers(read_ledger(tmp_path / "parts" / "ledger.jsonl")) == numbers(whole)


def test_the_seed_decides_the_adapters_first_values(tmp_path: Path, cache: Path) -> None:
    """Arms of one seed start from the same adapters, whatever was drawn in the process before; another seed from others."""
    import torch

    def first(seed: int, name: str) -> Any:
        spec = adapted(seed=seed)
        trainer = build_trainer(spec, prepare(spec, cache, lambda *_: None), tmp_path / name, start(spec, tmp_path / f"run-{name}"))
        return torch.cat([p.detach().flatten() for n, p in trainer.model.named_parameters() if "lora_A" in n])

    one = first(1, "one")
    torch.rand(7)
    assert torch.equal(one, first(1, "again"))
    assert not torch.equal(one, first(2, "other"))


def test_chosen_layers_and_one_that_is_not_there(tmp_path: Path, cache: Path) -> None:
    """``modules`` names layers; a name that the model lacks is one sentence with the nearest."""
    spec = adapted(lora={"modules": ["q_proj", "v_proj"]})
    trainer = build_trainer(spec, prepare(spec, cache, lambda *_: None), tmp_path / "output", start(spec, tmp_path / "run"))
    assert sum("lora_" in name for name, _ in trainer.model.named_parameters()) == 2 * 2 * 2
    with pytest.raises(UserError, match=r"has no linear layer 'q_porj'; did you mean 'q_proj'\?|'q_porj'.*q_proj"):
        train(adapted(lora={"modules": ["q_porj"]}), tmp_path / "wrong", cache)
