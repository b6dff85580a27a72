"""Whole runs: identity with a bare GRPOTrainer, resume, TRL's own generation, several processes, failures."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.errors import RunFailed, UserError
from harness.records.checkpoint import newest_complete
from harness.records.ledger import LedgerWriter, RunLog, read_ledger
from harness.records.ledger_records import Attempt
from harness.spec import RunSpec
from tests.backends.trl.conftest import make_spec, start, train


def numbers(log: RunLog) -> Any:
    """Everything of a run that must not depend on when or how often it was stopped (losses to the last digit)."""
    steps = [(s.step, s.question_ids, s.pass_rates, s.replayed_question_ids, s.loss, s.costs.generated_tokens) for s in log.steps]
    return steps, [(e.step, e.accuracy, e.predictor, e.costs.rollouts) for e in log.evaluations]


@pytest.mark.parametrize("updates", [1, 2])
def test_grpo_is_bit_identical_to_a_bare_trainer(updates: int, tmp_path: Path, cache: Path) -> None:
    """Switched off, Halfway is not there: the weights after training equal those of TRL's own GRPOTrainer bit for bit."""
    import torch

    from backends.common.prepare import prepare
    from backends.trl.run import build_trainer
    from benchmarks.overhead import bare_trainer

    spec = make_spec("grpo", algorithm={"updates_per_batch": updates}, evaluation={"every_steps": 100})
    prepared = prepare(spec, cache, lambda *_: None)
    ours = build_trainer(spec, prepared, tmp_path / "ours", start(spec, tmp_path / "run"))
    with ours.session.engine.scoring():
        ours.train()
    bare = bare_trainer(spec, prepared, tmp_path / "bare")
    bare.train()
    for (name, a), (_, b) in zip(ours.model.named_parameters(), bare.model.named_parameters(), strict=True):
        assert torch.equal(a, b), name


@pytest.mark.parametrize(
    ("strategy", "config", "algorithm"),
    [
        ("grpo", {}, {"updates_per_batch": 2, "drop_degenerate": True}),
        ("dots-rr", {"references": 8, "capacity": 16, "interval": 2}, {}),
        ("frontier", {"uses": 3, "features": "embeddings"}, {}),
    ],
)
def test_resume_continues_as_if_never_stopped(strategy: str, config: Any, algorithm: Any, tmp_path: Path, cache: Path) -> None:
    """Stopped after a checkpoint and resumed in new objects: same questions, losses and accuracies to the last digit."""
    from backends.trl.backend import TrlBackend

    whole = train(make_spec(strategy, config, {"max_steps": 6, **algorithm}), tmp_path / "whole", cache)
    first = make_spec(strategy, config, {"max_steps": 4, **algorithm})
    train(first, tmp_path / "parts", cache)
    found = newest_complete(tmp_path / "parts" / "checkpoints")
    assert found is not None
    step, folder = found
    assert step == 4
    ledger = LedgerWriter(tmp_path / "parts" / "ledger.jsonl")
    ledger.write(Attempt(2, {}, step))
    TrlBackend().train(make_spec(strategy, config, {"max_steps": 6, **algorithm}), tmp_path / "parts", cache, ledger, folder)
    parts = read_ledger(tmp_path / "parts" / "ledger.jsonl")
    assert numbers(parts) == numbers(whole)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path, cache: Path) -> None:
    """Mixing two runs' folders is an error, not a mixture."""
    from backends.trl.backend import TrlBackend

    train(make_spec("grpo", algorithm={"max_steps": 2}), tmp_path, cache)
    found = newest_complete(tmp_path / "checkpoints")
    assert found is not None
    other = make_spec("grpo", seed=2)
    with pytest.raises(UserError, match="belongs to run"):
        TrlBackend().train(other, tmp_path, cache, LedgerWriter(tmp_path / "ledger.jsonl"), found[1])


def test_a_spent_budget_ends_the_run_at_a_checkpoint(tmp_path: Path, cache: Path) -> None:
    """A run past its budget stops after the step, with a complete checkpoint to go on from."""
    from harness.spec import BudgetSpec

    spec = make_spec("grpo", checkpoint_every_steps=100).model_copy(update={"budget": BudgetSpec(generated_tokens=1)})
    log = train(spec, tmp_path, cache)
    assert [s.step for s in log.steps] == [1]
    found = newest_complete(tmp_path / "checkpoints")
    assert found is not None
    assert found[0] == 1


def test_kept_rollouts_are_those_of_the_batches(tmp_path: Path, cache: Path) -> None:
    """``keep_rollouts`` leaves one readable file a step with every rollout trained on."""
    import pandas as pd

    log = train(make_spec("rr", {"capacity": 16}, keep_rollouts=True), tmp_path, cache)
    files = sorted((tmp_path / "rollouts").iterdir())
    assert [f.name for f in files] == [f"step-{s:06d}.parquet" for s in range(1, 5)]
    for step, file in zip(log.steps, files, strict=True):
        table = pd.read_parquet(file)
        assert len(table) == 32
        fresh = table[table.source == "fresh"]
        assert list(dict.fromkeys(fresh.question_id)) == step.question_ids
        assert fresh.groupby("question_id", sort=False).reward.mean().tolist() == step.pass_rates
        assert fresh.completion.str.len().gt(0).any()


