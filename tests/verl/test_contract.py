"""verl keeps the contract that all backends share, through its real trainer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.testing_backend import RESUME_AFTER, BackendContract, LossCase, Rows, Training, contract_spec
from harness.types import FloatArray
from tests.verl.recording import patched, record

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
    from backends.verl.engine import VerlEngine
    from tests.verl.stock import noted_requests, train_stock

    spec = contract_spec("verl", "grpo")
    algorithm = spec.algorithm.model_copy(update={"max_steps": 2, "updates_per_batch": 1})
    spec = spec.model_copy(update={"algorithm": algorithm})
    prepared = prepare(spec, cache, lambda *_: None)
    sent: list[dict[str, Any]] = []
    with patched(VerlEngine, "_submit", noted_requests(prepared, sent)):
        ours = record(spec, folder / "grpo", cache)
    theirs, _ = train_stock(spec, prepared, sent, folder / "stock")
    return [seen.rows for seen in ours.steps], list(theirs)


class TestContract(BackendContract):
    def loss_and_gradient(self, case: LossCase) -> tuple[float, FloatArray]:
        return verl_loss(case)


def verl_loss(case: LossCase) -> tuple[float, FloatArray]:
    """verl's rollout correction and its clipped loss, as Halfway's configuration sets them."""
    import torch

    from backends.verl.config import Place, settings

    spec = contract_spec("verl")
    chosen = settings(spec, case.correction, Place(True, 1, 1), model="", checkpoints=Path(), prompt_tokens=16, pool=96)
    from verl.trainer.ppo.core_algos import compute_policy_loss_vanilla
    from verl.trainer.ppo.rollout_corr_helper import compute_rollout_correction_and_rejection_mask
    from verl.workers.config import FSDPActorConfig

    new = torch.from_numpy(case.new).requires_grad_()
    old, behaviour, mask = (torch.from_numpy(a) for a in (case.old, case.behaviour, case.mask))
    advantages = torch.from_numpy(case.advantages)[:, None].expand_as(new)
    weights = None
    if chosen["algorithm.rollout_correction.bypass_mode"]:
        old = behaviour  # what verl does in this mode
    else:
        corrected, _, _ = compute_rollout_correction_and_rejection_mask(
            old_log_prob=old, rollout_log_prob=behaviour, response_mask=mask,
            rollout_is=chosen["algorithm.rollout_correction.rollout_is"],
            rollout_is_threshold=chosen["algorithm.rollout_correction.rollout_is_threshold"],
        )  # fmt: skip
        weights = corrected.batch["rollout_is_weights"]
    actor = {k.rpartition(".")[2]: v for k, v in chosen.items() if k.startswith("actor_rollout_ref.actor.clip_ratio")}
    config = FSDPActorConfig(strategy="fsdp2", ppo_mini_batch_size=8, use_dynamic_bsz=True, rollout_n=1, **actor)
    loss, _ = compute_policy_loss_vanilla(old, new, advantages, mask, chosen["actor_rollout_ref.actor.loss_agg_mode"], config, weights)
    (gradient,) = torch.autograd.grad(loss, new)
    return float(loss.detach()), gradient.numpy().astype(np.float64)
