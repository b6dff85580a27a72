"""DeepSpeed (ZeRO) and FSDP2 under TRL: a run's tables for them in ``execution.engine``, and whole weights where rollouts are sampled.

Both change where weights, gradients and optimizer states lie, and no number of a run beyond rounding. What they would change otherwise
(optimizer, schedule, batch sizes, precision) stays with the suite and is refused in their tables.
"""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from harness.errors import UserError, did_you_mean

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

#: Keys of ``fsdp_config`` that move weights and nothing else; transformers takes any key, misspelled ones without a word.
_FSDP = (
    "version", "auto_wrap_policy", "transformer_layer_cls_to_wrap", "min_num_params", "reshard_after_forward", "state_dict_type",
)  # fmt: skip


def kind_of(spec: RunSpec) -> Literal["deepspeed", "fsdp"] | None:
    """What shards this run. Raises UserError where its engine names both."""
    engine = spec.execution.engine
    if all(key in engine for key in KEYS):
        raise UserError("execution.engine: deepspeed and fsdp_config both shard the model; keep one of them")
    return "deepspeed" if "deepspeed" in engine else "fsdp" if "fsdp_config" in engine else None


def sharding_config(spec: RunSpec, *, use_cpu: bool) -> dict[str, Any]:
    """Fields of ``GRPOConfig`` that shard a run; empty where every process holds the whole model.

    Raises UserError for what a table may not hold and for settings of the run that sharded weights cannot serve.
    """
    kind = kind_of(spec)
    if kind is None:
        return {}
    if use_cpu and spec.algorithm.precision != "float32":
        raise UserError(f"precision = {spec.algorithm.precision!r} is sharded on GPUs only; use float32 on a CPU")
    fields = {"deepspeed": _deepspeed(spec)} if kind == "deepspeed" else {"fsdp": True, "fsdp_config": _fsdp(spec)}
    if spec.algorithm.staleness and not _keeps_weights_whole(fields):
        raise UserError(
            f"staleness = {spec.algorithm.staleness} keeps copies of whole weights, which ZeRO 3 and FSDP take apart; "
            "use ZeRO 1 or 2, or staleness = 0"
        )
    return fields


def require_sharding(spec: RunSpec) -> None:
    """Raise UserError where a run's tables cannot be used here: before anything is prepared, and in the words of the table's library."""
    kind = kind_of(spec)
    fields = sharding_config(spec, use_cpu=False)
    if kind != "deepspeed":
        return
    if importlib.util.find_spec("deepspeed") is None:
        raise UserError("execution.engine.deepspeed asks for DeepSpeed, which is not installed here; pip install 'halfway[deepspeed]'")
    from deepspeed.runtime.zero.config import DeepSpeedZeroConfig

    try:
        DeepSpeedZeroConfig(**_without_auto(fields["deepspeed"]["zero_optimization"]))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"execution.engine.deepspeed: zero_optimization.{where}: {first['msg']}") from error


def _without_auto(table: Mapping[str, Any]) -> dict[str, Any]:
    """The table without what transformers will fill in."""
    return {key: _without_auto(value) if isinstance(value, dict) else value for key, value in table.items() if value != "auto"}


def _keeps_weights_whole(fields: Mapping[str, Any]) -> bool:
    return "deepspeed" in fields and fields["deepspeed"]["zero_optimization"]["stage"] < 3


def _deepspeed(spec: RunSpec) -> dict[str, Any]:
    """A new DeepSpeed configuration: the run's table or file, with what follows from the run left to transformers ("auto")."""
    table = _table(spec, "deepspeed")
    if owned := next((k for k, v in table.items() if k in _OWNED_BY_RUN and not _follows_the_run(k, v, spec)), None):
        raise UserError(f'execution.engine.deepspeed: {owned} is decided by {_OWNED_BY_RUN[owned]}; remove it, or write "auto"')
    zero = table.get("zero_optimization")
    stage = zero.get("stage") if isinstance(zero, dict) else None
    if stage not in (1, 2, 3) or isinstance(stage, bool):
        raise UserError(f"execution.engine.deepspeed: zero_optimization.stage = {stage!r}; it shards with 1, 2 or 3")
    assert isinstance(zero, dict)
    gathered = {"stage3_gather_16bit_weights_on_model_save": True} if stage == 3 else {}  # a checkpoint has a model, as without shards
    # With an offloaded optimizer DeepSpeed asks for its own Adam, which is another one than the suite's.
    return {**dict.fromkeys(_AUTO, "auto"), "zero_force_ds_cpu_optimizer": False, **table, "zero_optimization": {**zero, **gathered}}


_PRECISIONS = {"bf16": "bfloat16", "fp16": "float16"}


def _follows_the_run(key: str, value: object, spec: RunSpec) -> bool:
    """Whether a section leaves to transformers what the suite decides, or says the same."""
    if key in _PRECISIONS and isinstance(value, dict):  # beside "enabled" stand settings of the loss scale
        return value.get("enabled") in ("auto", spec.algorithm.precision == _PRECISIONS[key])
    return value == "auto"


def _fsdp(spec: RunSpec) -> dict[str, Any]:
    table = _table(spec, "fsdp_config")
    plain = {key.removeprefix("fsdp_"): value for key, value in table.items()}
    if other := next((key for key in plain if key not in _FSDP), None):
        near = did_you_mean(other, _FSDP)
        raise UserError(f"execution.engine.fsdp_config: {other!r} is not a setting that a run may choose{near}")
    if plain.get("version", 2) != 2:
        raise UserError(f"execution.engine.fsdp_config: version = {plain['version']!r}; the backend shards with FSDP2 only")
    return {"version": 2, "state_dict_type": "FULL_STATE_DICT", **plain}


def _table(spec: RunSpec, key: str) -> dict[str, Any]:
    """The table itself, or that of a JSON file, which is looked for beside the suite."""
    given: Any = spec.execution.engine[key]
    if isinstance(given, dict):
        return dict(given)
    if not isinstance(given, str):
        raise UserError(f"execution.engine.{key} must be a table or the name of a JSON file, not {given!r}")
    path = Path(spec.combination.task.folder or ".", given)
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"execution.engine.{key}: cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UserError(f"execution.engine.{key}: {path} is not JSON: {error}") from error
    if not isinstance(loaded, dict):
        raise UserError(f"execution.engine.{key}: {path} must hold a JSON object")
    return loaded


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


@contextmanager
def whole_weights(trainer: Any, *, in_trl: bool = False) -> Iterator[None]:
    """Every rank has all weights for the block, whatever shards them; all ranks enter it together.

    Without this the ranks would fetch each layer together at every forward pass, and wait for ever where one decodes for longer.
    in_trl: the block is TRL's own generation, which gathers those of ZeRO 3 itself.
    """
    from trl.models import unwrap_model_for_generation

    plugin = trainer.accelerator.state.deepspeed_plugin
    with ExitStack() as stack:
        if trainer.accelerator.is_fsdp2:
            stack.enter_context(_unsharded(trainer.model_wrapped, trainer.accelerator.state.fsdp_plugin.reshard_after_forward))
        elif plugin is not None and plugin.zero_stage == 3 and not in_trl:
            stack.enter_context(unwrap_model_for_generation(trainer.model_wrapped, trainer.accelerator))
        yield


@contextmanager
def _unsharded(model: Any, reshard_after_forward: bool) -> Iterator[None]:
    from torch.distributed.fsdp import FSDPModule

    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.set_reshard_after_forward(reshard_after_forward, recurse=False)
            part.reshard()
