"""One run of the TRL backend in one process: its trainer is built and trained."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from backends.common.failures import out_of_gpu_memory
from backends.trl.seams import check_seams

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from backends.trl.trainer import HalfwayGRPOTrainer
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec

_IMPORTED = (
    "torch", "backends.common.prepare", "backends.common.run_session", "backends.trl.config", "backends.trl.dataset",
    "backends.trl.rollout_engine", "backends.trl.session", "backends.trl.trainer", "harness.reward.service", "harness.step.clock",
)  # fmt: skip


def import_everything() -> None:
    """Import what a run needs, so that a process forked from this one need not; nothing is computed."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    for module in _IMPORTED:
        importlib.import_module(module)
    import transformers
    from trl import GRPOTrainer  # noqa: F401 - imported from its module when it is asked for

    for name in ("AutoModelForCausalLM", "AutoTokenizer", "GenerationConfig", "PrinterCallback"):
        getattr(transformers, name)  # likewise


def train_on_this_rank(spec: RunSpec, prepared: Prepared, run_dir: Path, ledger: LedgerWriter | None, resume_from: Path | None) -> None:
    """Train one run to its end in this process.

    ledger: the run's, None on ranks other than 0. resume_from: a complete checkpoint, None to start at step 0. Raises UserError
    for settings that TRL cannot run and RunFailed for a run that cannot go on.
    """
    import torch

    trainer = build_trainer(spec, prepared, run_dir / "checkpoints", ledger)
    with trainer.session.engine.scoring():
        if resume_from is not None:
            trainer.session.resume(resume_from)
        try:
            trainer.train(resume_from_checkpoint=str(resume_from) if resume_from is not None else None)
        except torch.cuda.OutOfMemoryError as error:
            raise out_of_gpu_memory(error) from error


def build_trainer(spec: RunSpec, prepared: Prepared, output: Path, ledger: LedgerWriter | None) -> HalfwayGRPOTrainer:
    """A ``GRPOTrainer`` with session, engine and strategy attached, ready for ``train()``."""
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    import torch
    from transformers import PrinterCallback
    from trl import GRPOTrainer

    from backends.common.adapters import lora_config
    from backends.common.devices import choose_device
    from backends.common.model_loading import load_model
    from backends.common.ratios import check_correction, correction_of
    from backends.common.run_session import build_session
    from backends.trl.config import grpo_config
    from backends.trl.dataset import run_order_dataset
    from backends.trl.rollout_engine import TrlRolloutEngine
    from backends.trl.session import SessionCallback, TrlSession
    from backends.trl.sharding import kind_of, shard_on_cpu
    from backends.trl.trainer import HalfwayGRPOTrainer
    from backends.trl.vllm import engine_settings
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
    engine = TrlRolloutEngine(spec, task, tokenizer, scorer, clock, prepared.embeddings)
    strategy = entry_of(spec.strategy).build(spec.strategy.config)
    check_correction(spec, correction_of(strategy))
    engine.needs_log_probs = "behaviour_log_probs" in strategy.requires or spec.algorithm.staleness > 0
    run = None
    if scorer is not None:
        assert ledger is not None, "rank 0 holds the ledger"
        run = build_session(spec, strategy, engine, prepared, scorer, ledger, output)
    session = TrlSession(spec, engine, run, strategy.correction)
    if use_cpu and kind_of(spec):
        shard_on_cpu()
    args = grpo_config(spec, output, world, use_cpu)
    adapters = lora_config(spec, loaded.model)
    if adapters is not None:
        torch.manual_seed(spec.seed)  # of their first values; TRL seeds everything else itself, later
    with engine_settings(spec, use_cpu=use_cpu):
        trainer = HalfwayGRPOTrainer(
            session,
            model=loaded.model,
            args=args,
            train_dataset=run_order_dataset(task, spec),
            processing_class=tokenizer,
            callbacks=[SessionCallback(session)],
            peft_config=adapters,
        )
    trainer.remove_callback(PrinterCallback)
    session.attach(trainer)
    return trainer
