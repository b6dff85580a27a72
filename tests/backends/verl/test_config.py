"""The configuration that verl is given: the paper's settings in its keys, what may be passed on, what is refused and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backends.verl.config import Placement, default_settings, run_settings
from backends.verl.config_preview import preview
from harness.errors import UserError
from harness.spec import LoraSpec, ModelSpec, RunSpec
from harness.strategy import Correction
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan
from harness.testing.backend_contract import contract_spec

ARMS = {(run.combination.name, run.strategy.label): run for run in plan(load_suite(find_suite("paper")))}


def with_(spec: RunSpec, section: str, **values: Any) -> RunSpec:
    """A spec with some settings changed."""
    changed = getattr(spec, section).model_copy(update=values)
    return RunSpec.model_validate(spec.model_copy(update={section: changed}).model_dump())


def keys(spec: RunSpec, correction: Correction | None = None, on_cpu: bool = True) -> dict[str, Any]:
    return run_settings(spec, correction, Placement(on_cpu, 1, 1), model="model", checkpoints=Path(), prompt_tokens=16, pool=96)


@pytest.mark.parametrize("arm", ARMS, ids="/".join)
def test_verl_accepts_every_arm_of_the_paper(arm: tuple[str, str]) -> None:
    """All six combinations with all four strategies pass verl's own validate_config, on 8 GPUs."""
    found = preview(ARMS[arm])["config"]
    assert found["trainer"]["n_gpus_per_node"] == 8
    assert found["actor_rollout_ref"]["rollout"]["name"] == "vllm"


def test_the_papers_settings_are_verls_keys() -> None:
    """Table 4 of the paper: 512 questions a step, mini-batches of 64, 8 rollouts, 1e-6, sampling at .6/.95, no KL."""
    found = preview(ARMS["qwen2.5-math-1.5b-math", "grpo"])["config"]
    actor, rollout = found["actor_rollout_ref"]["actor"], found["actor_rollout_ref"]["rollout"]
    assert found["data"]["train_batch_size"] == 512
    assert (found["data"]["max_prompt_length"], found["data"]["max_response_length"]) == (1024, 3072)
    assert (actor["ppo_mini_batch_size"], actor["ppo_epochs"]) == (64, 1)
    assert (actor["optim"]["lr"], actor["optim"]["weight_decay"], actor["use_kl_loss"]) == (1e-6, 0.0, False)
    assert (rollout["n"], rollout["temperature"], rollout["top_p"]) == (8, 0.6, 0.95)
    assert found["algorithm"]["norm_adv_by_std_in_grpo"] is False
    assert found["algorithm"]["rollout_correction"]["rollout_is"] is None


def test_the_corrections_are_verls_own_settings() -> None:
    """code: token weights that nothing truncates; capped: truncated there; paper: verl's bypass mode; no dual clip in any."""
    prefix = "algorithm.rollout_correction."
    code, capped, paper = (keys(contract_spec("verl"), c) for c in (Correction("old"), Correction("old", 2.0), Correction("one")))
    assert (code[prefix + "rollout_is"], code[prefix + "rollout_is_threshold"], code[prefix + "bypass_mode"]) == ("token", 1e6, False)
    assert capped[prefix + "rollout_is_threshold"] == 2.0
    assert paper[prefix + "bypass_mode"] is True
    on_policy = keys(contract_spec("verl"), Correction(ratio="old"))
    assert (on_policy[prefix + "rollout_is"], on_policy[prefix + "bypass_mode"]) == (None, False)
    shuffle = "actor_rollout_ref.actor.shuffle"
    assert (code[shuffle], keys(contract_spec("verl"), Correction(order="fresh-first"))[shuffle]) == (True, False)
    assert all(found["actor_rollout_ref.actor.clip_ratio_c"] == 1e9 for found in (code, capped, paper))


