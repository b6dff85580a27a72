"""verl keeps the contract that all backends share, through its real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.spec import AlgorithmSpec
from harness.testing.backend_contract import RESUME_AFTER, BackendContract, LossCase, Rows, Training, contract_spec
from harness.types import FloatArray
from tests.backends.verl.recording import patched, record

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("contract")


@pytest.fixture(scope="module")
def training(folder: Path, cache: Path) -> Training:
    return record(contract_spec("verl"), folder / "whole", cache, copy_at=(RESUME_AFTER, folder / "stopped"))


@pytest.fixture(scope="module")
def resumed(training: Training, folder: Path, cache: Path) -> Training:
    stopped = folder / "stopped"
    return record(contract_spec("verl"), stopped, cache, stopped / "checkpoints" / f"step-{RESUME_AFTER}")


@pytest.fixture(scope="module")
def plain(folder: Path, cache: Path) -> tuple[list[Rows], list[Rows]]:
    from backends.common.prepare import prepare
    from backends.verl.rollout_engine import VerlRolloutEngine
    from tests.backends.verl.stock import noted_requests, train_stock

    spec = contract_spec("verl", "grpo")
    algorithm = spec.algorithm.model_copy(update={"max_steps": 2, "updates_per_batch": 1})
    spec = spec.model_copy(update={"algorithm": algorithm})
    prepared = prepare(spec, cache, lambda *_: None)
    sent: list[dict[str, Any]] = []
    with patched(VerlRolloutEngine, "_submit", noted_requests(prepared, sent)):
        ours = record(spec, folder / "grpo", cache)
    theirs, _ = train_stock(spec, prepared, sent, folder / "stock")
    return [seen.rows for seen in ours.steps], list(theirs)


class TestContract(BackendContract):
    def loss_and_gradient(self, case: LossCase) -> tuple[float, FloatArray]:
        return verl_loss(case)

    @pytest.mark.slow_verl  # two more starts of Ray
    def test_switched_off_it_is_the_plain_trainer(self, plain: tuple[list[Rows], list[Rows]]) -> None:
        super().test_switched_off_it_is_the_plain_trainer(plain)


def verl_loss(case: LossCase, **algorithm: Any) -> tuple[float, FloatArray]:
    """The loss function of verl's training worker after verl's rollout correction, both configured as a run of Halfway configures them."""
    import torch
    from tensordict import TensorDict

    from backends.verl.config import Placement, default_settings, resolve_config, run_settings

    spec, placement = contract_spec("verl"), Placement(True, 1, 1)
    spec = spec.model_copy(update={"algorithm": AlgorithmSpec(**{**spec.algorithm.model_dump(), **algorithm})})
    assert spec.algorithm.clip_epsilon == case.epsilon
    settings = run_settings(spec, case.correction, placement, model="", checkpoints=Path(), prompt_tokens=16, pool=96)
    config = resolve_config(settings, default_settings(spec, placement), spec)
    from verl import DataProto
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_add_to_batch
    from verl.utils.config import omega_conf_to_dataclass
    from verl.workers.utils.losses import ppo_loss

    lengths = case.mask.sum(axis=1).astype(int).tolist()
    mask = torch.from_numpy(case.mask)
    new = torch.from_numpy(case.new).requires_grad_()
    columns = {"response_mask": mask, "old_log_probs": torch.from_numpy(case.old), "rollout_log_probs": torch.from_numpy(case.behaviour)}
    if config.algorithm.rollout_correction.bypass_mode:
        columns["old_log_probs"] = columns["rollout_log_probs"]  # what verl's trainer does in this mode
    else:
        padded = DataProto(TensorDict(dict(columns), batch_size=[len(mask)]))
        corrected, _ = compute_rollout_correction_and_add_to_batch(padded, config.algorithm.rollout_correction)
        if "rollout_is_weights" in corrected.batch:
            columns["rollout_is_weights"] = corrected.batch["rollout_is_weights"]
    columns["advantages"] = torch.from_numpy(case.advantages)[:, None].expand_as(new)

    def jagged(rows: torch.Tensor, *after: torch.Tensor) -> torch.Tensor:
        parts = [torch.cat([row[:n], *after]) for row, n in zip(rows, lengths, strict=True)]
        return torch.nested.as_nested_tensor(parts, layout=torch.jagged)

    data = TensorDict({name: jagged(column) for name, column in columns.items()}, batch_size=[len(mask)])
    data["prompts"] = torch.nested.nested_tensor_from_jagged(torch.zeros(len(mask)), torch.arange(len(mask) + 1))
    data["responses"] = data["response_mask"]
    data.set_non_tensor("dp_size", 1)
    data.set_non_tensor("batch_num_tokens", int(case.mask.sum()))
    data.set_non_tensor("global_batch_size", len(mask))
    # The model's log-probs are of whole sequences (a prompt of one token before each), shifted by one.
    loss, _ = ppo_loss(omega_conf_to_dataclass(config.actor_rollout_ref.actor), {"log_probs": jagged(new, torch.zeros(1))}, data)
    (gradient,) = torch.autograd.grad(loss, new)
    return float(loss.detach()), gradient.numpy().astype(np.float64)