@pytest.mark.parametrize(
    ("device", "words"), [("gpu", "use auto, cpu, cuda or cuda:N"), ("cpu:1", "not a device"), ("cuda:99", "no such GPU")]
)
def test_a_device_that_is_not_there_is_named(device: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Misspelt and missing devices are errors, before anything is built."""
    import torch

    from backends.common.devices import choose_device

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=words):
        choose_device(device)
    assert choose_device("cpu")
    assert choose_device("auto")


def test_trls_own_generation(tmp_path: Path, cache: Path) -> None:
    """With TRL's ``generate`` path RR gets its behaviour log-probs from a pass of the actor, and the ratio is 1 there too."""
    log = train(make_spec("rr", {"capacity": 16}, {"max_steps": 3}, generation="generate"), tmp_path, cache)
    assert [len(s.replayed_question_ids) for s in log.steps][-1] == 4
    assert all(s.fresh_log_ratio is not None and s.fresh_log_ratio < 1e-4 for s in log.steps)
    assert log.steps[-1].costs.forward_tokens > 0


def test_micro_batches_and_two_updates(tmp_path: Path, cache: Path) -> None:
    """Gradient accumulation changes how an update is computed, not what it is."""
    whole = train(make_spec("rr", {"capacity": 16}, {"updates_per_batch": 2}), tmp_path / "whole", cache)
    micro = train(make_spec("rr", {"capacity": 16}, {"updates_per_batch": 2}, micro_batch_rollouts=4), tmp_path / "micro", cache)
    assert [s.question_ids for s in whole.steps] == [s.question_ids for s in micro.steps]
    assert [s.costs.trained_tokens for s in whole.steps] == [s.costs.trained_tokens for s in micro.steps]
    assert whole.steps[0].loss == pytest.approx(micro.steps[0].loss, abs=1e-5)


@pytest.mark.slow
def test_two_processes_keep_groups_whole(tmp_path: Path, cache: Path) -> None:
    """Two gloo ranks: every group is on one rank, together they are the batch, and both ranks end with the same weights.

    Both sample from the weights of the step before.
    """
    algorithm = {"updates_per_batch": 2, "drop_degenerate": True, "staleness": 1}
    spec = make_spec("dots-rr", {"references": 8, "capacity": 16}, algorithm, processes=2)
    start(spec, tmp_path).close()
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "tests.backends.trl.two_ranks",
        str(tmp_path),
        str(cache),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, cwd=Path(__file__).parents[3])
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank{r}.json").read_text()) for r in range(2)]
    log = read_ledger(tmp_path / "ledger.jsonl")
    assert len(log.steps) == 4
    assert len(log.evaluations) == 3
    for step, record in enumerate(log.steps):
        mine, theirs = (r["steps"][step] for r in ranks)
        assert len(mine) == len(theirs) == 4  # 8 groups, 4 on each rank
        assert all(size == 4 for size in [*mine.values(), *theirs.values()])
        both = [q.partition("/")[0] for q in [*mine, *theirs]]
        assert sorted(both, key=int) == sorted(map(str, record.question_ids + record.replayed_question_ids), key=int)
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert [s.policy_version for s in log.steps] == [0, 0, 1, 2]
    # None where every fresh group of a step is degenerate and dropped, which depends on the processor's arithmetic.
    measured = [s.fresh_mean_log_ratio for s in log.steps[1:] if s.fresh_mean_log_ratio is not None]
    assert measured
    assert min(measured) > 1e-5
    assert log.steps[-1].costs.fresh_rollouts + log.steps[-1].costs.replayed_rollouts == 4 * 8 * 4


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [False, True])
def test_the_backend_launches_several_processes_itself(stopped: bool, tmp_path: Path, cache: Path) -> None:
    """``execution.processes = 2`` is all it takes; the records are those of one run, and a spent budget ends all ranks together."""
    from backends.trl.backend import TrlBackend
    from harness.spec import BudgetSpec

    spec = make_spec("rr", {"capacity": 16}, {"max_steps": 2}, processes=2, checkpoint_every_steps=100)
    spec = spec.model_copy(update={"budget": BudgetSpec(generated_tokens=1 if stopped else None)})
    ledger = start(spec, tmp_path)
    TrlBackend().train(spec, tmp_path, cache, ledger, None)
    assert ledger.stopped == stopped
    last = 1 if stopped else 2
    assert [s.step for s in read_ledger(tmp_path / "ledger.jsonl").steps] == list(range(1, last + 1))
    found = newest_complete(tmp_path / "checkpoints")
    assert found is not None
    assert found[0] == last


