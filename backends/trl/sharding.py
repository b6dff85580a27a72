"""DeepSpeed (ZeRO) and FSDP2 under TRL: a run's tables for them in ``execution.engine``, and whole weights where rollouts are sampled.

Both change where weights, gradients and optimizer states lie, and no number of a run beyond rounding. What they would change otherwise
(optimizer, schedule, batch sizes, precision, quantised communication) stays with the suite and is refused in their tables.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Literal

from packaging.version import Version
from pydantic import BaseModel, Field, ValidationError

from harness.errors import UserError, did_you_mean
from harness.spec import Settings
from harness.validation import explain

if TYPE_CHECKING:
    from harness.spec import RunSpec

#: Fields of ``GRPOConfig``, spelled as there. Either one switches its library on.
KEYS = ("deepspeed", "fsdp_config")

#: Sections of DeepSpeed's configuration that follow from the run. transformers fills in what is "auto".
_OWNED_BY_RUN = {
    "optimizer": "[algorithm] learning_rate, adam_beta1, adam_beta2 and weight_decay, of torch's AdamW",
    "scheduler": "[algorithm] lr_schedule and warmup_steps",
    "gradient_clipping": "[algorithm] max_grad_norm",
    "bf16": "[algorithm] precision",
    "fp16": "[algorithm] precision",
    "train_batch_size": "[algorithm] groups_per_step and updates_per_batch",
    "train_micro_batch_size_per_gpu": "[execution] micro_batch_rollouts",
    "gradient_accumulation_steps": "[execution] micro_batch_rollouts",
}
_AUTO = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping")
#: Sections that move or report and change no number.
_PASSED_ON = (
    "zero_optimization", "zero_allow_untested_optimizer", "activation_checkpointing", "aio", "steps_per_print", "wall_clock_breakdown",
    "comms_logger", "flops_profiler", "dump_state", "memory_breakdown",
)  # fmt: skip
#: Keys of ``zero_optimization`` that round weights or gradients, or update with old ones.
_ZERO_CHANGES_NUMBERS = ("zero_quantized_weights", "zero_quantized_nontrainable_weights", "zero_quantized_gradients", "zenflow")

#: Earlier transformers drop half of the table, without a word.
_FSDP_NEEDS = Version("5.10")


class _FsdpTable(Settings):
    """``fsdp_config``: the keys that move weights and nothing else. transformers itself takes any key, misspelled ones too."""

    version: Literal[2] = 2
    auto_wrap_policy: Literal["TRANSFORMER_BASED_WRAP", "SIZE_BASED_WRAP", "NO_WRAP"] = "TRANSFORMER_BASED_WRAP"
    transformer_layer_cls_to_wrap: tuple[str, ...] | None = Field(default=None, min_length=1, strict=False)
    min_num_params: int = Field(default=0, ge=0)
    reshard_after_forward: bool = True


def kind_of(spec: RunSpec) -> Literal["deepspeed", "fsdp"] | None:
    """What shards this run. Raises UserError where its engine names both."""
    engine = spec.execution.engine
    if all(key in engine for key in KEYS):
        raise UserError("execution.engine: deepspeed and fsdp_config both shard the model; keep one of them")
    return "deepspeed" if "deepspeed" in engine else "fsdp" if "fsdp_config" in engine else None


def sharding_config(spec: RunSpec) -> dict[str, Any]:
    """Fields of ``GRPOConfig`` that shard a run; empty where every process holds the whole model.

    Raises UserError for what a table may not hold and for settings of the run that sharded weights cannot serve.
    """
    kind = kind_of(spec)
    if kind is None:
        return {}
    if spec.algorithm.precision != "float32":
        raise UserError(
            f"precision = {spec.algorithm.precision!r}: under shards TRL rounds log-probs and gradients otherwise than without, and replay "
            "weights rollouts by such log-probs; use float32, or backend = 'verl', which shards in bfloat16 and reduces in float32"
        )
    fields = {"deepspeed": _deepspeed(spec)} if kind == "deepspeed" else {"fsdp": True, "fsdp_config": _fsdp(spec)}
    if spec.algorithm.staleness and not _keeps_weights_whole(fields):
        raise UserError(
            f"staleness = {spec.algorithm.staleness} keeps copies of whole weights, which ZeRO 3 and FSDP take apart; "
            "use ZeRO 1 or 2, or staleness = 0"
        )
    if kind == "fsdp" and spec.combination.model.lora and spec.execution.generation.startswith("vllm"):
        raise UserError(
            "model.lora with fsdp_config and vLLM: TRL cannot merge sharded adapters for vLLM; use deepspeed, or another generation"
        )
    return fields


def require_sharding(spec: RunSpec) -> None:
    """Raise UserError where a run's tables cannot be used here: before anything is prepared, and in the words of the table's library."""
    kind, fields = kind_of(spec), sharding_config(spec)
    if kind == "fsdp" and Version(importlib.metadata.version("transformers")) < _FSDP_NEEDS:
        raise UserError(f"execution.engine.fsdp_config needs transformers {_FSDP_NEEDS} or later; pip install -U transformers")
    if kind != "deepspeed":
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError("execution.engine.deepspeed asks for DeepSpeed, which is not installed here; pip install 'halfway[deepspeed]'")
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    try:
        DeepSpeedZeroConfig(**_without_auto(fields["deepspeed"]["zero_optimization"]))
    except ValidationError as error:
        raise UserError(f"execution.engine.deepspeed: zero_optimization.{_in_words(error, DeepSpeedZeroConfig)}") from error


def _in_words(error: ValidationError, model: type[BaseModel]) -> str:
    where, words = explain(error.errors()[0], model)
    return f"{'.'.join(map(str, where))}: {words}"


def _without_auto(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table without what transformers will fill in."""
    return {key: _without_auto(value) if isinstance(value, dict) else value for key, value in table.items() if value != "auto"}


