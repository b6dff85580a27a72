"""One rank of a run, launched as the backend launches it, that leaves how much of the model's weights it holds (shard-RANK.json).

Arguments: those of ``backends.trl.launch``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import backends.trl.run as run
from backends.trl.launch import main


def numel_here(parameter: Any) -> int:
    """Elements of a parameter that this process holds: a DTensor's part (FSDP2), a partition (ZeRO 3), or all."""
    if hasattr(parameter, "to_local"):
        return int(parameter.to_local().numel())
    return int(parameter.ds_tensor.numel() if hasattr(parameter, "ds_tensor") else parameter.numel())


def whole_numel(parameter: Any) -> int:
    return int(getattr(parameter, "ds_numel", parameter.numel()))


def keeping_the_trainer(*arguments: Any) -> Any:
    kept.append(build(*arguments))
    return kept[0]


kept: list[Any] = []
build, run.build_trainer = run.build_trainer, keeping_the_trainer
code = main()
parameters = list(kept[0].model.parameters())
facts = {"here": sum(map(numel_here, parameters)), "whole": sum(map(whole_numel, parameters))}
(Path(sys.argv[1]) / f"shard-{os.environ['RANK']}.json").write_text(json.dumps(facts))
sys.exit(code)
