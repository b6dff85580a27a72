"""The weights as they were some training steps ago, to sample from (``algorithm.staleness``)."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


class OlderWeights:
    """Copies of a model's trained weights from before each of the last ``lag`` updates, on the model's device.

    With the model itself that makes lag + 1 times its weights. With a lag of 0 nothing is copied and no method does anything.
    """

    def __init__(self, model: torch.nn.Module, lag: int) -> None:
        # Without a lag no parameter may be kept: FSDP puts others in their place and waits for the old ones to go.
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad and lag}
        self._lag = lag
        self._copies: deque[dict[str, torch.Tensor]] = deque()  # oldest first

    @contextmanager
    def in_the_model(self) -> Iterator[None]:
        """The model with the oldest copy's weights for the block; with its own until there is a copy."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        if not self._copies:
            return
        oldest = self._copies[0]
        for name, parameter in self._parameters.items():  # storage changes hands, nothing is copied
            # DeepSpeed moves a model to its device after a checkpoint's copies are loaded.
            parameter.data, oldest[name] = oldest[name].to(parameter.device), parameter.data

    def remember(self) -> None:
        """Copy the present weights, over the oldest copy if there are enough; once a training step, before its update."""
        if not self._lag:
            return
        full = len(self._copies) == self._lag
        copy = self._copies.popleft() if full else {name: torch.empty_like(p.data) for name, p in self._parameters.items()}
        for name, parameter in self._parameters.items():
            copy[name].copy_(parameter.data)
        self._copies.append(copy)

    def save(self, folder: Path) -> None:
        """Add the copies to a checkpoint that is not sealed yet, one safetensors file each."""
        from safetensors.torch import save_file

        for age, copy in enumerate(self._copies):
            save_file({name: tensor.contiguous() for name, tensor in copy.items()}, _file(folder, age))

    def load(self, folder: Path) -> None:
        """Take the copies of a checkpoint, bit for bit."""
        from safetensors.torch import load_file

        self._copies.clear()
        while (file := _file(folder, len(self._copies))).exists():
            loaded: dict[str, Any] = load_file(file)
            self._copies.append({name: loaded[name].to(p.device) for name, p in self._parameters.items()})


def _file(folder: Path, number: int) -> Path:
    return folder / f"halfway.older-weights-{number}.safetensors"  # 0 is the oldest
