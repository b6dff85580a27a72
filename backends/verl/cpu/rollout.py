"""verl's two handles on the rollout server of a CPU run: the driver's (replica) and the training worker's (adapter)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import ray
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica

from backends.verl.cpu.server import Server


class Replica(RolloutReplica):  # type: ignore[misc]
    """verl's handle on one server."""

    async def launch_servers(self) -> None:
        """Start the actor; verl awaits this once per replica."""
        from verl.utils.config import omega_conf_to_dataclass

        model = omega_conf_to_dataclass(self.model_config)
        remote: Any = ray.remote(Server)
        server = remote.options(name=server_name(self.replica_rank), num_cpus=0, max_concurrency=self.max_concurrency).remote(
            model.local_path
        )
        self.servers, self._server_handle = [server], server
        self._server_address = f"{await server.address.remote()}:{self.replica_rank}"  # a name only


class ServerAdapter(BaseRollout):  # type: ignore[misc]
    """The training worker's side: ships weights to the server of its replica."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, **_: Any) -> None:
        super().__init__(config, model_config, device_mesh)
        self._name = server_name(int(os.environ["RANK"]))
        self._server: Any = None

    async def resume(self, tags: list[str]) -> None: ...

    async def release(self) -> None: ...

    async def update_weights(
        self,
        weights: Any,
        wire_format: str = "named_tensors",
        global_steps: int | None = None,
        peft_config: Mapping[str, Any] | None = None,
        base_sync_done: bool = True,
        **_: Any,
    ) -> None:
        """Weights, or with ``peft_config`` those beneath the adapters (until ``base_sync_done``) and then the adapters alone."""
        state = {name: tensor.detach().float().cpu().contiguous() for name, tensor in weights}  # all ranks gather each tensor
        self._server = self._server or ray.get_actor(self._name)
        if peft_config is not None and base_sync_done:
            await self._server.update_adapters.remote(state, peft_config["lora_alpha"] / peft_config["r"], global_steps)
        else:
            plain = {name.replace(".base_layer.", "."): tensor for name, tensor in state.items()}
            await self._server.update_weights.remote(plain, global_steps)


def server_name(replica_rank: int) -> str:
    """Ray name of a replica's server."""
    return f"halfway_cpu_server_{replica_rank}"
