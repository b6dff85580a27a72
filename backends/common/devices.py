"""Which device a process computes on."""

from __future__ import annotations

import os

from harness.errors import UserError


def parse_device(device: str) -> tuple[str, str]:
    """Kind (auto, cpu or cuda) and index, empty for none, of ``execution.device``. Raises UserError for what is not a device."""
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (index and not (kind == "cuda" and index.isdigit())):
        raise UserError(f"execution.device = {device!r} is not a device; use auto, cpu, cuda or cuda:N")
    return kind, index


def choose_device(device: str) -> bool:
    """Whether to compute on the CPU; ``cuda:N`` makes GPU N the only one that this process sees.

    Call it before anything else touches CUDA. Raises UserError if there is no such GPU.
    """
    import torch

    kind, index = parse_device(device)
    if index:
        os.environ["CUDA_VISIBLE_DEVICES"] = index
    if kind == "cuda" and not torch.cuda.is_available():
        raise UserError(f"execution.device = {device!r}, but torch sees no such GPU here; use auto or cpu")
    return kind == "cpu" or not torch.cuda.is_available()
