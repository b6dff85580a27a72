"""verl's configuration of a run before anything starts: what ``halfway plan --show-config`` prints, checked by verl itself.

Needs no GPU, no model and no data; ``python -m backends.verl.config_preview SPEC_JSON`` prints it as one line of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from backends.common.ratios import correction_of
from backends.verl.config import Placement, default_settings, model_engine, resolve_config, run_settings
from backends.verl.engine_keys import flatten
from backends.verl.names import CPU_PLUGIN
from harness.errors import UserError
from harness.registry import entry_of
from harness.spec import RunSpec

#: Prompt length where the spec has no limit: a run takes its longest prompt.
PROMPT_TOKENS = 1024


def preview(spec: RunSpec) -> dict[str, Any]:
    """``{"keys": verl's keys that are not verl's defaults, "config": the whole configuration}``; ``validate_config`` has accepted it.

    It is for the hardware that the run is meant for: a CPU with ``execution.device = "cpu"`` and for embedded models, GPUs otherwise.
    Raises UserError with verl's message for what verl does not accept.
    """
    on_cpu = spec.execution.device == "cpu" or (spec.execution.device == "auto" and spec.combination.model.name.startswith("embedded:"))
    if spec.execution.processes % spec.execution.nodes:
        raise UserError(f"execution.processes = {spec.execution.processes} is not a multiple of nodes = {spec.execution.nodes}")
    placement = Placement(on_cpu, spec.execution.nodes, spec.execution.processes // spec.execution.nodes)
    if on_cpu:
        os.environ.update(VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES=CPU_PLUGIN)
    correction = correction_of(entry_of(spec.strategy).build(spec.strategy.config))
    settings = run_settings(
        spec, correction, placement, model=spec.combination.model.name, checkpoints=Path("checkpoints"),
        prompt_tokens=spec.algorithm.max_prompt_tokens or PROMPT_TOKENS, pool=spec.algorithm.groups_per_step,
    )  # fmt: skip
    defaults = default_settings(spec, placement)
    config = resolve_config(settings, defaults, spec)
    check(config)
    from omegaconf import OmegaConf

    keys = {**defaults, **dict(flatten(spec.execution.engine)), **settings}
    shown = {key.removeprefix("+"): value for key, value in keys.items() if model_engine(spec) == "dp" or "fsdp" not in key}
    return {"keys": shown, "config": OmegaConf.to_container(config, resolve=True)}


def check(config: Any) -> None:
    """verl's own ``validate_config``. Raises UserError with its message."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    except Exception as error:  # verl asserts, raises ValueError, or hydra wraps either
        raise UserError(f"verl does not accept this configuration: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    print(json.dumps(preview(RunSpec.model_validate_json(sys.argv[1]))))
