"""The rollout server of a CPU run, one Ray actor: Halfway's decoder behind verl's server interface.

A request carries which row of which stream it is. The server waits until the stream's rows are there, decodes them as one
batch in the order of the rows and draws the uniform numbers that the TRL backend's decoder would draw for them: the same
weights and the same stream give the same completions on both backends, and a resumed run repeats itself.

Ray unpickles the actor's class by importing this module, which therefore must not import verl while it is loaded (and never does).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import ray
import torch

#: A stream whose last rows do not come (their prompts failed, or went to another replica) is decoded after so many quiet seconds.
QUIET_SECONDS = 0.5

#: How peft names the two factors of a layer's adapter.
_PEFT, _FIRST, _SECOND = "base_model.model.", ".lora_A.weight", ".lora_B.weight"


@dataclass(slots=True)
class Request:
    """One row of a stream to decode."""

    prompt: list[int]
    settings: Mapping[str, Any]
    answer: asyncio.Future[Any]

    @property
    def row(self) -> int:
        return int(self.settings["row"])


@dataclass(slots=True)
class Tokens:
    """The fields of verl's ``TokenOutput``, without the seconds that importing verl would cost this process."""

    token_ids: list[int]
    log_probs: list[float]
    extra_fields: dict[str, Any]
    stop_reason: str = "completed"
    routed_experts: None = None
    num_preempted: None = None


class Server:
    """The Ray actor: verl's server interface around one model."""

    def __init__(self, model_path: str) -> None:
        from backends.common.decoder import Decoder
        from backends.common.model_loading import load_model

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        loaded = load_model(model_path)
        self._model = loaded.model
        self._decoder = Decoder(loaded.model, loaded.eos_ids, loaded.pad_id)
        self._beneath: dict[str, torch.Tensor] = {}  # weights under adapters, without them
        self._global_steps: int | None = None
        self._streams: dict[tuple[int, int], list[Request]] = {}
        self._lock = asyncio.Lock()

    def address(self) -> str:
        """Where this actor runs."""
        return str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]

    async def update_weights(self, weights: dict[str, torch.Tensor], global_steps: int | None) -> None:
        """Take over the actor's weights; tied ones come once."""
        _, unexpected = self._model.load_state_dict(weights, strict=False)
        if unexpected:
            raise RuntimeError(f"the actor sent weights that the rollout model does not have: {', '.join(unexpected[:3])}")
        self._model.tie_weights()
        self._beneath.clear()
        self._global_steps = global_steps

    async def update_adapters(self, adapters: dict[str, torch.Tensor], scale: float, global_steps: int | None) -> None:
        """Merge adapters, named as peft saves them, into the weights beneath: W + ``scale`` · B A (Hu et al., arXiv 2106.09685)."""
        weights = dict(self._model.named_parameters())
        for name, first in adapters.items():
            if not name.endswith(_FIRST):
                continue
            target = name.removeprefix(_PEFT).removesuffix(_FIRST) + ".weight"
            if target not in weights:
                raise RuntimeError(f"the actor sent an adapter of {target}, which the rollout model does not have")
            beneath = self._beneath.setdefault(target, weights[target].detach().clone())
            second = adapters[name.removesuffix(_FIRST) + _SECOND]
            with torch.no_grad():
                weights[target].copy_(beneath + scale * (second @ first))
        self._global_steps = global_steps

    async def generate(self, prompt_ids: Sequence[int], sampling_params: Mapping[str, Any], request_id: str, **_: Any) -> Any:
        """One completion; see the module's docstring for ``seed``, ``row`` and ``rows`` in ``sampling_params``."""
        key = (int(sampling_params["seed"]), int(sampling_params["rows"]))
        request = Request(list(prompt_ids), sampling_params, asyncio.get_running_loop().create_future())
        waiting = self._streams.setdefault(key, [])
        waiting.append(request)
        if len(waiting) == key[1]:
            await self._decode(key)
        while not request.answer.done():
            seen = len(self._streams.get(key, ()))
            await asyncio.wait([request.answer], timeout=QUIET_SECONDS)
            if not request.answer.done() and not self._lock.locked() and len(self._streams.get(key, ())) == seen > 0:
                await self._decode(key)
        completion = request.answer.result()
        return Tokens(
            token_ids=completion.token_ids.tolist(),
            log_probs=completion.log_probs.tolist(),
            extra_fields={"global_steps": self._global_steps},
        )

    async def _decode(self, key: tuple[int, int]) -> None:
        requests = sorted(self._streams.pop(key, ()), key=lambda r: r.row)
        if not requests:
            return
        async with self._lock:
            try:
                completions = await asyncio.to_thread(self._run, requests)
            except Exception as error:
                for request in requests:
                    request.answer.set_exception(error)
                return
        for request, completion in zip(requests, completions, strict=True):
            request.answer.set_result(completion)

    def _run(self, requests: Sequence[Request]) -> list[Any]:
        settings = requests[0].settings
        width = int(settings["max_tokens"])
        generator = torch.Generator().manual_seed(int(settings["seed"]))
        noise = torch.rand(int(settings["rows"]), width, dtype=torch.float64, generator=generator)
        groups = [(prompt, len(list(members))) for prompt, members in groupby(requests, key=lambda r: tuple(r.prompt))]
        done = self._decoder.generate(
            [list(prompt) for prompt, _ in groups],
            [count for _, count in groups],
            max_new_tokens=width,
            temperature=float(settings["temperature"]),
            top_p=float(settings["top_p"]),
            generator=generator,
            noise=noise[[r.row for r in requests]],
        )
        return [completion for group in done for completion in group]

    # verl's control methods; there is no memory to give back on a CPU.
    async def wake_up(self, tags: list[str] | None = None) -> None: ...
    async def sleep(self) -> None: ...
    async def clear_kv_cache(self) -> None: ...
    async def release_kv_cache(self) -> None: ...
    async def resume_kv_cache(self) -> None: ...
    async def abort_all_requests(self, reject_request: bool = False) -> None: ...
    async def resume_generation(self) -> None: ...
    async def start_profile(self, **_: Any) -> None: ...
    async def stop_profile(self) -> None: ...
