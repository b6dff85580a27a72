"""vLLM under TRL: the settings that TRL's colocated engine is built with, and a run's own keys for it (``execution.engine``).

TRL builds its engine with ``dtype="auto"``, a seed of the rank alone and no way to say otherwise, so the constructor that it calls is
wrapped for that moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from backends.common.vllm_engine import keep_linear_weights, refuse_nucleus_log_probs
from backends.trl.sharding import KEYS as SHARDING
from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.spec import RunSpec

#: Fields of ``GRPOConfig`` that place the engine and change no number; spelled as in TRL.
PLACEMENT = (
    "vllm_gpu_memory_utilization", "vllm_tensor_parallel_size", "vllm_max_model_length", "vllm_enable_sleep_mode", "vllm_model_impl",
    "vllm_server_base_url", "vllm_server_host", "vllm_server_port", "vllm_server_timeout", "vllm_group_port",
)  # fmt: skip

#: Arguments of vLLM's ``LLM`` that follow from the run or from TRL.
OWNED = {
    "model": "the combination's model",
    "revision": "the combination's model",
    "tokenizer": "the combination's model",
    "dtype": "[algorithm] precision",
    "seed": "the run's seed",
    "quantization": "Halfway: the weights that sample are those that are trained",
    "logprobs_mode": "[algorithm] behaviour_log_probs",
    "distributed_executor_backend": "TRL",
    "tensor_parallel_size": "vllm_tensor_parallel_size",
    "gpu_memory_utilization": "vllm_gpu_memory_utilization",
    "max_model_len": "vllm_max_model_length",
    "enable_sleep_mode": "vllm_enable_sleep_mode",
    "model_impl": "vllm_model_impl",
    "max_num_seqs": "TRL: the rollouts of a step",
}

#: On a CPU vLLM would compile the model (minutes) and take a third of the machine's memory for its cache.
_ON_CPU: dict[str, Any] = {"enforce_eager": True, "kv_cache_memory_bytes": 2**30}


def vllm_config(spec: RunSpec, *, use_cpu: bool) -> dict[str, Any]:
    """Fields of ``GRPOConfig`` for a run's vLLM; empty where it samples otherwise.

    TRL's own correction of the mismatch between engine and trainer is off: as on verl and with the decoder, fresh rollouts count as
    sampled by the policy that is trained, and ``fresh_log_ratio`` says how far that holds. Raises UserError for settings that TRL,
    the device or a ledger cannot take.
    """
    given = {key: value for key, value in spec.execution.engine.items() if key not in SHARDING}
    mode = spec.execution.generation.removeprefix("vllm-")
    if not spec.execution.generation.startswith("vllm-"):
        if given:
            raise UserError(
                f"execution.engine: {next(iter(given))!r} is for vLLM; set generation = 'vllm-colocate', or remove it. Without vLLM the "
                "TRL backend takes deepspeed and fsdp_config there"
            )
        return {}
    if mode == "server" and use_cpu:
        raise UserError(
            "generation = 'vllm-server' needs a GPU: TRL sends the server its weights with NCCL, which has no CPU side; use vllm-colocate"
        )
    refuse_nucleus_log_probs(spec)
    arguments = given.pop("vllm", {})
    _check(given, arguments, mode)
    parts = _ranks_per_engine(spec)
    if parts < 1 or spec.execution.processes % parts:
        raise UserError(f"execution.engine: vllm_tensor_parallel_size = {parts} does not divide processes = {spec.execution.processes}")
    return {"use_vllm": True, "vllm_mode": mode, "vllm_importance_sampling_correction": False, **given}


def _check(given: dict[str, Any], arguments: Any, mode: str) -> None:
    if other := next((key for key in given if key not in PLACEMENT), None):
        near = did_you_mean(other, (*PLACEMENT, *SHARDING, "vllm"))
        raise UserError(f"execution.engine: {other!r} is not a setting of TRL's vLLM that a run may choose{near}")
    if not isinstance(arguments, dict):
        raise UserError("execution.engine: vllm must be a table, the arguments of vLLM's LLM")
    if arguments and mode == "server":
        raise UserError("execution.engine: the arguments under vllm are for vllm-colocate; give them to the server when you start it")
    if owned := next((key for key in arguments if key in OWNED), None):
        raise UserError(f"execution.engine: vllm.{owned} is decided by {OWNED[owned]}; remove it there")


@contextmanager
def engine_settings(spec: RunSpec, *, use_cpu: bool) -> Iterator[None]:
    """A colocated engine that TRL builds in the block has the run's precision, seed, revision and own arguments."""
    if spec.execution.generation != "vllm-colocate":
        yield
        return
    from trl.generation import vllm_generation

    if use_cpu:
        keep_linear_weights()
    original = vllm_generation.LLM
    own: Any = spec.execution.engine.get("vllm", {})

    def build(**given: Any) -> Any:
        ours = {"dtype": spec.algorithm.precision, "revision": spec.combination.model.revision}
        # TRL's seed is equal on the ranks that share one engine, and on them only.
        seed = (spec.seed + given.pop("seed", 0)) % 2**31
        return original(**{**given, **(_ON_CPU if use_cpu else {}), **own, **ours, "seed": seed})

    vllm_generation.LLM = build
    try:
        yield
    finally:
        vllm_generation.LLM = original


def rank_seed(spec: RunSpec, seed: int, rank: int) -> int:
    """The seed of a rank's share of a decode: its own, but equal on ranks that share one engine, which must draw alike."""
    return seed + rank // _ranks_per_engine(spec)


def _ranks_per_engine(spec: RunSpec) -> int:
    return int(spec.execution.engine.get("vllm_tensor_parallel_size", 1))  # type: ignore[arg-type]
