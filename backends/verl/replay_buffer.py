"""verl's replay buffer with Halfway's batches: verl samples from it the batch that the session prepared.

verl finds it by ``trainer.v1.sampler.custom_sampler``. It also waits for rollouts, and notices when the processes that make them
have died, which verl's own polling does not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import transfer_queue as tq
from transfer_queue import KVBatchMeta
from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

from harness.errors import FailureKind, RunFailed

#: Seconds between two looks at the queue: a share of what was waited already, within bounds. verl's own is 2 s.
POLL_SHARE, SHORTEST_POLL, LONGEST_POLL = 0.01, 0.02, 1.0
#: Seconds between two looks at whether the rollout processes live.
LIVENESS_SECONDS = 2.0


class HalfwayReplayBuffer(ReplayBuffer):  # type: ignore[misc]
    """``prepared`` is the batch of the running step; ``check_alive`` raises if a process that makes rollouts is gone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.prepared: KVBatchMeta | None = None
        self.check_alive: Callable[[], None] = _no_check

    def sample(self, global_steps: int, partition_id: str, batch_size: int) -> tuple[KVBatchMeta, dict[str, Any]]:
        """The prepared batch, once."""
        if self.prepared is None:
            raise RuntimeError("verl asked for a batch that was not prepared")
        batch, self.prepared = self.prepared, None
        return batch, {}

    def wait(self, uids: Sequence[str], partition_id: str) -> dict[str, tuple[list[str], list[dict[str, Any]]]]:
        """Keys and tags of the rollouts of every prompt, in the order of their sessions, once all prompts have ended.

        Raises RunFailed if a prompt failed in verl's agent loop.
        """
        wanted = set(uids)
        started = looked = time.monotonic()
        while True:
            self._sync_metadata_from_transfer_queue()
            ended = self.finished_keys[partition_id] | self.failure_keys[partition_id]
            if wanted <= ended:
                break
            now = time.monotonic()
            if now - looked > LIVENESS_SECONDS:
                looked = now
                self.check_alive()
            time.sleep(min(LONGEST_POLL, max(SHORTEST_POLL, POLL_SHARE * (now - started))))
        failed = wanted & self.failure_keys[partition_id]
        if failed:
            reason = f"{len(failed)} of {len(wanted)} prompts failed in verl's agent loop; the attempt's log says why"
            raise RunFailed(FailureKind.ROLLOUT, reason)
        found: dict[str, list[tuple[int, str, dict[str, Any]]]] = {uid: [] for uid in uids}
        for key, tag in self.partitions[partition_id].items():
            uid, session, _ = key.split("_")
            if uid in found:
                found[uid].append((int(session), key, tag))
        tq.kv_clear(keys=list(uids), partition_id=partition_id)
        return {uid: _columns(sorted(rows, key=lambda row: row[0])) for uid, rows in found.items()}


def _columns(rows: Sequence[tuple[int, str, dict[str, Any]]]) -> tuple[list[str], list[dict[str, Any]]]:
    return [key for _, key, _ in rows], [tag for _, _, tag in rows]


def _no_check() -> None:
    """There is no process to look after."""
