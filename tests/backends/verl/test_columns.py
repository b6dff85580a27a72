"""Groups to verl's columns and back, and what else is worked out without a run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backends.verl.columns import nested, replay_columns, reward_column, rows_of
from backends.verl.failures import translate, translated_errors
from backends.verl.seams import check_seams, unsupported_reason
from harness.errors import Interrupted, RunFailed, UserError
from harness.types import Rollout


def rollout(prompt: list[int], completion: list[int], reward: float = 0.0) -> Rollout:
    log_probs = -np.arange(1, len(completion) + 1, dtype=np.float32)
    return Rollout(0, np.array(prompt), np.array(completion, dtype=np.int32), log_probs, 3, "", reward)


def test_a_column_gives_its_rows_back() -> None:
    """Jagged or rectangular, in order, bit for bit."""
    rows = [np.array([1.5, 2.5], dtype=np.float32), np.array([3.5], dtype=np.float32), np.array([4.0, 5.0, 6.0], dtype=np.float32)]
    for given in (rows, rows[:1], [rows[0], rows[0]]):
        back = rows_of(nested(given, torch.float32))
        assert all(np.array_equal(a, b) for a, b in zip(back, given, strict=True))
    assert [r.tolist() for r in rows_of(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))] == [[1, 2], [3, 4]]


def test_stored_rollouts_as_verls_fields() -> None:
    """Two rollouts by hand: ids joined, positions counted, masks one, μ as it was stored, the given uid."""
    made = replay_columns([rollout([7, 8], [1, 2, 3]), rollout([9], [4])], ["a", "b"], {"num_turns": 2, "uid": "ignored"})
    assert [r.tolist() for r in rows_of(made["input_ids"])] == [[7, 8, 1, 2, 3], [9, 4]]
    assert [r.tolist() for r in rows_of(made["position_ids"])] == [[0, 1, 2, 3, 4], [0, 1]]
    assert [r.tolist() for r in rows_of(made["response_mask"])] == [[1, 1, 1], [1]]
    assert [r.tolist() for r in rows_of(made["rollout_log_probs"])] == [[-1, -2, -3], [-1]]
    assert list(made["uid"]) == ["a", "b"]
    assert list(made["num_turns"]) == [2, 2]


def test_rewards_are_at_the_last_token() -> None:
    """verl sums a row's scores: zero everywhere but at its end."""
    column = reward_column([rollout([7], [1, 2], 1.0), rollout([7], [3], 0.5)])
    assert [r.tolist() for r in rows_of(column)] == [[0.0, 1.0], [0.5]]


def test_an_unsupported_environment_is_named() -> None:
    """Missing packages, another version and a TRL beside it, each by name."""
    good = {"verl": "0.9.1", "TransferQueue": "0.1.11", "ray": "2.60.0", "torch": "2.13.0", "transformers": "5.10.4", "cachetools": "8.0.1"}
    assert unsupported_reason(good, has_trl=False) == ""
    assert "verl 0.10.0 is not supported" in unsupported_reason({**good, "verl": "0.10.0"}, has_trl=False)
    assert "TransferQueue not installed" in unsupported_reason({k: v for k, v in good.items() if k != "TransferQueue"}, has_trl=False)
    assert "environment of its own" in unsupported_reason(good, has_trl=True)


def test_a_verl_without_the_seams_is_named() -> None:
    """A trainer or buffer that lacks a method the adapter overrides is refused with its name."""

    class Trainer:
        def prepare_step(self) -> None: ...
        def _update_actor(self, data: object) -> None: ...

    class Buffer:
        def sample(self, global_steps: int, partition_id: str, batch_size: int) -> None: ...

    with pytest.raises(UserError, match=r"Trainer\._update_actor.*Buffer\._sync_metadata_from_transfer_queue"):
        check_seams(Trainer, Buffer)


def test_failures_of_ray_are_translated() -> None:
    """Dead workers interrupt a run, which may go on; a full store, no memory and diverged numbers fail it."""
    import ray.exceptions as ray_errors

    assert isinstance(translate(ray_errors.WorkerCrashedError()), Interrupted)
    assert isinstance(translate(ray_errors.ActorDiedError()), Interrupted)
    for error, kind in (
        (ray_errors.ObjectStoreFullError("full"), "object-store"),
        (ray_errors.OutOfMemoryError("killed"), "memory"),
        (ray_errors.RayTaskError("f", "trace", FloatingPointError("logits")), "nan"),
    ):
        translation = translate(error)
        assert isinstance(translation, RunFailed)
        assert translation.kind == kind
    assert translate(ValueError("ours")) is None
    with pytest.raises(RunFailed, match="lower learning_rate"), translated_errors():
        raise FloatingPointError("the loss is nan")
