"""verl's agent loop for Halfway's requests: token ids in, one completion out.

Prompts come as the token ids that every backend uses (``backends.common.prompts``), with the sampling settings of the request:
training and evaluation may differ. The reward is given later, in the driver, by the reward service that all backends share.
"""

from __future__ import annotations

import math
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput

from backends.verl.names import ERROR, REQUEST


class HalfwayAgentLoop(AgentLoopBase):  # type: ignore[misc]
    """One turn, no chat template, no tools."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        """Sample one rollout of a prompt. An error of the engine comes back as text, in a rollout whose log-prob is not a number."""
        request = kwargs[REQUEST]
        sampling = {**sampling_params, **request["sampling"]}
        if "seed" in sampling:
            sampling["row"] = request["row"] + int(kwargs["session_id"])
        prompt = [int(t) for t in request["prompt"]]
        try:
            output = await self.server_manager.generate(request_id=uuid4().hex, prompt_ids=prompt, sampling_params=sampling)
            tokens, log_probs, extra = list(output.token_ids), list(output.log_probs or []), dict(output.extra_fields)
            if not tokens or len(log_probs) != len(tokens):
                raise RuntimeError(f"the engine gave {len(tokens)} tokens and {len(log_probs)} log-probs")  # noqa: TRY301
        except Exception as error:
            cause = getattr(error, "cause", None) or error
            tokens, log_probs = [0], [math.nan]
            extra = {ERROR: f"{type(cause).__name__}: {cause}", "min_global_steps": 0, "max_global_steps": 0}
        return AgentLoopOutput(
            prompt_ids=prompt,
            response_ids=tokens,
            response_mask=[1] * len(tokens),
            response_logprobs=log_probs,
            reward_score=0.0,  # set by the driver
            num_turns=2,
            metrics=AgentLoopMetrics(),
            extra_fields=extra,
        )
