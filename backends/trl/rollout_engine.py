"""Rollouts through TRL: Halfway's decoder for small models, TRL's own generation (``generate``, vLLM) for the others.

With several processes (Accelerate), rank 0 holds the strategy and the ledger and the others follow: every decode is split
over the ranks by whole questions, and scored groups are handed out whole, so that no group is spread over two ranks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from backends.common.completion import Completion
from backends.common.scoring_engine import ScoringEngine, stream_seed
from backends.trl.sharding import whole_weights
from backends.trl.vllm import rank_seed
from harness.backend import RolloutPhase
from harness.errors import FailureKind, RunFailed
from harness.spec import RunSpec
from harness.step.clock import Clock
from harness.task import TaskData
from harness.types import FloatArray, IntArray, PromptGroup

if TYPE_CHECKING:
    from harness.reward.service import RewardService


class GenerationTrainer(Protocol):
    """What the engine needs of a ``GRPOTrainer``."""

    model: Any
    model_wrapped: Any
    accelerator: Any
    eos_token_ids: Any
    use_vllm: bool

    def _generate_single_turn(self, prompt_ids: Any, images: Any, multimodal_fields: Any, num_generations: int, /) -> Any: ...
    def _get_per_token_logps_and_entropies(
        self, model: Any, input_ids: Any, attention_mask: Any, logits_to_keep: Any, /, *, batch_size: int
    ) -> Any: ...


class TrlRolloutEngine(ScoringEngine):
    """Implements :class:`harness.backend.RolloutEngine` on a ``GRPOTrainer``; ``attach`` it before use.

    needs_log_probs: compute behaviour log-probs where the generation gives none.
    """

    def __init__(
        self, spec: RunSpec, task: TaskData, tokenizer: Any, scorer: RewardService | None, clock: Clock, embeddings: FloatArray | None
    ) -> None:
        super().__init__(spec, task, tokenizer, scorer, clock, embeddings)
        self.needs_log_probs = False

    def attach(self, trainer: GenerationTrainer) -> None:
        """The trainer whose model and generation are used."""
        self.trainer = trainer
        self.accelerator = trainer.accelerator
        self._decoder: Any = None
        if self.spec.execution.generation == "decoder":
            from backends.common.decoder import Decoder

            model = self.accelerator.unwrap_model(trainer.model)  # with adapters: as it computes, nothing is merged into the weights
            self._decoder = Decoder(model, trainer.eos_token_ids, self.tokenizer.pad_token_id)

    # -- harness.backend.RolloutEngine -------------------------------------------------------------------------------

    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        ids = [int(i) for i in question_ids]
        sizes = rollouts_per_question if isinstance(rollouts_per_question, int) else [int(n) for n in rollouts_per_question]
        algorithm = self.spec.algorithm
        with self.clock.phase(phase):
            completions = self.decode(
                [self.token_ids[i] for i in ids],
                sizes,
                max_new_tokens=algorithm.max_completion_tokens,
                temperature=algorithm.temperature,
                top_p=algorithm.top_p,
                generator=stream_generator(stream),
            )
            texts = self.texts(completions)
        with self.clock.phase("reward" if phase == "rollout" else phase):
            return self.groups(ids, completions, texts)

    # -- decoding over all ranks --------------------------------------------------------------------------------------

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        rollouts_per_prompt: int | Sequence[int],
        *,
        max_new_tokens: int,
        temperature: float,
        top_p: float,
        generator: torch.Generator,
    ) -> list[list[Completion]]:
        """:class:`backends.common.completion.Decode` over all ranks; called on rank 0 while the others ``follow``."""
        n = rollouts_per_prompt
        request = {
            "prompts": [list(p) for p in prompts],
            "counts": [n] * len(prompts) if isinstance(n, int) else list(n),
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_p": top_p,
            "seed": generator.initial_seed(),
            "log_probs": self.needs_log_probs,
        }
        if self.accelerator.num_processes > 1:
            _broadcast(("decode", request))
        return self._decode_share(request)

    def follow(self) -> Any:
        """On ranks other than 0: take part in every decode until rank 0 releases this rank; returns the payload of the release.

        Raises RunFailed where rank 0 has failed.
        """
        while True:
            kind, payload = _broadcast(None)
            if kind == "decode":
                self._decode_share(payload)
            elif kind == "abort":
                raise RunFailed(FailureKind.RANK, f"rank 0 stopped: {payload}")
            else:
                return payload

    def release(self, payload: Any = None) -> None:
        """On rank 0: end the other ranks' ``follow`` with a payload."""
        if self.accelerator.num_processes > 1:
            _broadcast(("release", payload))

    def abort(self, reason: str) -> None:
        """On rank 0: end the other ranks' ``follow`` with an error."""
        if self.accelerator.num_processes > 1:
            _broadcast(("abort", reason))

    def from_rank_zero(self, value: bool) -> bool:
        """Rank 0's value on every rank; the other ranks' own is ignored."""
        return bool(_broadcast(value)) if self.accelerator.num_processes > 1 else value

    def hand_out(self, groups: list[PromptGroup] | None) -> list[PromptGroup]:
        """This rank's share of whole groups; rank 0 passes all of them, the others None."""
        world = self.accelerator.num_processes
        if world == 1:
            assert groups is not None
            return groups
        # Strided, so that fresh and replayed groups, which come in two runs, are spread evenly over the ranks.
        shares: list[Any] | None = [groups[r::world] for r in range(world)] if groups is not None else None
        received: list[Any] = [None]
        torch.distributed.scatter_object_list(received, shares, src=0)
        return list(received[0])

    def _decode_share(self, request: dict[str, Any]) -> list[list[Completion]]:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        prompts, counts = request["prompts"], request["counts"]
        per_rank = -(-len(prompts) // world)
        # Every rank decodes equally many questions (vLLM's collective calls need that); the surplus is thrown away.
        surplus = per_rank * world - len(prompts)
        share = slice(rank * per_rank, (rank + 1) * per_rank)
        padded = prompts + [prompts[-1]] * surplus, counts + [counts[-1]] * surplus
        mine = self._decode_local(padded[0][share], padded[1][share], request, rank_seed(self.spec, request["seed"], rank))
        if world == 1:
            return mine
        gathered: list[Any] | None = [None] * world if rank == 0 else None
        torch.distributed.gather_object(mine, gathered, dst=0)
        return [group for share in gathered for group in share][: len(prompts)] if gathered else []

    def _decode_local(self, prompts: list[list[int]], counts: list[int], request: dict[str, Any], seed: int) -> list[list[Completion]]:
        settings = {k: request[k] for k in ("max_new_tokens", "temperature", "top_p")}
        if self._decoder is not None:
            generator = torch.Generator().manual_seed(seed)
            with whole_weights(self.trainer):
                done: list[list[Completion]] = self._decoder.generate(prompts, counts, generator=generator, **settings)
            return done
        return self._generate_with_trl(prompts, counts, seed, settings, log_probs=request["log_probs"])

    def _generate_with_trl(
        self, prompts: list[list[int]], counts: list[int], seed: int, settings: dict[str, Any], *, log_probs: bool
    ) -> list[list[Completion]]:
        """TRL's own generation, whichever is configured; log-probs by a forward pass where it gives none and they are needed."""
        rows = [p for p, n in zip(prompts, counts, strict=True) for _ in range(n)]
        # TRL with vLLM sends every n-th row with n completions each; with unequal counts every row is sent as it is.
        repeats = counts[0] if len(set(counts)) == 1 else 1
        # vLLM samples from weights of its own, which TRL sends it part by part.
        in_trl = nullcontext() if self.trainer.use_vllm else whole_weights(self.trainer, in_trl=True)
        with _sampling(self.trainer, **settings), _seeded(seed), torch.no_grad(), in_trl:
            ids, scored = self.trainer._generate_single_turn(rows, None, {}, repeats)
        if self.spec.algorithm.behaviour_log_probs == "actor":
            scored = None
        if scored is None and log_probs:
            scored = self._score_log_probs(rows, ids)
        ends = set(self.trainer.eos_token_ids)
        flat = (
            Completion(
                np.asarray(tokens, dtype=np.int32),
                np.asarray(scored[i], dtype=np.float32) if scored is not None else np.full(len(tokens), np.nan, np.float32),
                truncated=not tokens or tokens[-1] not in ends,
            )
            for i, tokens in enumerate(ids)
        )
        return [[next(flat) for _ in range(n)] for n in counts]

    def _score_log_probs(self, prompts: list[list[int]], completions: list[list[int]]) -> list[list[float]]:
        """Behaviour log-probs of completions just sampled, from the weights that sampled them."""
        device = self.accelerator.device
        pad = self.tokenizer.pad_token_id
        left, right = max(map(len, prompts)), max(map(len, completions))
        ids = torch.full((len(prompts), left + right), pad, device=device)
        mask = torch.zeros_like(ids)
        for i, (p, c) in enumerate(zip(prompts, completions, strict=True)):
            ids[i, left - len(p) : left + len(c)] = torch.tensor([*p, *c], device=device)
            mask[i, left - len(p) : left + len(c)] = 1
        batch = self.spec.execution.micro_batch_rollouts or len(prompts)
        with torch.no_grad(), whole_weights(self.trainer):
            scored, _, _ = self.trainer._get_per_token_logps_and_entropies(self.trainer.model, ids, mask, right, batch_size=batch)
        return [row[: len(c)].tolist() for row, c in zip(scored.float().cpu(), completions, strict=True)]


def stream_generator(stream: Sequence[int]) -> torch.Generator:
    """A generator seeded by a stream of integers."""
    return torch.Generator().manual_seed(stream_seed(stream))


def _broadcast(message: Any) -> Any:
    box = [message]
    torch.distributed.broadcast_object_list(box, src=0)
    return box[0]


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Global generators that start at this seed, for the block: vLLM draws from torch's or, for its own streams, from numpy's."""
    before = np.random.get_state()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            np.random.set_state(before)


@contextmanager
def _sampling(trainer: Any, max_new_tokens: int, temperature: float, top_p: float) -> Iterator[None]:
    """TRL's generation with these settings for the block; evaluation may sample otherwise than training."""
    if trainer.use_vllm:
        owner: Any = trainer.vllm_generation
        wanted: dict[str, Any] = {"max_completion_length": max_new_tokens, "temperature": temperature, "top_p": top_p}
    else:
        import copy

        config = copy.deepcopy(trainer.generation_config)
        sampled = {"do_sample": True, "temperature": temperature, "top_p": top_p} if temperature > 0 else {"do_sample": False}
        config.update(max_new_tokens=max_new_tokens, **sampled)
        owner, wanted = trainer, {"generation_config": config}
    before = {name: getattr(owner, name) for name in wanted}
    for name, value in wanted.items():
        setattr(owner, name, value)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(owner, name, value)
