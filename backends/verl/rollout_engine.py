"""Rollouts through verl: made by its agent loop and inference engine, fetched from TransferQueue.

Fresh rollouts stay in the queue under their keys until the step is over, so that only replayed ones are put back for the update.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
import transfer_queue as tq
from verl.utils import tensordict_utils as tu

from backends.common.completion import Completion
from backends.common.scoring_engine import ScoringEngine, stream_seed
from backends.verl.columns import rows_of
from backends.verl.names import AGENT_LOOP, ERROR, REQUEST
from harness.backend import RolloutPhase
from harness.errors import FailureKind, Interrupted, RunFailed
from harness.types import FloatArray, IntArray, PromptGroup, Rollout, with_uids

if TYPE_CHECKING:
    from harness.reward.service import RewardService
    from harness.spec import RunSpec
    from harness.step.clock import Clock
    from harness.task import TaskData

#: verl's two partitions: rollouts to train on, and rollouts that are only scored (probes, diagnostics, evaluations).
TRAIN, SCORED_ONLY = "train", "val"

#: Names of Ray's errors for a process that is gone; the agent loop meets them first and passes them on as text.
_DEATHS = ("ActorDiedError", "ActorUnavailableError", "RayActorError", "WorkerCrashedError", "NodeDiedError", "OwnerDiedError")


class SamplingTrainer(Protocol):
    """What the engine needs of verl's trainer."""

    global_steps: int
    replay_buffer: Any
    agent_loop_manager: Any

    def wake(self) -> None:
        """Have the inference engine ready, with the actor's weights."""
        ...

    def actor_log_probs(self, keys: Sequence[str], tags: Sequence[dict[str, Any]]) -> list[FloatArray]:
        """The actor's log-probs of rollouts in the queue, each of shape (T,)."""
        ...


