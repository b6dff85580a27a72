"""verl's configuration of a run before anything starts: what ``halfway plan --show-config`` prints, checked by verl itself.

Needs no GPU, no model and no data; ``python -m backends.verl.planned SPEC_JSON`` prints it as one line of JSON.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Any

from backends.verl.config import Place, defaults, model_engine, resolve, settings
from backends.verl.names import CPU_PLUGIN
from backends.verl.passed_on import flatten
from harness.errors import UserError
from harness.registry import entry_of
from harness.spec import RunSpec

#: Prompt length where the spec has no limit: a run takes its longest prompt.
PROMPT_TOKENS = 1024


def planned(spec: RunSpec) -> dict[str, Any]:
    """``{"keys": verl's keys that are not verl's defaults, "config": the whole configuration}``; ``validate_config`` has accepted it.

    The place is the one a run is meant for: a CPU for ``execution.device = "cpu"`` and for embedded models, GPUs otherwise.
    Raises UserError with verl's words for what verl does not accept.
    """
    on_cpu = spec.execution.device == "cpu" or (spec.execution.device == "auto" and spec.combination.model.name.startswith("embedded:"))
    if spec.execution.processes % spec.execution.nodes:
        raise UserError(f"execution.processes = {spec.execution.processes} is not a multiple of nodes = {spec.execution.nodes}")
    place = Place(on_cpu, spec.execution.nodes, spec.execution.processes // spec.execution.nodes)
    if on_cpu:
        os.environ.update(VERL_PLATFORM="cpu", VERL_USE_EXTERNAL_MODULES=CPU_PLUGIN)
    strategy = entry_of(spec.strategy).build(spec.strategy.config)
    correction = strategy.correction if "behaviour_log_probs" in strategy.requires else None
    chosen = settings(
        spec, correction, place, model=spec.combination.model.name, checkpoints=Path("checkpoints"),
        prompt_tokens=spec.algorithm.max_prompt_tokens or PROMPT_TOKENS, pool=spec.algorithm.groups_per_step,
    )  # fmt: skip
    config = resolve(chosen, defaults(spec, place), spec)
    check(config)
    from omegaconf import OmegaConf

    keys = {**defaults(spec, place), **dict(flatten(spec.execution.engine)), **chosen}
    shown = {key.removeprefix("+"): value for key, value in keys.items() if model_engine(spec) == "dp" or "fsdp" not in key}
    return {"keys": shown, "config": OmegaConf.to_container(config, resolve=True)}


def check(config: Any) -> None:
    """verl's own ``validate_config``. Raises UserError with its words."""
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    try:
        with contextlib.redirect_stdout(io.StringIO()):
            validate_config(config, use_reference_policy=need_reference_policy(config), use_critic=need_critic(config))
    except Exception as error:  # verl asserts, raises ValueError, or hydra wraps either
        raise UserError(f"verl does not accept this configuration: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    print(json.dumps(planned(RunSpec.model_validate_json(sys.argv[1]))))
