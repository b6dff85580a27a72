"""The TRL backend: ``GRPOTrainer`` 1.14.2 – 1.16 (not 1.15.0) on CPU or GPU, one process or several (Accelerate)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backends.trl.seams import SUPPORTED, check_seams, installed_versions, unsupported_reason
from harness.backend import EVERYTHING, BackendStatus, OneOff, Progress
from harness.errors import RunFailed, UserError

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from backends.trl.trainer import HalfwayGRPOTrainer
    from harness.ledger import LedgerWriter
    from harness.spec import RunSpec


class TrlBackend:
    """See :class:`harness.backend.Backend`."""

    name = "trl"
    capabilities = EVERYTHING

    def __init__(self) -> None:
        self._prepared: tuple[str, Prepared] | None = None

    def status(self) -> BackendStatus:
        versions = installed_versions()
        reason = unsupported_reason(versions)
        return BackendStatus(self.name, not reason, reason, versions, SUPPORTED)

    def prepare(self, spec: RunSpec, cache: Path, progress: Progress) -> list[OneOff]:
        self._require_supported()
        from backends.common.prepare import prepare

        prepared = prepare(spec, cache, progress)
        self._prepared = (spec.run_id, prepared)
        return prepared.one_off

    def train(self, spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
        self._require_supported()
        if spec.execution.processes > 1 and "RANK" not in os.environ:
            from backends.trl.launch import launch

            launch(spec, run_dir, cache, resume_from)
            return
        known = self._prepared[1] if self._prepared is not None and self._prepared[0] == spec.run_id else None
        train_on_this_rank(spec, run_dir, cache, ledger, resume_from, known)

    def _require_supported(self) -> None:
        reason = unsupported_reason(installed_versions())
        if reason:
            raise UserError(f"the TRL backend cannot run here: {reason}")


def train_on_this_rank(
    spec: RunSpec, run_dir: Path, cache: Path, ledger: LedgerWriter | None, resume_from: Path | None, prepared: Prepared | None = None
) -> None:
    """Train one run in this process; ``ledger`` is None on ranks other than 0, ``prepared`` saves preparing it again."""
    import torch

    from backends.common.prepare import prepare

    prepared = prepared or prepare(spec, cache, lambda *_: None)
    trainer = build_trainer(spec, prepared, run_dir / "checkpoints", ledger)
    with trainer.session.scoring():
        if resume_from is not None:
            trainer.session.resume(resume_from)
        try:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from is not None else None)
        except torch.cuda.OutOfMemoryError as error:
            raise RunFailed("out-of-memory", f"the GPU is out of memory ({error}); set execution.micro_batch_rollouts lower") from error


def build_trainer(spec: RunSpec, prepared: Prepared, output: Path, ledger: LedgerWriter | None) -> HalfwayGRPOTrainer:
    """A ``GRPOTrainer`` with session, engine and strategy attached, ready for ``train()``."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    import torch
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from backends.common.devices import choose_device
    from backends.common.model_loading import load_model
    from backends.common.session import build_driver, build_evaluator
    from backends.trl.config import grpo_config
    from backends.trl.dataset import run_order_dataset
    from backends.trl.engine import TrlEngine
    from backends.trl.session import Session, SessionCallback
    from backends.trl.trainer import HalfwayGRPOTrainer
    from harness.clock import Clock
    from harness.registry import entry_of
    from harness.reward.service import RewardService

    check_seams(GRPOTrainer)
    use_cpu = choose_device(spec.execution.device)
    world, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    task = prepared.task
    # float32 weights, lower precision by the trainer's autocast.
    loaded = load_model(prepared.model, revision=spec.combination.model.revision)
    tokenizer = loaded.tokenizer
    scorer = (
        RewardService(task.reward, workers=max(1, spec.execution.threads), seconds=spec.execution.reward_seconds) if rank == 0 else None
    )
    clock = Clock(None if use_cpu else torch.cuda.synchronize)
    engine = TrlEngine(spec, task, tokenizer, scorer, clock, prepared.embeddings)
    strategy = entry_of(spec.strategy).build(spec.strategy.config)
    engine.needs_log_probs = "behaviour_log_probs" in strategy.requires
    driver = evaluator = None
    if scorer is not None:
        driver = build_driver(spec, strategy, engine, prepared)
        evaluator = build_evaluator(spec, task, tokenizer, scorer)
    session = Session(spec, engine, driver, ledger, evaluator, strategy.correction)
    args = grpo_config(spec, output, world, use_cpu)
    trainer = HalfwayGRPOTrainer(
        session,
        model=loaded.model,
        args=args,
        train_dataset=run_order_dataset(task, spec),
        processing_class=tokenizer,
        callbacks=[SessionCallback(session)],
    )
    trainer.remove_callback(PrinterCallback)
    session.attach(trainer)
    return trainer
