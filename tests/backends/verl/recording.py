"""Recordings of verl's real trainer: what reaches its update, and what its engine sampled."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.records.ledger import read_ledger
from harness.records.ledger_records import Attempt, start_of
from harness.records.stopping_ledger import RunLedger
from harness.spec import RunSpec
from harness.testing.backend_contract import Row, Seen, Training


def start(spec: RunSpec, run_dir: Path) -> RunLedger:
    """A run folder as the worker makes it, or the ledger of one that goes on."""
    run_dir.mkdir(parents=True, exist_ok=True)
    new = not (run_dir / "ledger.jsonl").exists()
    spec.save(run_dir / "spec.json")
    ledger = RunLedger(run_dir / "ledger.jsonl", spec.budget, spec.algorithm.max_steps)
    if new:
        ledger.write(start_of(spec))
    return ledger


def rows_of_batch(batch: Any) -> list[Row]:
    """The rows of a batch in the queue, as the actor is about to get them."""
    import transfer_queue as tq

    from backends.verl.columns import rows_of

    keys = [key for key, tag in zip(batch.keys, batch.tags, strict=True) if not tag.get("is_padding")]
    fields = ["prompts", "responses", "rollout_log_probs", "old_log_probs", "advantages"]
    data = tq.kv_batch_get(keys=keys, partition_id="train", select_fields=fields)
    columns = zip(*(rows_of(data[name]) for name in fields), strict=True)
    return [Row(tuple(p.tolist()), tuple(r.tolist()), mu.copy(), old.copy(), float(a[0])) for p, r, mu, old, a in columns]


@contextmanager
def patched(owner: Any, name: str, make: Callable[[Any], Any]) -> Iterator[None]:
    """A method replaced for the block; ``make`` gets the original."""
    original = getattr(owner, name)
    setattr(owner, name, make(original))
    try:
        yield
    finally:
        setattr(owner, name, original)


def record(
    spec: RunSpec,
    run_dir: Path,
    cache: Path,
    resume_from: Path | None = None,
    copy_at: tuple[int, Path] | None = None,
    watch: bool = True,
) -> Training:
    """Train one run through the backend in this process.

    copy_at: (step, folder) keeps the run's folder as it is then. watch: fetch the rows of every update.
    """
    from backends.verl.backend import VerlBackend
    from backends.verl.config import Placement
    from backends.verl.run import set_environment

    set_environment(Placement.of(spec, 0), spec)
    from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync

    from backends.verl.rollout_engine import VerlRolloutEngine
    from backends.verl.session import VerlSession
    from backends.verl.trainer import HalfwayTrainer

    training = Training(log=None)  # type: ignore[arg-type]
    made: list[int] = []

    def plain_update(original: Any) -> Any:
        def counted(self: Any, batch: Any, metrics: Any) -> Any:
            done = original(self, batch, metrics)
            made.append(len(batch) // batch.extra_info["mini_batch_size"])
            return done

        return counted

    def update(original: Any) -> Any:
        def recorded(self: Any, batch: Any, metrics: Any) -> Any:
            rows = rows_of_batch(batch) if watch else []
            before = len(made)
            done = original(self, batch, metrics)
            training.steps.append(Seen(self.session.run.batch, rows, sum(made[before:])))
            return done

        return recorded

    def generate(original: Any) -> Any:
        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            found = original(self, *args, **kwargs)
            if self.clock.running:
                training.generated_rollouts += sum(len(group) for group in found[0])
                training.generated_tokens += sum(len(c.token_ids) for group in found[0] for c in group)
            return found

        return counted

    def save(original: Any) -> Any:
        def copied(self: Any, step: int) -> bool:
            ends: bool = original(self, step)
            if copy_at is not None and step == copy_at[0]:
                shutil.copytree(run_dir, copy_at[1])
            return ends

        return copied

    with (
        patched(PPOTrainerSync, "_update_actor", plain_update),
        patched(HalfwayTrainer, "_update_actor", update),
        patched(VerlRolloutEngine, "_generate", generate),
        patched(VerlSession, "save", save),
    ):
        ledger = start(spec, run_dir)
        if resume_from is not None:
            ledger.write(Attempt(2, {}, int(resume_from.name.rpartition("-")[2])))
        VerlBackend().train(spec, run_dir, cache, ledger, resume_from)
        ledger.close()
    training.log = read_ledger(run_dir / "ledger.jsonl")
    return training
