"""One run of the TRL backend inside one process: the trainer is built here and trained."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from backends.trl.seams import check_seams
from harness.errors import RunFailed

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from backends.trl.trainer import HalfwayGRPOTrainer
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec


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
    from backends.common.run_session import build_driver, build_evaluator
    from backends.trl.config import grpo_config
    from backends.trl.dataset import run_order_dataset
    from backends.trl.engine import TrlEngine
    from backends.trl.session import Session, SessionCallback
    from backends.trl.trainer import HalfwayGRPOTrainer
    from harness.registry import entry_of
    from harness.reward.service import RewardService
    from harness.step.clock import Clock

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