def _keeps_weights_whole(fields: Mapping[str, Any]) -> bool:
    return "deepspeed" in fields and fields["deepspeed"]["zero_optimization"]["stage"] < 3


def _deepspeed(spec: RunSpec) -> dict[str, Any]:
    """A new DeepSpeed configuration: the run's table, with what follows from the run left to transformers ("auto")."""
    table = _table(spec, "deepspeed", "{ zero_optimization = { stage = 3 } }")
    for key, value in table.items():
        if key in _OWNED_BY_RUN and not _left_to_the_run(key, value):
            raise UserError(f'execution.engine.deepspeed: {key} is decided by {_OWNED_BY_RUN[key]}; remove it, or write "auto"')
        if key not in (*_OWNED_BY_RUN, *_PASSED_ON):
            near = did_you_mean(key, (*_OWNED_BY_RUN, *_PASSED_ON))
            raise UserError(f"execution.engine.deepspeed: {key!r} is not a section that a run may choose{near}")
    zero = table.get("zero_optimization")
    stage = zero.get("stage") if isinstance(zero, dict) else None
    if stage not in (1, 2, 3) or isinstance(stage, bool):
        raise UserError(f"execution.engine.deepspeed: zero_optimization.stage = {stage!r}; it shards with 1, 2 or 3")
    assert isinstance(zero, dict)
    if other := next((key for key in _ZERO_CHANGES_NUMBERS if zero.get(key)), None):
        raise UserError(f"execution.engine.deepspeed: zero_optimization.{other} changes what is trained, not where it lies; remove it")
    gathered = {"stage3_gather_16bit_weights_on_model_save": True} if stage == 3 else {}  # a checkpoint has a model, as without shards
    # With an offloaded optimizer DeepSpeed asks for its own Adam, which is another one than the suite's.
    own = {"zero_force_ds_cpu_optimizer": False, "zero_optimization": {**zero, **gathered}}
    return {**dict.fromkeys(_AUTO, "auto"), **table, **own}


def _left_to_the_run(key: str, value: object) -> bool:
    """Whether a section leaves to transformers what the suite decides, or says the same: sharded runs are in float32."""
    if key in ("bf16", "fp16") and isinstance(value, dict):  # files of others have settings of the loss scale there
        return value.get("enabled") in ("auto", False) and "bf16_master_weights_and_grads" not in value
    return value == "auto"


def _fsdp(spec: RunSpec) -> dict[str, Any]:
    try:
        checked = _FsdpTable(**_table(spec, "fsdp_config", "{}"))
    except ValidationError as error:
        raise UserError(f"execution.engine.fsdp_config: {_in_words(error, _FsdpTable)}") from error
    if checked.min_num_params and checked.auto_wrap_policy != "SIZE_BASED_WRAP":
        raise UserError("execution.engine.fsdp_config: min_num_params is for auto_wrap_policy = 'SIZE_BASED_WRAP'")
    return {**checked.model_dump(mode="json", exclude_none=True), "state_dict_type": "FULL_STATE_DICT"}


def _table(spec: RunSpec, key: str, example: str) -> dict[str, Any]:
    given: Any = spec.execution.engine[key]
    if isinstance(given, dict):
        return dict(given)
    raise UserError(f"execution.engine.{key} = {given!r} must be the table itself, so that the run's records hold it: {key} = {example}")


def shard_on_cpu() -> None:
    """Let this process's accelerate shard on the CPU: it does so on accelerators only, though the same classes run over gloo.

    For tests and ``--smoke``: on a CPU sharding saves nothing that a run would miss.
    """
    from accelerate.state import PartialState
    from accelerate.utils import DistributedType

    def prepare_backend(_state: Any, *_: Any, **__: Any) -> tuple[str, Any]:
        # FSDP is looked for behind this type alone; the device is named below and not derived from it.
        return "gloo", DistributedType.MULTI_GPU

    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    os.environ["DS_ACCELERATOR"] = "cpu"
    PartialState._prepare_backend = prepare_backend


def whole_weights(trainer: Any, *, in_trl: bool = False) -> AbstractContextManager[Any]:
    """A block in which every rank has all weights, whatever shards them; all ranks enter it together.

    Without this the ranks would fetch each layer together at every forward pass, and wait for ever where one decodes for longer.
    in_trl: the block is TRL's own ``generate``, which gathers the weights of ZeRO 3 itself.
    """
    accelerator = trainer.accelerator
    if accelerator.is_fsdp2:
        return _unsharded(trainer.model_wrapped)
    plugin = accelerator.state.deepspeed_plugin
    if plugin is not None and plugin.zero_stage == 3 and not in_trl:
        from trl.models import unwrap_model_for_generation

        gathered: AbstractContextManager[Any] = unwrap_model_for_generation(trainer.model_wrapped, accelerator)
        return gathered
    return nullcontext()


@contextmanager
def _unsharded(model: Any) -> Iterator[None]:
    """FSDP2's parts with their weights gathered; afterwards each reshards after its forward pass as it did (not all of them do)."""
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    states = [part._get_fsdp_state() for part in parts]
    before = [(s, s._auto_reshard_after_forward, [g.post_forward_mesh_info for g in s._fsdp_param_groups]) for s in states]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
        for state, automatic, meshes in before:
            state._auto_reshard_after_forward = automatic
            for group, mesh in zip(state._fsdp_param_groups, meshes, strict=True):
                group.post_forward_mesh_info = mesh
