"""TRL's configuration of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate.utils import parse_flag_from_env
from trl import GRPOConfig

from backends.trl.sharding import sharding_config
from backends.trl.vllm import vllm_config
from harness.errors import UserError
from harness.spec import RunSpec

#: CISPO is a loss type of its own in TRL, aggregated as token-mean.
_LOSS_TYPES = {"token-mean": "dapo", "sequence-mean": "grpo", "dr-grpo": "dr_grpo"}
_SCHEDULES = {"constant": "constant_with_warmup", "linear": "linear", "cosine": "cosine"}


def rows_per_update(spec: RunSpec, world: int) -> int:
    """Rollouts of one optimizer step on one rank. Raises UserError where a batch cannot be split into whole groups and equal updates."""
    algorithm = spec.algorithm
    if algorithm.groups_per_step % world:
        raise UserError(
            f"groups_per_step = {algorithm.groups_per_step} cannot be spread over {world} processes in whole groups; "
            f"use a multiple of {world}"
        )
    local = algorithm.groups_per_step // world * algorithm.group_size
    if local % algorithm.updates_per_batch:
        raise UserError(
            f"{local} rollouts per process cannot be split into updates_per_batch = {algorithm.updates_per_batch}; use a divisor of {local}"
        )
    return local // algorithm.updates_per_batch


def grpo_config(spec: RunSpec, output: Path, world: int, use_cpu: bool) -> GRPOConfig:
    """``GRPOConfig`` of a run on ``world`` ranks. One training step is one generation batch and ``updates_per_batch`` optimizer steps.

    Raises UserError for settings that TRL cannot express.
    """
    algorithm, execution = spec.algorithm, spec.execution
    _refuse_verl_settings(spec)
    _refuse_staleness(spec)
    _refuse_sharding()
    high = algorithm.clip_epsilon if algorithm.clip_epsilon_high is None else algorithm.clip_epsilon_high
    cispo, checkpointing = algorithm.surrogate == "cispo", execution.gradient_checkpointing
    rows = rows_per_update(spec, world)
    micro = min(execution.micro_batch_rollouts or rows, rows)
    if rows % micro:
        raise UserError(f"micro_batch_rollouts = {micro} does not divide the {rows} rollouts of an update; use a divisor")
    accumulation = rows // micro
    shards = sharding_config(spec)
    return GRPOConfig(
        output_dir=str(output),
        seed=spec.seed,
        use_cpu=use_cpu and not shards,  # accelerate shards on what it does not take for a CPU; see shard_on_cpu
        bf16=algorithm.precision == "bfloat16",
        fp16=algorithm.precision == "float16",
        max_steps=algorithm.max_steps * algorithm.updates_per_batch,
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=accumulation,
        steps_per_generation=accumulation * algorithm.updates_per_batch,
        num_generations=algorithm.group_size,
        max_completion_length=algorithm.max_completion_tokens,
        temperature=algorithm.temperature,
        top_p=algorithm.top_p,
        learning_rate=algorithm.learning_rate,
        lr_scheduler_type=_SCHEDULES[algorithm.lr_schedule],
        warmup_steps=algorithm.warmup_steps * algorithm.updates_per_batch,
        adam_beta1=algorithm.adam_beta1,
        adam_beta2=algorithm.adam_beta2,
        weight_decay=algorithm.weight_decay,
        max_grad_norm=algorithm.max_grad_norm,
        epsilon=algorithm.clip_epsilon,
        # TRL's cap of CISPO is the largest ratio itself.
        epsilon_high=1.0 + high if cispo else algorithm.clip_epsilon_high,
        beta=algorithm.kl_coefficient,
        scale_rewards="group" if algorithm.advantage_normalization == "std" else "none",
        loss_type="cispo" if cispo else _LOSS_TYPES[algorithm.loss_aggregation],
        importance_sampling_level=algorithm.ratio_level,
        mask_truncated_completions=algorithm.mask_truncated,
        shuffle_dataset=False,  # the dataset is in the run's own order already (harness.strategies.uniform.pool_order)
        gradient_checkpointing=not use_cpu if checkpointing is None else checkpointing,
        save_strategy="steps",
        save_steps=execution.checkpoint_every_steps * algorithm.updates_per_batch,
        save_total_limit=None,  # old checkpoints go when the new one is complete (harness.records.checkpoint.prune), not before
        logging_steps=algorithm.updates_per_batch,
        report_to=list(execution.trackers),
        run_name=spec.title,
        project=f"halfway-{spec.suite}",
        disable_tqdm=True,
        log_level="error",
        **_reference(spec),
        **shards,
        **vllm_config(spec, use_cpu=use_cpu),
    )


def _reference(spec: RunSpec) -> dict[str, Any]:
    """What TRL loads the reference model of a KL term with: it knows the policy's name, but not the commit that it was loaded from."""
    revision = spec.combination.model.revision
    return {"model_init_kwargs": {"revision": revision}} if spec.algorithm.kl_coefficient and revision else {}


#: What ``accelerate launch`` and its users' shells set; accelerate shards the model where one of them is true.
_SHARDS = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_USE_MEGATRON_LM")


def _refuse_sharding() -> None:
    """Where the shell would have accelerate shard the model without a word of it in the run's spec."""
    found = next((name for name in _SHARDS if parse_flag_from_env(name)), None)
    if found is not None:
        raise UserError(
            f"{found} is set, but a run says itself how it is sharded: unset it and write deepspeed or fsdp_config under "
            "[execution.engine] (processes = N starts N of them), or use backend = 'verl'"
        )


def _refuse_staleness(spec: RunSpec) -> None:
    """Where rollouts cannot come from older weights, or have no weight in the loss."""
    lag = spec.algorithm.staleness
    if lag and spec.execution.generation.startswith("vllm"):
        raise UserError(
            f"staleness = {lag} needs execution.generation = 'decoder' or 'generate' on the TRL backend: its vLLM samples from the weights "
            "of the present step only"
        )
    if lag and spec.algorithm.ratio_level == "sequence":
        raise UserError(
            f"staleness = {lag} weights rollouts token by token, and ratio_level = 'sequence' knows one ratio per completion; "
            "use ratio_level = 'token' or staleness = 0"
        )


def _refuse_verl_settings(spec: RunSpec) -> None:
    """Settings of the verl backend are refused rather than ignored."""
    execution = spec.execution
    if execution.generation in ("vllm", "sglang"):
        raise UserError(
            f"execution.generation = {execution.generation!r} is an engine of the verl backend; with TRL use vllm-colocate or vllm-server"
        )
    if execution.nodes != 1:
        raise UserError("execution.nodes is for the verl backend; the TRL backend trains on one machine")
