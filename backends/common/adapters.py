"""Low-rank adapters (LoRA) of a run, by peft."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from harness.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from harness.spec import RunSpec

#: peft's word for every linear layer but the head.
ALL_LINEAR = "all-linear"


def require_peft(spec: RunSpec) -> None:
    """Raise UserError where a run trains adapters and peft is not installed."""
    if spec.combination.model.lora is not None and importlib.util.find_spec("peft") is None:
        raise UserError(f"combination {spec.combination.name!r} trains adapters, which need peft; pip install 'halfway[lora]'")


def lora_config(spec: RunSpec, model: Any) -> Any:
    """peft's ``LoraConfig`` of a run, None where whole weights are trained; no dropout, so that log-probs are the policy's.

    Raises UserError for a layer that the model does not have. peft is there: the run was prepared (:func:`require_peft`).
    """
    lora = spec.combination.model.lora
    if lora is None:
        return None
    from peft import LoraConfig

    check_layers(spec, model)
    targets = list(lora.modules) or ALL_LINEAR
    return LoraConfig(r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM")


def check_layers(spec: RunSpec, model: Any) -> None:
    """Raise UserError for a layer that gets an adapter and that the model does not have."""
    lora = spec.combination.model.lora
    linear = {name.rpartition(".")[2] for name, module in model.named_modules() if type(module).__name__ == "Linear"}
    if lora is not None and (unknown := next((name for name in lora.modules if name not in linear), None)):
        raise UserError(
            f"model.lora.modules: {spec.combination.model.name} has no linear layer {unknown!r}{did_you_mean(unknown, linear)} "
            f"(it has {', '.join(sorted(linear))})"
        )


def check_layers_of(spec: RunSpec, folder: str) -> None:
    """The same from a model's configuration, without reading its weights."""
    lora = spec.combination.model.lora
    if lora is None or not lora.modules:
        return
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder))
    check_layers(spec, model)
