"""What the settings of TRL's ``GRPOConfig`` and of verl are called in a suite, and why some of them are not there."""

from __future__ import annotations

_ADAPTERS = "adapters are part of the combination: model = { name = …, lora = { rank = 8, alpha = 16 } }"
_SHARDING = (
    "a run is sharded under [execution.engine]: on TRL with the tables deepspeed or fsdp_config, on verl FSDP2, FSDP and Megatron "
    "in verl's own keys (docs/backends.md)"
)
_LIGER = "Liger's fused loss keeps no log-prob per token, of which replay's weights and the ledger's log-ratios are made"
_STEPS = "groups_per_step (questions of a step), updates_per_batch and [execution] micro_batch_rollouts decide it"

#: Name in a trainer → what to do, as the end of "unknown key …: ".
TRAINER_WORDS: dict[str, str] = {
    **dict.fromkeys(("lora", "lora_rank", "lora_r", "lora_alpha", "lora_target_modules", "peft", "peft_config", "use_peft"), _ADAPTERS),
    **dict.fromkeys(("per_device_train_batch_size", "gradient_accumulation_steps", "train_batch_size", "ppo_mini_batch_size"), _STEPS),
    "steps_per_generation": "it is updates_per_batch",
    "num_iterations": "a batch is trained on once; updates_per_batch splits it, and replay is a strategy (rr)",
    "ppo_epochs": "a batch is trained on once; updates_per_batch splits it, and replay is a strategy (rr)",
    "num_generations": "it is group_size",
    "max_completion_length": "it is max_completion_tokens",
    "max_response_length": "it is max_completion_tokens",
    "max_prompt_length": "it is max_prompt_tokens",
    "beta": "it is kl_coefficient",
    "kl_coef": "it is kl_coefficient",
    "kl_loss_coef": "it is kl_coefficient",
    "epsilon": "it is clip_epsilon",
    "epsilon_high": "it is clip_epsilon_high; with surrogate = 'cispo' the cap is 1 + clip_epsilon_high",
    "scale_rewards": "it is advantage_normalization ('std' or 'none')",
    "loss_type": "it is loss_aggregation ('token-mean' is dapo, 'sequence-mean' is grpo, 'dr-grpo') with surrogate ('clip' or 'cispo')",
    "loss_agg_mode": "it is loss_aggregation",
    "importance_sampling_level": "it is ratio_level ('sequence' is GSPO)",
    "mask_truncated_completions": "it is mask_truncated",
    "overlong_filtering": "it is mask_truncated",
    **dict.fromkeys(("max_staleness", "staleness_threshold", "off_policy_steps", "num_steps_off_policy"), "it is staleness"),
    "gradient_checkpointing": "it stands under [execution]",
    **dict.fromkeys(("deepspeed", "fsdp", "fsdp_config", "zero_stage", "accelerate_config", "accelerator_config"), _SHARDING),
    **dict.fromkeys(("use_liger_kernel", "use_liger_loss", "liger_kernel_config"), _LIGER),
    "entropy_coef": "no strategy here has an entropy bonus, so that arms differ in what they select and replay only",
    "entropy_coeff": "no strategy here has an entropy bonus, so that arms differ in what they select and replay only",
    "top_k": "all tokens are sampled from: stored log-probs are those of the whole distribution",
    "min_p": "all tokens are sampled from: stored log-probs are those of the whole distribution",
    "repetition_penalty": "stored log-probs would not be those of the policy, and replay would weight them wrongly",
    "use_vllm": "it is [execution] generation = 'vllm-colocate' or 'vllm-server'",
    "vllm_mode": "it is [execution] generation = 'vllm-colocate' or 'vllm-server'",
    "bf16": "it is precision = 'bfloat16'",
    "fp16": "it is precision = 'float16'",
    "lr_scheduler_type": "it is lr_schedule",
    "report_to": "it is [execution] trackers",
    "save_steps": "it is [execution] checkpoint_every_steps",
}
