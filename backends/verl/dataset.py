"""verl's dataset of a run: it only paces the trainer, because prompts come from the strategy.

Referred to by ``data.custom_cls``; verl passes it nothing but its own ``data`` section, from which it takes its length.
"""

from __future__ import annotations

from typing import Any

from torch.utils.data import Dataset


class PoolDataset(Dataset[dict[str, Any]]):
    """As many rows as the pool has questions, each with its id."""

    def __init__(self, *, config: Any, **_: Any) -> None:
        self._length = int(config["halfway_pool"])

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index, "raw_prompt": []}
