"""TRL keeps the contract that all backends share, through its real trainer."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from harness.testing.backend_contract import RESUME_AFTER, BackendContract, LossCase, Row, Rows, Seen, Training, contract_spec
from harness.types import FloatArray
from tests.backends.trl.conftest import on_device, start


def seen_rows(inputs: dict[str, Any]) -> list[Row]:
    """The rows of one call of TRL's loss."""
    rows = []
    for i in range(len(inputs["completion_ids"])):
        mask = inputs["completion_mask"][i].bool()
        prompt = inputs["prompt_ids"][i][inputs["prompt_mask"][i].bool()]
        mu, old = (
            inputs[name][i][mask].double().cpu().numpy() if inputs.get(name) is not None else None
            for name in ("sampling_per_token_logps", "old_per_token_logps")
        )
        tokens = tuple(prompt.tolist()), tuple(inputs["completion_ids"][i][mask].tolist())
        rows.append(Row(*tokens, mu, old, float(inputs["advantages"][i].flatten()[0])))
    return rows


def record(spec: RunSpec, run_dir: Path, cache: Path, resume_from: Path | None = None, copy_at: tuple[int, Path] | None = None) -> Training:
    """Train one run through the backend in this process, and note what reaches its loss and what its engine samples."""
    from backends.trl.backend import TrlBackend
    from backends.trl.rollout_engine import TrlRolloutEngine
    from backends.trl.session import TrlSession
    from backends.trl.trainer import HalfwayGRPOTrainer

    training = Training(log=None)  # type: ignore[arg-type]
    patch = pytest.MonkeyPatch()
    loss, decode, save = HalfwayGRPOTrainer.compute_loss, TrlRolloutEngine._decode_share, TrlSession.complete_checkpoint

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        batch = self.session.run.batch
        if not training.steps or training.steps[-1].batch is not batch:
            training.steps.append(Seen(batch, [], 0))
        training.steps[-1].rows.extend(seen_rows(inputs))
        training.steps[-1].updates += 1
        return loss(self, model, inputs, *args, **kwargs)

    def counted(self: Any, order: Any) -> Any:
        found = decode(self, order)
        if self.clock.running:
            training.generated_rollouts += sum(len(group) for group in found)
            training.generated_tokens += sum(len(c.token_ids) for group in found for c in group)
        return found

    def complete_checkpoint(self: Any, global_step: int) -> bool:
        ends: bool = save(self, global_step)
        if copy_at is not None and global_step // self.updates == copy_at[0]:
            shutil.copytree(run_dir, copy_at[1])
        return ends

    patch.setattr(HalfwayGRPOTrainer, "compute_loss", compute_loss)
    patch.setattr(TrlRolloutEngine, "_decode_share", counted)
    patch.setattr(TrlSession, "complete_checkpoint", complete_checkpoint)
    try:
        if resume_from is None:
            ledger = start(spec, run_dir)
        else:
            ledger = LedgerWriter(run_dir / "ledger.jsonl")
            ledger.write(Attempt(2, {}, RESUME_AFTER))
        TrlBackend().train(spec, run_dir, cache, ledger, resume_from)
        ledger.close()
    finally:
        patch.undo()
    training.log = read_ledger(run_dir / "ledger.jsonl")
    return training


@pytest.fixture(scope="module", params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    return on_device(request.param)


@pytest.fixture(scope="module")
def folder(device: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"contract-{device}")


@pytest.fixture(scope="module")
def training(device: str, folder: Path, cache: Path) -> Training:
    return record(contract_spec("trl", device=device), folder / "whole", cache, copy_at=(RESUME_AFTER, folder / "stopped"))


@pytest.fixture(scope="module")
def resumed(training: Training, device: str, folder: Path, cache: Path) -> Training:
    stopped = folder / "stopped"
    found = newest_complete(stopped / "checkpoints")
    assert found is not None
    return record(contract_spec("trl", device=device), stopped, cache, found[1])


@pytest.fixture(scope="module")
def plain(device: str, folder: Path, cache: Path) -> tuple[list[Rows], list[Rows]]:
    from trl import GRPOTrainer

    from backends.common.prepare import prepare
    from benchmarks.overhead import bare_trainer

    spec = contract_spec("trl", "grpo", device=device)
    ours = record(spec, folder / "grpo", cache)
    theirs: list[list[Row]] = []
    patch = pytest.MonkeyPatch()
    loss = GRPOTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        theirs.append(seen_rows(inputs))
        return loss(self, model, inputs, *args, **kwargs)

    patch.setattr(GRPOTrainer, "compute_loss", compute_loss)
    try:
        bare_trainer(spec, prepare(spec, cache, lambda *_: None), folder / "bare").train()
    finally:
        patch.undo()
    return [seen.rows for seen in ours.steps], [a + b for a, b in zip(theirs[::2], theirs[1::2], strict=True)]


@pytest.fixture(scope="module")
def trainer(device: str, folder: Path, cache: Path) -> Iterator[Any]:
    """A real trainer with one update per batch, whose own loss is asked."""
    from backends.common.prepare import prepare
    from backends.trl.run import build_trainer

    spec = contract_spec("trl", "grpo", device=device)
    spec = spec.model_copy(update={"algorithm": spec.algorithm.model_copy(update={"updates_per_batch": 1})})
    built = build_trainer(spec, prepare(spec, cache, lambda *_: None), folder / "loss", start(spec, folder / "loss"))
    built.model.train()
    built.current_gradient_accumulation_steps = 1
    yield built
    built.session.engine.scorer.close()


class TestContract(BackendContract):
    @pytest.fixture(autouse=True)
    def _trainer(self, trainer: Any) -> None:
        self.trainer = trainer

    def loss_and_gradient(self, case: LossCase) -> tuple[float, FloatArray]:
        """TRL's loss, its forward pass replaced by the case's log-probs, after Halfway's correction of the replayed rows."""
        import torch
        from trl import GRPOTrainer

        from backends.common.ratios import RatioStatistics
        from backends.trl.loss import correct_off_policy

        new = torch.from_numpy(case.new).requires_grad_()
        rows, width = new.shape
        ones = torch.ones(rows, 1, dtype=torch.long)
        batch: dict[str, Any] = {
            "prompt_ids": ones,
            "prompt_mask": ones,
            "completion_ids": torch.ones(rows, width, dtype=torch.long),
            "completion_mask": torch.from_numpy(case.mask).long(),
            "sampling_per_token_logps": torch.from_numpy(case.behaviour),
            "old_per_token_logps": torch.from_numpy(case.old),
            "advantages": torch.from_numpy(case.advantages),
            "replayed": torch.from_numpy(case.replayed),
            "num_items_in_batch": torch.tensor(case.mask.sum()),
        }
        correct_off_policy(batch, new, case.correction, RatioStatistics())
        forward = self.trainer._get_per_token_logps_and_entropies
        results = 3 if "compute_aux_loss" in inspect.signature(GRPOTrainer._get_per_token_logps_and_entropies).parameters else 2
        self.trainer._get_per_token_logps_and_entropies = lambda *_, **__: (new, torch.zeros_like(new), None)[:results]
        try:
            loss = self.trainer._compute_loss(self.trainer.model, batch)
        finally:
            self.trainer._get_per_token_logps_and_entropies = forward
        (gradient,) = torch.autograd.grad(loss, new)
        return float(loss.detach()), gradient.numpy().astype(np.float64)