class VerlRolloutEngine(ScoringEngine):
    """Implements :class:`harness.backend.RolloutEngine` on verl's trainer; ``attach`` it before use.

    eos_ids: end tokens; a completion that ends with none of them was truncated. seeded: the inference engine samples each
    row with given random numbers (Halfway's own on a CPU), so that a resumed run repeats itself.
    """

    scorer: RewardService

    def __init__(
        self, spec: RunSpec, task: TaskData, tokenizer: Any, eos_ids: Iterable[int], scorer: RewardService, clock: Clock,
        embeddings: FloatArray | None, *, seeded: bool,
    ) -> None:  # fmt: skip
        super().__init__(spec, task, tokenizer, scorer, clock, embeddings)
        self._eos, self._seeded = frozenset(eos_ids), seeded
        self._queued: dict[str, tuple[str, dict[str, Any]]] = {}  # key and tag by uid

    def attach(self, trainer: SamplingTrainer) -> None:
        """The trainer whose agent loop is used."""
        self.trainer = trainer

    # -- harness.backend.RolloutEngine -------------------------------------------------------------------------------

    def rollout(
        self, question_ids: IntArray, rollouts_per_question: int | IntArray, phase: RolloutPhase, stream: Sequence[int]
    ) -> list[PromptGroup]:
        ids = [int(i) for i in question_ids]
        counts = np.broadcast_to(np.asarray(rollouts_per_question), len(ids)).tolist()
        algorithm = self.spec.algorithm
        partition = TRAIN if phase == "rollout" else SCORED_ONLY
        with self.clock.phase(phase):
            completions, keys, tags = self._generate(
                [self.token_ids[i] for i in ids],
                counts,
                {"max_tokens": algorithm.max_completion_tokens, "temperature": algorithm.temperature, "top_p": algorithm.top_p},
                stream_seed(stream),
                partition,
            )
            texts = self.texts(completions)
        if partition == TRAIN and algorithm.behaviour_log_probs == "actor":
            with self.clock.phase("log_probs"):
                completions = self._with_actor_log_probs(completions, keys, tags)
        with self.clock.phase("reward" if phase == "rollout" else phase):
            groups = self.groups(ids, completions, texts)
        if partition == TRAIN:
            self.remember(with_uids(groups, stream), keys, tags)
        return groups

    # -- what is in the queue -------------------------------------------------------------------------------------------

    def remember(self, groups: Sequence[PromptGroup], keys: list[list[str]], tags: list[list[dict[str, Any]]]) -> None:
        """Note under which keys and tags the rollouts of new groups are in the queue."""
        for rollout, key, tag in zip((r for g in groups for r in g.rollouts), _flat(keys), _flat(tags), strict=True):
            self._queued[rollout.uid] = key, tag

    def queued(self, rollout: Rollout) -> tuple[str, dict[str, Any]] | None:
        """Key and tag of a rollout made for this step, None for a stored one."""
        return self._queued.get(rollout.uid)

    def forget(self, trained: Iterable[str]) -> None:
        """Clear the step's rollouts that are not trained on from the queue; verl clears the others after the update."""
        kept = set(trained)
        left = [key for key, _ in self._queued.values() if key not in kept]
        if left:
            tq.kv_clear(keys=left, partition_id=TRAIN)
        self._queued.clear()

    # -- generation ---------------------------------------------------------------------------------------------------

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
        """:class:`backends.common.completion.Decode` for the evaluator."""
        counts = np.broadcast_to(np.asarray(rollouts_per_prompt), len(prompts)).tolist()
        sampling = {"max_tokens": max_new_tokens, "temperature": temperature, "top_p": top_p}
        return self._generate([list(p) for p in prompts], counts, sampling, generator.initial_seed(), SCORED_ONLY)[0]

    def _generate(
        self, prompts: list[list[int]], counts: list[int], sampling: dict[str, Any], seed: int, partition: str
    ) -> tuple[list[list[Completion]], list[list[str]], list[list[dict[str, Any]]]]:
        """Completions, their keys and their tags, by prompt; what is only scored leaves the queue at once.

        Raises RunFailed for a rollout that failed, FloatingPointError for logits that are not finite, and Interrupted where the
        engine died.
        """
        uids = [uuid.uuid4().hex for _ in prompts]
        if self._seeded:
            sampling = {**sampling, "seed": seed, "rows": sum(counts)}
        firsts = np.cumsum([0, *counts])[:-1].tolist()
        self._submit(uids, prompts, counts, firsts, sampling, partition)
        found = self.trainer.replay_buffer.wait(uids, partition)
        keys = [found[uid][0] for uid in uids]
        tags = [found[uid][1] for uid in uids]
        short = next((len(k) for k, n in zip(keys, counts, strict=True) if len(k) != n), None)
        if short is not None:
            raise RuntimeError(f"a prompt came back with {short} rollouts, not the number it was sent for")
        flat = _flat(keys)
        columns = tq.kv_batch_get(keys=flat, partition_id=partition, select_fields=["responses", "rollout_log_probs"])
        tokens, log_probs = rows_of(columns["responses"]), rows_of(columns["rollout_log_probs"])
        self._raise_failed(flat, log_probs, partition)
        if partition == SCORED_ONLY:
            tq.kv_clear(keys=flat, partition_id=partition)
        rows = iter(
            Completion(t.astype(np.int32), m.astype(np.float32), truncated=int(t[-1]) not in self._eos)
            for t, m in zip(tokens, log_probs, strict=True)
        )
        return [[next(rows) for _ in range(n)] for n in counts], keys, tags

    def _submit(
        self, uids: list[str], prompts: list[list[int]], counts: list[int], firsts: list[int], sampling: dict[str, Any], partition: str
    ) -> None:
        requests = [{"prompt": p, "row": first, "sampling": sampling} for p, first in zip(prompts, firsts, strict=True)]
        step = self.trainer.global_steps
        batch = tu.get_tensordict(
            {
                "uid": np.array(uids, dtype=object),
                "index": np.arange(len(uids)).astype(object),
                "raw_prompt": _objects([] for _ in uids),
                "__rollout_n__": np.array(counts, dtype=object),
                REQUEST: _objects(requests),
            }
        )
        tu.assign_non_tensor_data(batch, "agent_name", AGENT_LOOP)
        tu.assign_non_tensor_data(batch, "global_steps", step)
        if partition == SCORED_ONLY:
            tu.assign_non_tensor_data(batch, "validate", True)
        tq.kv_batch_put(
            keys=uids, partition_id=partition, tags=[{"is_prompt": True, "status": "pending", "global_steps": step} for _ in uids]
        )
        self.trainer.wake()
        self.trainer.agent_loop_manager.generate_sequences(batch)

    def _raise_failed(self, keys: list[str], log_probs: list[Any], partition: str) -> None:
        failed = [key for key, row in zip(keys, log_probs, strict=True) if math.isnan(row[0])]
        if not failed:
            return
        extra = tq.kv_batch_get(keys=failed[:1], partition_id=partition, select_fields=["extra_fields"]).get("extra_fields")
        text = next(iter(extra.tolist())).get(ERROR, "the engine gave a log-prob that is not a number")
        reason = " ".join(text.split())
        if reason.startswith("FloatingPointError"):
            raise FloatingPointError(reason.partition(": ")[2])
        if reason.startswith(_DEATHS):
            raise Interrupted(f"the inference engine died in the middle of a step ({reason[:200]})")
        raise RunFailed(FailureKind.ROLLOUT, f"{len(failed)} of {len(keys)} rollouts failed in the inference engine: {reason}")

    def _with_actor_log_probs(
        self, completions: list[list[Completion]], keys: list[list[str]], tags: list[list[dict[str, Any]]]
    ) -> list[list[Completion]]:
        """The same completions, μ recomputed by the actor: the policy is the one that sampled, so this is π_old of the step too."""
        rows = iter(self.trainer.actor_log_probs(_flat(keys), _flat(tags)))
        return [[Completion(c.token_ids, next(rows), c.truncated) for c in group] for group in completions]


def _flat(rows: Iterable[Iterable[Any]]) -> list[Any]:
    return [item for row in rows for item in row]


def _objects(items: Iterable[Any]) -> np.ndarray[Any, Any]:
    """A one-dimensional object array, also of lists and dicts."""
    given = list(items)
    array = np.empty(len(given), dtype=object)
    array[:] = given
    return array