ENGINES: list[dict[str, Any]] = [
    {"actor_rollout_ref.actor.strategy": "fsdp", "actor_rollout_ref.actor.fsdp_config.strategy": "fsdp"},
    {"actor_rollout_ref.actor.fsdp_config.param_offload": True, "actor_rollout_ref.rollout.gpu_memory_utilization": 0.8},
    {"actor_rollout_ref": {"rollout": {"tensor_model_parallel_size": 2}}},  # as TOML nests dotted keys
    {
        "model_engine": "megatron",
        "actor_rollout_ref.actor.strategy": "megatron",
        "actor_rollout_ref.actor.megatron.tensor_model_parallel_size": 2,
    },
    {"+actor_rollout_ref.rollout.engine_kwargs.vllm.disable_mm_preprocessor_cache": True},
]


@pytest.mark.parametrize("engine", ENGINES)
def test_engine_settings_are_passed_on(engine: dict[str, Any]) -> None:
    """FSDP, FSDP2, Megatron and the inference engine's own arguments reach verl, which accepts them."""
    spec = with_(ARMS["qwen2.5-math-1.5b-math", "grpo"], "execution", engine=engine)
    actor = preview(spec)["config"]["actor_rollout_ref"]
    if "model_engine" in engine:
        assert (actor["actor"]["strategy"], actor["actor"]["megatron"]["tensor_model_parallel_size"]) == ("megatron", 2)
    if "actor_rollout_ref" in engine:
        assert actor["rollout"]["tensor_model_parallel_size"] == 2


def test_sglang_and_several_nodes() -> None:
    """The engine by name, the processes spread over nodes."""
    spec = with_(ARMS["qwen2.5-math-1.5b-math", "grpo"], "execution", generation="sglang", nodes=2, processes=16)
    found = preview(spec)["config"]
    assert found["actor_rollout_ref"]["rollout"]["name"] == "sglang"
    assert (found["trainer"]["nnodes"], found["trainer"]["n_gpus_per_node"]) == (2, 8)


@pytest.mark.parametrize(
    ("engine", "words"),
    [
        ({"actor_rollout_ref.rollout.temperature": 0.7}, r"rollout\.temperature is decided by \[algorithm\] temperature"),
        ({"trainer": {"total_epochs": 3}}, r"trainer\.total_epochs is decided by \[algorithm\] max_steps"),
        ({"algorithm.adv_estimator": "gae"}, r"decided by \[algorithm\] and the strategy's correction"),
        ({"actor_rollout_ref.rollout.gpu_memory_utilisation": 0.8}, r"did you mean '.*gpu_memory_utilization'"),
        ({"actor_rollout_ref.model.lora_rank": 8}, r"model\.lora_rank is decided by the combination's model\.lora"),
        ({"actor_rollout_ref.rollout.ignore_eos": True}, "rollout.ignore_eos is decided by Halfway: a completion ends"),
        ({"model_engine": "veomni"}, "dp .*and megatron"),
    ],
)
def test_what_the_run_owns_is_refused(engine: dict[str, Any], words: str) -> None:
    """A key that would change which run it is, or that verl does not have, is one sentence with what to do."""
    with pytest.raises(UserError, match=words):
        preview(with_(ARMS["qwen2.5-math-1.5b-math", "grpo"], "execution", engine=engine))


def test_verls_own_refusal_is_passed_on() -> None:
    """What validate_config raises becomes a sentence: sequence parallelism needs unpadded batches."""
    engine = {"actor_rollout_ref.actor.ulysses_sequence_parallel_size": 2, "actor_rollout_ref.model.use_remove_padding": False}
    with pytest.raises(UserError, match=r"verl does not accept this configuration: .*use_remove_padding"):
        preview(with_(ARMS["qwen2.5-math-1.5b-math", "grpo"], "execution", engine=engine))


def adapted(spec: RunSpec, **lora: Any) -> RunSpec:
    model = ModelSpec(name="embedded:llama-64x2", lora=LoraSpec(**{"rank": 4, **lora}))
    return spec.model_copy(update={"combination": spec.combination.model_copy(update={"model": model})})


def test_adapters_in_verls_words() -> None:
    """Rank, scale and layers; the engine gets them as adapters, not merged."""
    spec = contract_spec("verl")
    found = keys(adapted(spec, alpha=32.0, modules=("q_proj",)))
    model = "actor_rollout_ref.model"
    assert (found[f"{model}.lora_rank"], found[f"{model}.lora_alpha"], found[f"{model}.target_modules"]) == (4, 32, ["q_proj"])
    assert keys(adapted(spec))[f"{model}.target_modules"] == "all-linear"
    assert not any("lora" in key for key in keys(spec))


