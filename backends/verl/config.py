"""verl's configuration of a run: the keys that follow from its spec, Halfway's defaults, and the user's own keys.

A key that follows from the spec is refused in ``execution.engine`` (:mod:`backends.verl.engine_keys`); any other may be set there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from backends.common.adapters import ALL_LINEAR
from backends.common.devices import parse_device
from backends.common.ratios import check_correction
from backends.common.vllm_engine import refuse_nucleus_log_probs
from backends.verl.engine_keys import flatten, refuse_owned_keys
from backends.verl.names import AGENT_LOOP, CPU_ROLLOUT, TRAINER
from harness.errors import UserError, did_you_mean
from harness.spec import AlgorithmSpec, RunSpec
from harness.strategy import Correction

_AGGREGATION = {"token-mean": "token-mean", "sequence-mean": "seq-mean-token-mean", "dr-grpo": "seq-mean-token-sum-norm"}
_DTYPES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
#: verl's default truncates importance weights at 2; no cap is written as a bound that no weight reaches.
NO_CAP = 1e6
#: verl's dual clip (bound on the loss of bad tokens) is not part of GRPO; written as a bound that is never reached.
NO_DUAL_CLIP = 1e9
#: Sequences of full length per GPU and micro-batch, where ``execution.micro_batch_rollouts`` does not say.
GPU_MICRO_BATCH = 8


#: vLLM's CPU build knows no sleep mode, and takes the weights in buckets that a small machine has room for.
_VLLM_ON_CPU: dict[str, Any] = {
    "actor_rollout_ref.rollout.load_format": "safetensors",
    "+actor_rollout_ref.rollout.enable_sleep_mode": False,
    "actor_rollout_ref.rollout.free_cache_engine": False,
    "actor_rollout_ref.rollout.enforce_eager": True,
    "actor_rollout_ref.rollout.max_num_batched_tokens": 2048,
    "actor_rollout_ref.rollout.max_num_seqs": 128,
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes": 64,
}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a run trains: device, processes per node, and whether an existing Ray cluster is used."""

    on_cpu: bool
    nodes: int
    per_node: int

    @classmethod
    def of(cls, spec: RunSpec, gpus: int) -> Placement:
        """From the spec and the number of visible GPUs, 0 for none. Raises UserError where they do not fit."""
        execution = spec.execution
        kind, _ = parse_device(execution.device)
        if execution.processes % execution.nodes:
            raise UserError(
                f"execution.processes = {execution.processes} cannot be spread evenly over nodes = {execution.nodes}; use a multiple"
            )
        if kind == "cuda" and not gpus and "RAY_ADDRESS" not in os.environ:
            raise UserError(f"execution.device = {execution.device!r}, but there is no such GPU here; use auto or cpu")
        on_cpu = kind == "cpu" or (kind == "auto" and not gpus and "RAY_ADDRESS" not in os.environ)
        return cls(on_cpu, execution.nodes, execution.processes // execution.nodes)


def rollout_name(spec: RunSpec, on_cpu: bool) -> str:
    """verl's name of the inference engine. On GPUs the spec's default, ``decoder``, means vLLM.

    Raises UserError for an engine that verl does not have there.
    """
    generation = spec.execution.generation
    if on_cpu:
        if generation not in ("decoder", "vllm"):
            raise UserError(
                f"execution.generation = {generation!r} does not run with verl on a CPU; use decoder there, or vllm with its CPU build"
            )
        return CPU_ROLLOUT if generation == "decoder" else "vllm"
    if generation not in ("decoder", "vllm", "vllm-colocate", "sglang"):
        raise UserError(f"execution.generation = {generation!r} is an engine of the TRL backend; with verl use vllm or sglang")
    return "sglang" if generation == "sglang" else "vllm"


def run_settings(
    spec: RunSpec, correction: Correction | None, placement: Placement, *, model: str, checkpoints: Path, prompt_tokens: int, pool: int
) -> dict[str, Any]:
    """verl's dotted keys that follow from a run's spec; ``correction`` is None where nothing is replayed.

    model: a folder or hub id. checkpoints: the run's folder for them. prompt_tokens: the longest prompt. pool: number of training
    questions. Raises UserError for what verl cannot express.
    """
    algorithm, execution = spec.algorithm, spec.execution
    _refuse(spec, correction)
    name = rollout_name(spec, placement.on_cpu)
    if name == "vllm":
        refuse_nucleus_log_probs(spec)
    return {
        **_adapters(spec, name, placement),
        "algorithm.adv_estimator": "grpo",
        "algorithm.norm_adv_by_std_in_grpo": algorithm.advantage_normalization == "std",
        "algorithm.use_kl_in_reward": False,
        **_correction(correction),
        "data.train_files": [],
        "data.val_files": [],
        "data.custom_cls.path": "pkg://backends.verl.dataset",
        "data.custom_cls.name": "PoolDataset",
        "+data.halfway_pool": pool,
        "data.train_batch_size": algorithm.groups_per_step,
        "data.max_prompt_length": prompt_tokens,
        "data.max_response_length": algorithm.max_completion_tokens,
        "data.dataloader_num_workers": 0,
        "data.seed": spec.seed,
        "data.shuffle": False,
        "actor_rollout_ref.model.path": model,
        **_actor(spec, correction, prompt_tokens, placement),
        "actor_rollout_ref.rollout.name": name,
        "actor_rollout_ref.rollout.mode": "async",
        "actor_rollout_ref.rollout.seed": spec.seed,
        "actor_rollout_ref.rollout.n": algorithm.group_size,
        "actor_rollout_ref.rollout.temperature": algorithm.temperature,
        "actor_rollout_ref.rollout.top_p": algorithm.top_p,
        "actor_rollout_ref.rollout.top_k": -1,
        "actor_rollout_ref.rollout.calculate_log_probs": True,
        "actor_rollout_ref.rollout.val_kwargs.temperature": algorithm.temperature,
        "actor_rollout_ref.rollout.val_kwargs.top_p": algorithm.top_p,
        "actor_rollout_ref.rollout.val_kwargs.do_sample": True,
        "actor_rollout_ref.rollout.agent.default_agent_loop": AGENT_LOOP,
        "actor_rollout_ref.rollout.agent.agent_loop_config_path": str(resources.files("backends.verl") / "agent_loop.yaml"),
        "reward.num_workers": 0,
        "trainer.v1.trainer_mode": TRAINER,
        "trainer.v1.sampler.custom_sampler.path": "pkg://backends.verl.replay_buffer",
        "trainer.v1.sampler.custom_sampler.name": "HalfwayReplayBuffer",
        "trainer.total_training_steps": algorithm.max_steps,
        "trainer.total_epochs": 1_000_000_000,
        "trainer.save_freq": -1,
        "trainer.test_freq": 1,
        "trainer.val_before_train": True,
        "trainer.resume_mode": "disable",
        "trainer.default_local_dir": str(checkpoints),
        "trainer.logger": list(execution.trackers),
        "trainer.project_name": spec.suite,
        "trainer.experiment_name": spec.run_id,
        "trainer.device": "cpu" if placement.on_cpu else "cuda",
        "trainer.nnodes": placement.nodes,
        "trainer.n_gpus_per_node": placement.per_node,
    }


def _adapters(spec: RunSpec, rollout: str, placement: Placement) -> dict[str, Any]:
    """verl's keys of ``model.lora``. The inference engine gets adapters and base weights apart: merged, verl ships them in bfloat16."""
    lora = spec.combination.model.lora
    if lora is None:
        return {}
    if model_engine(spec) == "megatron":
        raise UserError("model.lora trains with verl's FSDP engine; leave model_engine out")
    if placement.on_cpu and rollout == "vllm":
        raise UserError("model.lora with generation = 'vllm' on a CPU is not supported on verl; use generation = 'decoder', or TRL")
    if lora.alpha != int(lora.alpha):
        raise UserError(f"model.lora.alpha = {lora.alpha:g}: verl takes whole numbers only")
    model = "actor_rollout_ref.model"
    modules = list(lora.modules) or ALL_LINEAR
    return {f"{model}.lora_rank": lora.rank, f"{model}.lora_alpha": int(lora.alpha), f"{model}.target_modules": modules}


def default_settings(spec: RunSpec, placement: Placement) -> dict[str, Any]:
    """What Halfway sets because verl's own value does not suit, and ``execution.engine`` may set otherwise."""
    common: dict[str, Any] = {
        "actor_rollout_ref.actor.strategy": "fsdp2",
        "actor_rollout_ref.actor.fsdp_config.strategy": "fsdp2",
        "actor_rollout_ref.rollout.tensor_model_parallel_size": 1,
        "actor_rollout_ref.rollout.dtype": spec.algorithm.precision,
    }
    if spec.execution.gradient_checkpointing is not None:
        common["actor_rollout_ref.model.enable_gradient_checkpointing"] = spec.execution.gradient_checkpointing
    if not placement.on_cpu:
        return common
    if spec.execution.generation == "vllm":
        common |= _VLLM_ON_CPU
    return {
        "actor_rollout_ref.model.enable_gradient_checkpointing": False,
        **common,
        "actor_rollout_ref.model.use_remove_padding": False,  # needs flash-attention
        "+actor_rollout_ref.model.override_config.attn_implementation": "sdpa",
        "actor_rollout_ref.actor.fsdp_config.use_torch_compile": False,
        "actor_rollout_ref.actor.use_torch_compile": False,
        "actor_rollout_ref.rollout.agent.num_workers": 1,
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        # Logical: verl's actors ask for more CPUs than they use.
        "ray_kwargs.ray_init.num_cpus": 16,
        "+ray_kwargs.ray_init.num_gpus": placement.nodes * placement.per_node,
        "+ray_kwargs.ray_init.include_dashboard": False,
    }


def resolve_config(settings: Mapping[str, Any], defaults: Mapping[str, Any], spec: RunSpec) -> Any:
    """verl's whole configuration (an OmegaConf DictConfig): its own files, our defaults, the user's keys, what the run owns."""
    import verl
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    given = dict(flatten(spec.execution.engine))
    refuse_owned_keys(given)
    given.pop("model_engine", None)
    engine = model_engine(spec)
    folder = Path(verl.__file__).parent / "trainer" / "config"
    with initialize_config_dir(config_dir=str(folder), version_base=None):
        config = compose("ppo_trainer", overrides=[f"model_engine={engine}"])
    for key, value in {**_applicable(defaults, config), **given, **settings}.items():
        bare = key.removeprefix("+")
        if not key.startswith("+") and not _exists(config, bare):
            near = did_you_mean(bare, _leaves(config))
            raise UserError(f"execution.engine: verl has no key {bare!r}{near} (write +{bare} to add it all the same)")
        OmegaConf.update(config, bare, value, force_add=True)
    return config


def model_engine(spec: RunSpec) -> str:
    """verl's training engine of a run: ``dp`` (FSDP) unless ``execution.engine`` has ``model_engine = "megatron"``."""
    chosen = spec.execution.engine.get("model_engine", "dp")
    if chosen not in ("dp", "megatron"):
        raise UserError(f"execution.engine: model_engine = {chosen!r}; Halfway knows dp (FSDP, FSDP2) and megatron")
    return str(chosen)


def optimizer_steps(spec: RunSpec) -> int:
    """How often verl's learning-rate schedule advances per training step."""
    return spec.algorithm.updates_per_batch if spec.algorithm.drop_degenerate else 1


def _refuse(spec: RunSpec, correction: Correction | None) -> None:
    algorithm, execution = spec.algorithm, spec.execution
    if algorithm.lr_schedule == "linear":
        raise UserError("verl 0.9.1 has no linear learning-rate schedule; use constant or cosine, or the TRL backend")
    check_correction(spec, correction)
    if algorithm.mask_truncated:
        raise UserError("mask_truncated = true runs on the TRL backend only: verl has no such setting")
    if algorithm.staleness:
        raise UserError(
            f"staleness = {algorithm.staleness} runs on the TRL backend only: verl's synchronous trainer ships its weights to the "
            "inference engine after every step and keeps no older ones, and its asynchronous trainer is not supported"
        )
    if algorithm.groups_per_step % algorithm.updates_per_batch:
        raise UserError(
            f"verl splits a batch by whole groups: groups_per_step = {algorithm.groups_per_step} is not a multiple of "
            f"updates_per_batch = {algorithm.updates_per_batch}"
        )
    rows = algorithm.groups_per_step // algorithm.updates_per_batch * algorithm.group_size
    if rows % execution.processes:
        raise UserError(f"the {rows} rollouts of an update cannot be spread over {execution.processes} processes; use a divisor")
    if correction is not None and correction.clip_center == "one" and correction.weight_cap is not None:
        raise UserError("verl cannot cap importance weights and clip around 1 at once; use clip_center = 'old' or no weight_cap")


def _correction(correction: Correction | None) -> dict[str, Any]:
    """The off-policy correction as verl's rollout correction; its bypass mode, in which μ stands for the old policy, clips π/μ."""
    prefix = "algorithm.rollout_correction"
    if correction is None or correction.ratio == "old":
        return {f"{prefix}.bypass_mode": False, f"{prefix}.rollout_is": None}
    if correction.clip_center == "one":
        return {f"{prefix}.bypass_mode": True, f"{prefix}.rollout_is": None}
    cap = NO_CAP if correction.weight_cap is None else correction.weight_cap
    return {f"{prefix}.bypass_mode": False, f"{prefix}.rollout_is": "token", f"{prefix}.rollout_is_threshold": cap}


def _actor(spec: RunSpec, correction: Correction | None, prompt_tokens: int, placement: Placement) -> dict[str, Any]:
    algorithm = spec.algorithm
    groups = algorithm.groups_per_step // algorithm.updates_per_batch
    micro = spec.execution.micro_batch_rollouts or (groups * algorithm.group_size if placement.on_cpu else GPU_MICRO_BATCH)
    high = algorithm.clip_epsilon if algorithm.clip_epsilon_high is None else algorithm.clip_epsilon_high
    optim = "actor_rollout_ref.actor.optim"
    actor = {
        "ppo_mini_batch_size": groups,
        "use_dynamic_bsz": True,
        "ppo_max_token_len_per_gpu": micro * (prompt_tokens + algorithm.max_completion_tokens),
        "ppo_epochs": 1,
        "shuffle": algorithm.updates_per_batch > 1 and (correction is None or correction.order == "shuffled"),
        "data_loader_seed": spec.seed,
        "policy_loss.loss_mode": _loss_mode(algorithm),
        "clip_ratio": algorithm.clip_epsilon,
        # CISPO bounds its weights from above only; verl's form of it also from below.
        "clip_ratio_low": 1.0 if algorithm.surrogate == "cispo" else algorithm.clip_epsilon,
        "clip_ratio_high": high,
        "clip_ratio_c": NO_DUAL_CLIP,
        "loss_agg_mode": _AGGREGATION[algorithm.loss_aggregation],
        "loss_scale_factor": algorithm.max_completion_tokens if algorithm.loss_aggregation == "dr-grpo" else None,
        "entropy_coeff": 0.0,
        "use_kl_loss": algorithm.kl_coefficient > 0,
        "kl_loss_coef": algorithm.kl_coefficient,
        "kl_loss_type": "low_var_kl",
        "checkpoint.save_contents": ["model", "optimizer", "extra"],
    }
    return {
        **{f"actor_rollout_ref.actor.{key}": value for key, value in actor.items()},
        f"{optim}.lr": algorithm.learning_rate,
        f"{optim}.betas": [algorithm.adam_beta1, algorithm.adam_beta2],
        f"{optim}.weight_decay": algorithm.weight_decay,
        f"{optim}.clip_grad": algorithm.max_grad_norm,
        f"{optim}.lr_warmup_steps": algorithm.warmup_steps * optimizer_steps(spec),
        **(_fsdp(spec) if model_engine(spec) == "dp" else _megatron(spec)),
    }


def _loss_mode(algorithm: AlgorithmSpec) -> str:
    """verl's name of the policy loss."""
    if algorithm.ratio_level == "sequence":
        return "gspo"
    return "cispo" if algorithm.surrogate == "cispo" else "vanilla"


def _fsdp(spec: RunSpec) -> dict[str, Any]:
    """Weights in float32, lower precision by FSDP's mixed precision, gradients reduced in float32."""
    fsdp, optim, algorithm = "actor_rollout_ref.actor.fsdp_config", "actor_rollout_ref.actor.optim", spec.algorithm
    return {
        f"{fsdp}.model_dtype": "fp32",
        f"+{fsdp}.mixed_precision.param_dtype": _DTYPES[algorithm.precision],
        f"+{fsdp}.mixed_precision.reduce_dtype": "fp32",
        f"+{fsdp}.mixed_precision.buffer_dtype": "fp32",
        f"{optim}.lr_scheduler_type": algorithm.lr_schedule,
        "actor_rollout_ref.actor.grad_clip": algorithm.max_grad_norm,
    }


def _megatron(spec: RunSpec) -> dict[str, Any]:
    """Megatron's names of the same; its precision is that of the model's parallelism settings."""
    if spec.algorithm.precision == "float16":
        raise UserError("verl's Megatron engine trains in bfloat16 or float32; use algorithm.precision = 'bfloat16'")
    return {
        "actor_rollout_ref.actor.optim.lr_decay_style": spec.algorithm.lr_schedule,
        "actor_rollout_ref.actor.megatron.dtype": spec.algorithm.precision,
    }


def _applicable(defaults: Mapping[str, Any], config: Any) -> dict[str, Any]:
    """Our defaults without those of another model engine (Megatron has no FSDP settings)."""
    return {key: value for key, value in defaults.items() if key.startswith("+") or _exists(config, key)}


def _exists(config: Any, key: str) -> bool:
    from omegaconf import OmegaConf

    missing = object()
    return OmegaConf.select(config, key, default=missing, throw_on_missing=False) is not missing or key in set(_leaves(config))


def _leaves(config: Any) -> list[str]:
    from omegaconf import OmegaConf

    return [key for key, _ in flatten(OmegaConf.to_container(config, resolve=False))]
