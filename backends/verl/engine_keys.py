"""``execution.engine``: keys of verl's configuration that a user may set, and those that follow from the run's spec.

Parallelism (FSDP, FSDP2, Megatron), memory, the inference engine's arguments and Ray's may be set. A key that would make it another
run, or that Halfway sets itself, is refused with the setting to use instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from harness.errors import UserError

#: Prefix of verl's keys → what decides them in a run spec. Longer prefixes first.
OWNED_KEYS: dict[str, str] = {
    "actor_rollout_ref.actor.checkpoint.save_contents": "Halfway, which resumes from whole checkpoints",
    "actor_rollout_ref.actor.optim": "[algorithm] (learning_rate, lr_schedule, warmup_steps, adam_beta1, adam_beta2, weight_decay)",
    "actor_rollout_ref.actor.grad_clip": "[algorithm] max_grad_norm",
    "actor_rollout_ref.actor.clip_ratio": "[algorithm] clip_epsilon and clip_epsilon_high",
    "actor_rollout_ref.actor.loss_agg_mode": "[algorithm] loss_aggregation",
    "actor_rollout_ref.actor.loss_scale_factor": "[algorithm] loss_aggregation",
    "actor_rollout_ref.actor.policy_loss": "[algorithm] ratio_level and surrogate",
    "actor_rollout_ref.actor.use_kl_loss": "[algorithm] kl_coefficient",
    "actor_rollout_ref.actor.kl_loss": "[algorithm] kl_coefficient",
    "actor_rollout_ref.actor.entropy_coeff": "Halfway: no strategy here has an entropy bonus",
    "actor_rollout_ref.actor.ppo_mini_batch_size": "[algorithm] updates_per_batch",
    "actor_rollout_ref.actor.ppo_epochs": "[algorithm] updates_per_batch",
    "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": "[execution] micro_batch_rollouts",
    "actor_rollout_ref.actor.ppo_micro_batch_size": "[execution] micro_batch_rollouts",
    "actor_rollout_ref.actor.use_dynamic_bsz": "[execution] micro_batch_rollouts",
    "actor_rollout_ref.actor.shuffle": "[algorithm] updates_per_batch and the strategy's correction",
    "actor_rollout_ref.actor.data_loader_seed": "the run's seed",
    "actor_rollout_ref.model.path": "the combination's model",
    "actor_rollout_ref.model.lora": "the combination's model.lora",
    "actor_rollout_ref.model.target": "the combination's model.lora.modules",
    "actor_rollout_ref.model.exclude_modules": "the combination's model.lora.modules",
    "actor_rollout_ref.rollout.name": "[execution] generation",
    "actor_rollout_ref.rollout.mode": "[execution] generation",
    "actor_rollout_ref.rollout.seed": "the run's seed",
    "actor_rollout_ref.rollout.logprobs_mode": "[algorithm] behaviour_log_probs",
    "actor_rollout_ref.rollout.n": "[algorithm] group_size",
    "actor_rollout_ref.rollout.temperature": "[algorithm] temperature",
    "actor_rollout_ref.rollout.top_p": "[algorithm] top_p",
    "actor_rollout_ref.rollout.top_k": "Halfway: all tokens are sampled from, as in TRL",
    "actor_rollout_ref.rollout.do_sample": "[algorithm] temperature",
    "actor_rollout_ref.rollout.ignore_eos": "Halfway: a completion ends at the end token",
    "actor_rollout_ref.rollout.prompt_length": "[algorithm] max_prompt_tokens",
    "actor_rollout_ref.rollout.response_length": "[algorithm] max_completion_tokens",
    "actor_rollout_ref.rollout.calculate_log_probs": "Halfway: replay needs μ",
    "actor_rollout_ref.rollout.val_kwargs": "[evaluation]",
    "actor_rollout_ref.rollout.agent.default_agent_loop": "Halfway, whose prompts are token ids",
    "actor_rollout_ref.rollout.agent.agent_loop": "Halfway, whose prompts are token ids",
    "algorithm": "[algorithm] and the strategy's correction",
    "critic": "Halfway: GRPO has no critic",
    "data": "the combination's task and [algorithm] groups_per_step",
    "distillation": "Halfway: nothing is distilled",
    "reward": "the task's reward, scored by Halfway",
    "skip": "Halfway: every rollout is made",
    "trainer.v1": "the strategy",
    "trainer.use_v1": "Halfway, which builds on the v1 trainer",
    "trainer.total": "[algorithm] max_steps",
    "trainer.save_freq": "[execution] checkpoint_every_steps",
    "trainer.test_freq": "[evaluation] every_steps",
    "trainer.val": "[evaluation]",
    "trainer.resume": "Halfway, which resumes from whole checkpoints",
    "trainer.default_local_dir": "Halfway, which resumes from whole checkpoints",
    "trainer.logger": "[execution] trackers",
    "trainer.device": "[execution] device",
    "trainer.nnodes": "[execution] nodes",
    "trainer.n_gpus_per_node": "[execution] processes and nodes",
}


def refuse_owned_keys(given: Mapping[str, Any]) -> None:
    """Raise UserError for a key that a run owns, naming the setting to use instead."""
    for key in given:
        bare = key.removeprefix("+")
        owner = next((prefix for prefix in OWNED_KEYS if bare == prefix or bare.startswith((f"{prefix}.", f"{prefix}_"))), None)
        if owner is not None:
            raise UserError(f"execution.engine: {bare} is decided by {OWNED_KEYS[owner]}; remove it there")


def flatten(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a table whose keys may be dotted or nested."""
    for key, value in table.items():
        path = f"{prefix}.{key}" if prefix else key
        if isinstance(value, Mapping):
            yield from flatten(value, path)
        else:
            yield path, value