def test_what_verl_cannot_express_is_refused() -> None:
    """Each refusal names the setting and a way out."""
    spec = contract_spec("verl")
    with pytest.raises(UserError, match="no linear learning-rate schedule"):
        keys(with_(spec, "algorithm", lr_schedule="linear"))
    with pytest.raises(UserError, match="mask_truncated = true runs on the TRL backend only"):
        keys(with_(spec, "algorithm", mask_truncated=True))
    gspo = with_(spec, "algorithm", ratio_level="sequence", loss_aggregation="sequence-mean")
    with pytest.raises(UserError, match=r"weights replayed rollouts token by token.*use clip_center = 'one'"):
        keys(gspo, Correction("old"))
    with pytest.raises(UserError, match=r"model\.lora\.alpha = 2\.5: verl takes whole numbers"):
        keys(adapted(spec, alpha=2.5))
    with pytest.raises(UserError, match=r"model\.lora trains with verl's FSDP engine"):
        keys(with_(adapted(spec), "execution", engine={"model_engine": "megatron"}))
    with pytest.raises(UserError, match=r"generation = 'vllm' on a CPU is not supported on verl"):
        keys(with_(adapted(spec), "execution", generation="vllm"))
    with pytest.raises(UserError, match="staleness = 2 runs on the TRL backend only"):
        keys(with_(spec, "algorithm", staleness=2))
    with pytest.raises(UserError, match="multiple of updates_per_batch = 16"):
        keys(with_(spec, "algorithm", updates_per_batch=16))
    with pytest.raises(UserError, match="cannot be spread over 3 processes"):
        keys(with_(spec, "execution", processes=3))
    with pytest.raises(UserError, match="clip_center = 'old' or no weight_cap"):
        keys(spec, Correction("one", 2.0))
    with pytest.raises(UserError, match="not run with verl on a CPU"):
        keys(with_(spec, "execution", generation="vllm-server"))
    nucleus = with_(with_(spec, "algorithm", top_p=0.9), "execution", generation="vllm")
    with pytest.raises(UserError, match=r"vLLM's log-probs are those of the nucleus.*behaviour_log_probs = 'actor'"):
        keys(nucleus)
    assert keys(with_(nucleus, "algorithm", behaviour_log_probs="actor"))["actor_rollout_ref.rollout.seed"] == spec.seed
    with pytest.raises(UserError, match="with verl use vllm or sglang"):
        keys(with_(spec, "execution", generation="generate"), on_cpu=False)


@pytest.mark.parametrize(("asked", "on_gpus", "on_a_cpu"), [(None, True, False), (True, True, True), (False, False, False)])
def test_gradient_checkpointing(asked: bool | None, on_gpus: bool, on_a_cpu: bool) -> None:
    """On GPUs, where it is verl's default, unless it is asked for otherwise."""
    spec = with_(ARMS["qwen2.5-math-1.5b-math", "grpo"], "execution", gradient_checkpointing=asked)
    assert preview(spec)["config"]["actor_rollout_ref"]["model"]["enable_gradient_checkpointing"] is on_gpus
    on_cpu = default_settings(spec, Placement(True, 1, 1))
    assert on_cpu["actor_rollout_ref.model.enable_gradient_checkpointing"] is on_a_cpu


def test_places() -> None:
    """The CPU where there is no GPU or it is asked for; GPUs where they are; nodes must divide the processes."""
    spec = contract_spec("verl")
    assert Placement.of(spec, 0) == Placement(True, 1, 1)
    assert Placement.of(spec, 4) == Placement(False, 1, 1)
    assert Placement.of(with_(spec, "execution", device="cpu"), 4).on_cpu
    assert Placement.of(with_(spec, "execution", processes=4, nodes=2), 2) == Placement(False, 2, 2)
    with pytest.raises(UserError, match="no such GPU here"):
        Placement.of(with_(spec, "execution", device="cuda"), 0)
    with pytest.raises(UserError, match="spread evenly over nodes"):
        Placement.of(with_(spec, "execution", processes=3, nodes=2), 2)
