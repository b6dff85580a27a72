"""One run: Ray and TransferQueue started, verl's trainer built and fitted in this process, everything ended again.

verl's own entry point puts the trainer into a Ray actor; here it lives in the worker process, which holds the ledger and the run's
lock. On a cluster (``ray job submit``, or ``RAY_ADDRESS`` set) that process joins it; otherwise it starts Ray for itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.common.devices import parse_device
from backends.common.ratios import correction_of
from backends.verl.config import Placement, default_settings, resolve_config, rollout_name, run_settings
from backends.verl.failures import translated_errors
from backends.verl.names import CPU_PLUGIN, CPU_ROLLOUT, TRAINER
from harness.errors import UserError
from harness.machine.environment import NO_USAGE_REPORTS, core_count, visible_gpus

if TYPE_CHECKING:
    from backends.common.prepare import Prepared
    from backends.verl.session import VerlSession
    from harness.records.ledger import LedgerWriter
    from harness.spec import RunSpec


#: vLLM's CPU build takes 4 GiB and binds threads to cores by default; here Ray's processes share both.
_VLLM_ON_CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
}


def train(spec: RunSpec, prepared: Prepared, run_dir: Path, ledger: LedgerWriter, resume_from: Path | None) -> None:
    """Train one run to its end.

    Raises UserError for settings that verl cannot run, RunFailed for a run that cannot go on, and Interrupted where one of Ray's
    processes died.
    """
    placement = Placement.of(spec, len(visible_gpus()))
    set_environment(placement, spec)
    with translated_errors():
        session, config = build(spec, prepared, run_dir / "checkpoints", ledger, placement, resume_from)
        with session.engine.scoring(), cluster(config) as ready:
            fit(session, ready)


def set_environment(placement: Placement, spec: RunSpec) -> None:
    """Variables that verl and Ray read when they are imported; Ray's workers inherit them."""
    defaults = {
        **NO_USAGE_REPORTS,
        "RAY_DEDUP_LOGS": "0",
        "VERL_LOGGING_LEVEL": "WARN",
        "HYDRA_FULL_ERROR": "1",
        "TQ_NUM_THREADS": str(min(8, core_count())),
        # A busy machine starts Ray's processes slowly; its own limits are half a minute and a minute.
        "RAY_raylet_start_wait_time_s": "300",
        "RAY_worker_register_timeout_seconds": "600",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if not placement.on_cpu:
        _, index = parse_device(spec.execution.device)
        if index:
            os.environ["CUDA_VISIBLE_DEVICES"] = index
        return
    os.environ.update(VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES=CPU_PLUGIN)
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 is for workers beside its own processes; here they are the training
    os.environ.pop("CUDA_VISIBLE_DEVICES", None)  # set but empty, it would hide the logical GPUs too
    if spec.execution.generation == "vllm":
        for name, value in _VLLM_ON_CPU.items():
            os.environ.setdefault(name, value)


def build(
    spec: RunSpec, prepared: Prepared, checkpoints: Path, ledger: LedgerWriter, placement: Placement, resume_from: Path | None
) -> tuple[VerlSession, Any]:
    """The session of a run and verl's configuration for it; nothing of Ray is started."""
    import torch

    from backends.common.adapters import check_layers_of
    from backends.common.model_loading import load_tokenizer
    from backends.common.run_session import build_session
    from backends.verl.rollout_engine import VerlRolloutEngine
    from backends.verl.session import VerlSession, verl_checkpoint
    from harness.registry import entry_of
    from harness.reward.service import RewardService
    from harness.step.clock import Clock

    torch.set_num_threads(spec.execution.threads)
    algorithm, task = spec.algorithm, prepared.task
    model = local_folder(prepared.model, spec.combination.model.revision)
    check_layers_of(spec, model)
    tokenizer, eos = load_tokenizer(model)
    scorer = RewardService(task.reward, workers=max(1, spec.execution.threads), seconds=spec.execution.reward_seconds)
    clock = Clock()
    seeded = rollout_name(spec, placement.on_cpu) == CPU_ROLLOUT
    engine = VerlRolloutEngine(spec, task, tokenizer, eos, scorer, clock, prepared.embeddings, seeded=seeded)
    strategy = entry_of(spec.strategy).build(spec.strategy.config)
    run = build_session(spec, strategy, engine, prepared, scorer, ledger, checkpoints)
    correction = correction_of(strategy)
    session = VerlSession(run, engine, correction)
    prompt_tokens = algorithm.max_prompt_tokens or max(map(len, engine.token_ids))
    settings = run_settings(
        spec, correction, placement, model=model, checkpoints=checkpoints, prompt_tokens=prompt_tokens, pool=len(engine.questions)
    )
    if resume_from is not None:
        run.resume(resume_from)
        resumed = {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": str(verl_checkpoint(resume_from))}
        settings |= {**resumed, "trainer.val_before_train": False}
    return session, resolve_config(settings, default_settings(spec, placement), spec)


def local_folder(model: str, revision: str | None) -> str:
    """The folder of a model's files at its revision, which verl has no setting for; UserError if the hub does not have it."""
    if Path(model).is_dir() or revision is None:
        return model
    from huggingface_hub import snapshot_download

    try:
        return str(snapshot_download(model, revision=revision, ignore_patterns=["*.pth", "*.bin", "original/*"]))
    except (OSError, ValueError) as error:
        raise UserError(f"cannot get the model {model!r} at {revision}: {str(error).strip().partition(chr(10))[0]}") from error


@contextmanager
def cluster(config: Any) -> Iterator[Any]:
    """Ray, our own or the one that ``RAY_ADDRESS`` names, and TransferQueue; yields the configuration ready for the trainer."""
    import ray
    import transfer_queue as tq
    from omegaconf import OmegaConf
    from verl.trainer.constants_ppo import get_ppo_ray_runtime_env

    OmegaConf.resolve(config)
    config.transfer_queue.enable = True
    options = OmegaConf.to_container(config.ray_kwargs.ray_init)
    environment = get_ppo_ray_runtime_env(config)
    own = ("VERL_PLATFORM", "VERL_USE_EXTERNAL_MODULES", "VERL_LOGGING_LEVEL", "OMP_NUM_THREADS", "TQ_NUM_THREADS")
    passed = [name for name in (*own, *_VLLM_ON_CPU, *NO_USAGE_REPORTS) if name in os.environ]
    environment["env_vars"] |= {"TRANSFER_QUEUE_ENABLE": "1", **{name: os.environ[name] for name in passed}}
    given = {k: v for k, v in (options.pop("runtime_env", None) or {}).items() if v is not None}
    if "RAY_ADDRESS" in os.environ:
        options = {k: v for k, v in options.items() if k not in ("num_cpus", "num_gpus", "include_dashboard", "object_store_memory")}
    else:
        options["address"] = "local"  # not a cluster that somebody else has started on this machine
    ray.init(**options, runtime_env={**environment, **given})
    try:
        tq.init(config.transfer_queue)
        yield config
    finally:
        with suppress(Exception):  # what is behind it may be dead; the failure that matters is on its way
            tq.close()
        ray.shutdown()


def fit(session: VerlSession, config: Any) -> None:
    """Build verl's trainer around the session and train."""
    from verl.trainer.ppo.v1 import AgentLoopManagerTQ, get_trainer_cls
    from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    import backends.verl.trainer  # noqa: F401 - registers itself with verl
    from backends.verl.liveness import Liveness
    from backends.verl.seams import check_seams

    check_seams(PPOTrainerSync, ReplayBuffer)
    trainer = get_trainer_cls(TRAINER)(config)
    trainer.session = session
    session.attach(trainer)
    trainer.init()
    manager = AgentLoopManagerTQ.create(
        config=config,
        llm_client=trainer.get_llm_client(),
        teacher_client=trainer.get_teacher_client(),
        reward_loop_worker_handles=trainer.get_reward_handles(),
    )
    trainer.agent_loop_manager = manager
    trainer.replay_buffer.check_alive = Liveness(trainer.handles())
    trainer.fit(manager)
