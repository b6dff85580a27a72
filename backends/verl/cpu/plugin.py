"""What verl imports in every process of a CPU run (``VERL_USE_EXTERNAL_MODULES``), at the end of its own import."""

from __future__ import annotations

from typing import Any

from backends.verl.cpu import patches, platform
from backends.verl.names import CPU_ROLLOUT


def register_rollout() -> None:
    """Make ``actor_rollout_ref.rollout.name=halfway_cpu`` known to verl; its classes are imported when they are needed."""
    from verl.workers.rollout.base import _ROLLOUT_REGISTRY
    from verl.workers.rollout.replica import RolloutReplicaRegistry

    RolloutReplicaRegistry.register(CPU_ROLLOUT, _replica)
    # verl has a function to register a replica, none for the worker's side of it.
    _ROLLOUT_REGISTRY[(CPU_ROLLOUT, "async")] = "backends.verl.cpu.rollout.ServerAdapter"


def _replica() -> Any:
    from backends.verl.cpu.rollout import Replica

    return Replica


platform.register()
patches.apply()
register_rollout()
