"""The places where verl 0.9.1 has no hook for a CPU. Each is named, checked against the version, and gone once verl has one."""

from __future__ import annotations

import importlib.metadata
import os
import sys
from datetime import timedelta
from typing import Any

import torch
from torch.distributed.fsdp import CPUOffloadPolicy

from backends.common.vllm_engine import keep_linear_weights

PATCHED_VERSION = "0.9.1"


def apply() -> None:
    """Patch this process. Raises RuntimeError for a verl that the patches were not written for."""
    version = importlib.metadata.version("verl")
    if version != PATCHED_VERSION:
        raise RuntimeError(f"Halfway's CPU patches are for verl {PATCHED_VERSION}, not {version}; remove them or adapt them")
    patch_process_group()
    patch_engine_lookup()
    if "vllm.v1.worker.worker_base" in sys.modules:  # this process is one of vLLM's
        keep_linear_weights()


def patch_process_group() -> None:
    """verl asks for the backend ``cpu:gloo,<device>:<backend>``, which names the CPU twice here, and torch refuses that."""
    from verl.utils import distributed

    def initialize(timeout_second: float | None = None, backend: str | None = None) -> None:  # noqa: ARG001 - verl's signature
        if torch.distributed.is_initialized():
            return
        torch.distributed.init_process_group(
            backend="gloo",
            rank=int(os.environ.get("RANK", "0")),
            world_size=int(os.environ.get("WORLD_SIZE", "1")),
            timeout=timedelta(seconds=timeout_second) if timeout_second else None,
            init_method=os.environ.get("DIST_INIT_METHOD"),
        )

    distributed.initialize_global_process_group_ray = initialize


def patch_engine_lookup() -> None:
    """verl registers its FSDP engine for ``cuda`` and ``npu`` only; the same class runs on the CPU.

    Done at look-up: importing the engines here, at the end of verl's own import, would be circular.
    """
    from verl.workers.engine.base import EngineRegistry

    original = EngineRegistry.get_engine_cls.__func__

    def get_engine_cls(cls: Any, model_type: str, backend: str) -> Any:
        engines = cls._engines.get(model_type, {}).get(backend, {})
        if "cpu" not in engines and "cuda" in engines:
            engines["cpu"] = engines["cuda"]
            patch_pinned_memory(engines["cuda"].__module__)
        return original(cls, model_type, backend)

    EngineRegistry.get_engine_cls = classmethod(get_engine_cls)


def patch_pinned_memory(engine: str) -> None:
    """verl's FSDP2 keeps the reference model (of a KL term) in pinned memory, which torch has only beside an accelerator."""
    module: Any = sys.modules[engine]
    if hasattr(module, "CPUOffloadPolicy"):
        module.CPUOffloadPolicy = unpinned


def unpinned(pin_memory: bool) -> CPUOffloadPolicy:  # noqa: ARG001 - torch's signature
    """The same policy in ordinary memory."""
    return CPUOffloadPolicy(pin_memory=False)
