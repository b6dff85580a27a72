"""The rows of a batch by hand: advantages with loss weights, mini-batches without degenerate rows, the order kept for several ranks."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from transfer_queue import KVBatchMeta

from backends.verl.queued_batch import QueuedBatch, Row
from backends.verl.session import VerlSession
from harness.spec import AlgorithmSpec
from harness.strategy import Correction
from harness.types import PromptGroup, Rollout


def batch_of(*groups: PromptGroup) -> QueuedBatch:
    """A queued batch whose keys name question and position: q1r0, q1r1, …; tokens as many as the rollout has."""
    rows = [
        Row(f"q{g.question_id}r{i}", {"response_len": r.num_tokens}, r, g.source == "replayed", g.source != "replayed")
        for g in groups
        for i, r in enumerate(g.rollouts)
    ]
    return QueuedBatch(groups, rows)


def group(question: int, rewards: list[float], source: Any = "fresh", weight: float = 1.0, tokens: int = 2) -> PromptGroup:
    ids, mu = np.arange(tokens), np.full(tokens, -1.0)
    return PromptGroup(question, tuple(Rollout(question, ids[:1], ids, mu, 0, "", r) for r in rewards), source, loss_weight=weight)


def test_weighted_groups_get_their_own_advantages() -> None:
    """r − mean, times the weight, on every token; groups of weight 1 are left to verl, groups of one are not."""
    own = batch_of(group(1, [1.0, 0.0], weight=0.5), group(2, [1.0, 0.0]), group(3, [1.0])).own_advantages("none")
    assert {key: values.tolist() for key, values in own.items()} == {"q1r0": [0.25, 0.25], "q1r1": [-0.25, -0.25], "q3r0": [0.0, 0.0]}


@pytest.mark.parametrize(("aggregation", "scale"), [("token-mean", 4 / 10), ("sequence-mean", 2 / 4)])
def test_degenerate_rows_leave_their_mini_batch(aggregation: Any, scale: float) -> None:
    """Two groups of two in one mini-batch: the degenerate one goes, and what stays makes up for the divisor, in rows or in tokens."""
    batch = batch_of(group(1, [1.0, 0.0]), group(2, [1.0, 1.0], tokens=3))
    algorithm = AlgorithmSpec(updates_per_batch=1, loss_aggregation=aggregation)
    (part,) = batch.informative_parts(batch.meta, algorithm, range(4), ranks=1)
    assert (part.keys, part.scale) == (["q1r0", "q1r1"], pytest.approx(scale))
    (wider,) = batch.informative_parts(batch.meta, algorithm, range(4), ranks=3)
    assert wider.keys == ["q1r0", "q1r1", "q2r0"]  # as many rows for every rank


def session_of(batch: QueuedBatch, correction: Correction | None) -> VerlSession:
    session = VerlSession.__new__(VerlSession)
    session.queued, session.correction = batch, correction
    session.spec = SimpleNamespace(seed=3, algorithm=AlgorithmSpec(updates_per_batch=2))  # type: ignore[assignment]
    session.engine = SimpleNamespace(policy_version=5)  # type: ignore[assignment]
    return session


def test_fresh_rows_come_first_on_every_rank() -> None:
    """verl has reordered rows and added one that fills the ranks up: each of two ranks gets its half of every mini-batch, in order."""
    queued = batch_of(group(1, [1.0, 0.0]), group(2, [1.0, 0.0]), group(3, [1.0, 0.0, 0.0], "replayed"))
    session = session_of(queued, Correction(order="fresh-first"))
    shuffled = ["q3r0", "q1r1", "padding", "q2r0", "q1r0", "q3r2", "q2r1", "q3r1"]
    batch = KVBatchMeta(partition_id="train", keys=list(shuffled), tags=[{}] * 8)
    batch.reorder(session.in_order(batch, 2))
    assert batch.keys == ["q1r0", "q2r0", "q3r0", "q3r2", "q1r1", "q2r1", "q3r1", "padding"]
    assert session.replayed_keys() == ["q3r0", "q3r1", "q3r2"]


def test_lean_mini_batches_keep_the_order_or_shuffle() -> None:
    """With ``drop_degenerate`` the mini-batches are cut from the order of the batch, or from a shuffle that the seed and the step fix."""
    queued = batch_of(*(group(q, [1.0, 0.0]) for q in range(8)))
    in_order = session_of(queued, Correction(order="fresh-first")).informative_parts(queued.meta, 1)
    assert [key for part in in_order for key in part.keys] == queued.keys
    shuffled = session_of(queued, Correction()).informative_parts(queued.meta, 1)
    again = session_of(queued, None).informative_parts(queued.meta, 1)
    assert [part.keys for part in shuffled] == [part.keys for part in again]
    assert sorted(key for part in shuffled for key in part.keys) == sorted(queued.keys)
    assert [part.keys for part in shuffled] != [part.keys for part in in_order]