def test_a_predictor_trained_elsewhere_serves_dots(tmp_path: Path, cache: Path) -> None:
    """An artifact of `halfway predictor train` (item-response model on text features) is all that `dots` needs."""
    import numpy as np

    from harness.predictor.lab.embedders import embed_cached, make_embedder
    from harness.predictor.lab.pass_rate_table import PassRateTable
    from harness.predictor.lab.training import TrainingPlan, train_kind
    from harness.registry import load_task

    questions = load_task("spell-backward")(make_spec().combination.task.config).build().split("adapter")
    texts = [q.prompt for q in questions]
    embedder = make_embedder("tfidf", texts)
    rates = np.random.default_rng(0).binomial(16, 0.5, size=(len(texts), 3)) / 16
    table = PassRateTable(tuple(texts), ("a", "b", "c"), rates, (16, 16, 16))
    train_kind("irt", table, embed_cached(embedder, texts, None), tmp_path / "artifact", TrainingPlan(embedder.id))
    embedder.save(tmp_path / "artifact")
    log = train(make_spec("dots", {"references": 8, "predictor": str(tmp_path / "artifact")}, {"max_steps": 2}), tmp_path / "run", cache)
    assert [s.step for s in log.steps] == [1, 2]
    assert log.steps[0].costs.probe_rollouts == 8 * 4


def test_nan_loss_ends_the_run(tmp_path: Path, cache: Path) -> None:
    """A run that diverges says so and is not retried blindly."""
    with pytest.raises(RunFailed, match="learning_rate") as caught:
        train(make_spec("grpo", algorithm={"learning_rate": 1e30, "max_grad_norm": 1e30, "max_steps": 8}), tmp_path, cache)
    assert caught.value.kind == "nan"
    log = read_ledger(tmp_path / "ledger.jsonl")
    assert all(math.isfinite(s.loss) for s in log.steps)


BROKEN_REWARDS = [
    ("Raises", "raises", "reward-raised", "IndexError"),
    ("Hangs", "hangs", "reward-hangs", "0.2 s"),
    ("TooMuch", "too_much", "reward-range", "from 0 to 1"),
]


def with_task(spec: RunSpec, name: str) -> RunSpec:
    task = spec.combination.task.model_copy(update={"name": f"tests.backends.trl.broken_rewards:{name}"})
    return spec.model_copy(update={"combination": spec.combination.model_copy(update={"task": task})})


def test_an_answer_that_ends_its_scoring_process_is_counted(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It scores 0, the run goes on, the ledger has the count and the report a warning."""
    from reports.condensed import condense

    monkeypatch.setenv("HALFWAY_TEST_REWARD_DIED", str(tmp_path / "died"))
    log = train(with_task(make_spec("grpo", algorithm={"max_steps": 2}), "DiesOnce"), tmp_path, cache)
    records = [*log.steps, *log.evaluations]
    assert (sum(r.reward_timeouts for r in records), sum(r.reward_crashes for r in records)) == (0, 1)
    assert condense(log).warnings == [
        "answers that scored 0 without being judged: 0 took longer than the time limit, 1 ended the scoring process"
    ]


@pytest.mark.parametrize(("task", "function", "kind", "words"), BROKEN_REWARDS)
def test_a_broken_reward_ends_the_run(task: str, function: str, kind: str, words: str, tmp_path: Path, cache: Path) -> None:
    """A user's reward that raises, hangs or returns no score stops its run with the function's name and leaves no worker behind."""
    spec = with_task(make_spec(reward_seconds=0.2), task)
    with pytest.raises(RunFailed, match=words) as caught:
        train(spec, tmp_path, cache)
    assert caught.value.kind == kind
    assert f"broken_rewards:{function}" in str(caught.value)


def test_batches_that_cannot_be_split_are_refused(tmp_path: Path, cache: Path) -> None:
    """Whole groups only: the message names the setting and a way out."""
    from backends.trl.config import rows_per_update

    with pytest.raises(UserError, match="3 processes in whole groups"):
        rows_per_update(make_spec(), 3)
    with pytest.raises(UserError, match="micro_batch_rollouts = 5"):
        train(make_spec(micro_batch_rollouts=5), tmp_path, cache)
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_an_unsupported_trl_is_named() -> None:
    """Versions and missing packages are reported with the supported range."""
    from backends.trl.seams import check_seams, unsupported_reason

    good = {"trl": "1.16.0", "torch": "2.13.0", "transformers": "5.23.0", "accelerate": "1.15.0", "datasets": "5.2.0"}
    assert unsupported_reason(good) == ""
    assert "trl 1.17.0 is not supported" in unsupported_reason({**good, "trl": "1.17.0"})
    assert "trl 1.15.0 is not supported" in unsupported_reason({**good, "trl": "1.15.0"})
    assert unsupported_reason({**good, "trl": "1.14.2"}) == ""
    assert "trl 0.29.1 is not supported" in unsupported_reason({**good, "trl": "0.29.1"})
    assert "torch not installed" in unsupported_reason({k: v for k, v in good.items() if k != "torch"})

    class Changed:
        def __init__(self) -> None: ...
        def _generate_and_score_completions(self, rows: Any) -> None: ...

    with pytest.raises(UserError, match=r"lacks _generate_and_score_completions.*rollout_func"):
        check_seams(Changed)
