"""The CPU as a verl platform, registered by verl's own ``PlatformRegistry``."""

from __future__ import annotations

import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from verl.plugin.platform import PlatformBase, PlatformRegistry

NAME = "cpu"

#: What verl calls on ``torch.<device>`` and ``torch.cpu`` does not have.
_MISSING: dict[str, Any] = {
    "max_memory_allocated": lambda *_, **__: 0,
    "max_memory_reserved": lambda *_, **__: 0,
    "memory_allocated": lambda *_, **__: 0,
    "memory_reserved": lambda *_, **__: 0,
    "mem_get_info": lambda *_, **__: (0, 0),
    "empty_cache": lambda: None,
    "ipc_collect": lambda: None,
    "reset_peak_memory_stats": lambda *_, **__: None,
    "get_device_name": lambda *_: "CPU",
    "get_rng_state": lambda *_: torch.get_rng_state(),
    "set_rng_state": lambda state, *_: torch.set_rng_state(state),
    "manual_seed": torch.manual_seed,
    "manual_seed_all": torch.manual_seed,
}


class PlatformCPU(PlatformBase):  # type: ignore[misc]
    """One device, no memory to manage, gloo between processes."""

    device_name = "cpu"
    vendor_name = "cpu"

    @property
    def device_module(self) -> types.ModuleType:
        return torch.cpu

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        # verl moves tensors to what this returns; an int would mean cuda:0.
        return torch.device("cpu")

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    manual_seed_all = manual_seed

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return (None, None)

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...

    def ray_resource_name(self) -> str:
        # verl counts only GPU and NPU resources of Ray; a CPU run has as many logical GPUs as processes.
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None


def register() -> None:
    """Make ``VERL_PLATFORM=cpu`` known to verl."""
    for name, stand_in in _MISSING.items():
        if not hasattr(torch.cpu, name):
            setattr(torch.cpu, name, stand_in)
    PlatformRegistry.register(platform=NAME)(PlatformCPU)
