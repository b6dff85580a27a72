"""Groups of different sizes, subsets and stored rollouts inside groups, through the real trainer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.records.ledger_records import Attempt
from harness.registry import strategy_entry
from harness.step.advantage import advantages
from harness.types import PromptGroup
from tests.backends.trl.conftest import TASK, make_spec, train
from tests.backends.trl.test_batches import group_rows, rows
from tests.backends.trl.test_runs import numbers

ORDERED = "tests.backends.ordered:ORDERED"
RAGGED = "tests.backends.trl.ragged:Ragged"


def spec_of(strategy: str, config: dict[str, Any] | None = None, algorithm: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    """A run on a pool of 16 questions, which come back at every second step; ``ragged`` is the test strategy."""
    plugin = RAGGED if strategy == "ragged" else None
    spec = make_spec("grpo" if plugin else strategy, config, algorithm, **kwargs)
    task = TASK.model_copy(update={"config": {**TASK.config, "train": 16}})
    update: dict[str, Any] = {"combination": spec.combination.model_copy(update={"task": task})}
    if plugin:
        update["strategy"] = spec.strategy.model_copy(update={"name": "ragged", "plugin": plugin})
    return spec.model_copy(update=update)


def trained(group: PromptGroup) -> list[Any]:
    return [(tuple(r.prompt_token_ids.tolist()), tuple(r.completion_token_ids.tolist())) for r in group.trained_rollouts]


@pytest.mark.parametrize("normalization", ["std", "none"])
def test_our_advantages_are_trls_on_equal_groups(
    normalization: str, tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """Whole groups of one size: every advantage in TRL's batch is the one of harness.step.advantage, to float32 precision."""
    train(make_spec("rr", {"capacity": 16}, {"advantage_normalization": normalization}), tmp_path, cache)
    compared = 0
    for seen in recorded():
        expected: dict[Any, set[float]] = {}
        for group in seen["batch"].groups:
            for row, advantage in zip(group_rows([group]), advantages(group, normalization), strict=True):
                expected.setdefault(row, set()).add(float(advantage))
        for row, advantage in zip(rows(seen["inputs"]), seen["inputs"]["advantages"].tolist(), strict=True):
            assert min(abs(advantage - e) for e in expected[row]) < 1e-6
            compared += 1
    assert compared == 4 * 8 * 4


def test_the_irregular_path_trains_like_the_regular_one(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain batches sent the way of irregular ones: the same losses and accuracies as TRL's own advantages give."""
    plain = train(make_spec("rr", {"capacity": 16}), tmp_path / "plain", cache)
    monkeypatch.setattr("backends.trl.trainer.is_plain", lambda *_: False)
    irregular = train(make_spec("rr", {"capacity": 16}), tmp_path / "irregular", cache)
    assert [s.question_ids for s in irregular.steps] == [s.question_ids for s in plain.steps]
    assert [s.loss for s in irregular.steps] == pytest.approx([s.loss for s in plain.steps], abs=1e-6)
    assert [s.costs.trained_tokens for s in irregular.steps] == [s.costs.trained_tokens for s in plain.steps]


@pytest.mark.parametrize("aggregation", ["token-mean", "sequence-mean", "dr-grpo"])
def test_the_loss_of_irregular_groups_by_hand(
    aggregation: str, tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """Groups of 2 … 9, some in part: with one update every ratio is 1, so the loss is −ΣA·T/ΣT, −ΣA/n or −ΣA·T/(n·max).

    Padding adds nothing.
    """
    log = train(spec_of("ragged", algorithm={"loss_aggregation": aggregation, "advantage_normalization": "none"}), tmp_path, cache)
    for step, seen in zip(log.steps, recorded(), strict=True):
        groups = seen["batch"].groups
        assert [g.size for g in groups] == list(range(2, 10))
        terms = [(float(a), r.num_tokens) for g in groups for a, r in zip(advantages(g, "none"), g.trained_rollouts, strict=True)]
        weighted, tokens, count = sum(a * t for a, t in terms), sum(t for _, t in terms), len(terms)
        assert count == 41
        assert len(seen["inputs"]["completion_ids"]) == 44  # the next multiple of G = 4
        expected = {"token-mean": weighted / tokens, "sequence-mean": sum(a for a, _ in terms) / count, "dr-grpo": weighted / (12 * count)}
        assert step.loss == pytest.approx(-expected[aggregation], abs=1e-6)
        assert int(seen["inputs"]["completion_mask"].sum()) == tokens
    assert any(abs(s.loss) > 1e-3 for s in log.steps)
    assert log.steps[-1].costs.trained_tokens == sum(int(s["inputs"]["completion_mask"].sum()) for s in recorded())
    assert (log.steps[-1].costs.fresh_rollouts, log.steps[-1].costs.filtered_rollouts) == (4 * 41, 4 * 3)


FAMILIES = {
    "dapo": {"oversample": 1.5, "max_rounds": 3},  # filter and refill
    "mopps+rr": {"capacity": 16},  # history, whole groups replayed
    "speed": {"screening": 2},  # probe, then continue
    "pods": {"oversample": 2.0},  # subset of a group
    "knapsack": {},  # rollouts per question
    "prompt-replay+aper": {"cooldown": 0},  # single rollouts beside the batch
    "repo": {"min_cache_to_replay": 4, "num_replays": 3, "adv_norm": "mixed"},  # stored rollouts inside groups
    "pods+rlep": {"oversample": 1.5},  # subset and stored rollouts in one group
    "rr": {"variant": "code", "capacity": 16, "replay_after": 1},  # a batch that shrinks, replayed groups last
    "fair-replay": {"capacity": 24},  # fresh groups that wait in the buffer
    "lze": {},  # part of a round
    "dppo": {},  # weights on groups
    "reinforce-ada": {"round_rollouts": 4},  # several probes of a question, the baseline over all
    "vip+rr": {"capacity": 16},  # embeddings, rollouts per question, replayed groups of several sizes
}


@pytest.mark.parametrize("strategy", sorted(FAMILIES))
def test_every_family_trains_on_what_it_chose(
    strategy: str, tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """Two updates, degenerate groups dropped: a step's rows are its trained rollouts, each with its group's advantage."""
    spec = spec_of(strategy, FAMILIES[strategy], {"max_steps": 5, "updates_per_batch": 2, "drop_degenerate": True})
    log = train(spec, tmp_path, cache)
    for step in range(5):
        parts = recorded()[2 * step : 2 * step + 2]
        groups = parts[0]["batch"].groups
        expected: dict[Any, list[float]] = {}
        for group in groups:
            for row, advantage in zip(trained(group), advantages(group, "std"), strict=True):
                expected.setdefault(row, []).append(float(advantage))
        found: Counter[Any] = Counter()
        for part in (p["inputs"] for p in parts):
            for row, advantage in zip(rows(part), part["advantages"].tolist(), strict=True):
                if not row[1]:
                    continue  # padding, kept where nothing else is left
                found[row] += 1
                assert min(abs(advantage - e) for e in expected[row]) < 1e-5
        assert not found - Counter(row for group in groups for row in trained(group))
        informative = sum(len(g.trained_rollouts) for g in groups if advantages(g, "std").any())
        assert sum(found.values()) >= informative
    costs = log.steps[-1].costs
    assert costs.fresh_rollouts + costs.probe_rollouts > 0
    assert costs.replayed_rollouts == sum(sum(g.replayed_flags) for i, s in enumerate(recorded()) if i % 2 == 0 for g in s["batch"].groups)
    if "+" in strategy or strategy == "repo":
        assert costs.replayed_rollouts > 0
        assert log.steps[-1].importance_ratio
    assert all(s.fresh_log_ratio is None or s.fresh_log_ratio < 1e-4 for s in log.steps)


@pytest.mark.parametrize("strategy", ["dapo", "greso", "speed"])
def test_a_hopeless_pool_ends(strategy: str, tmp_path: Path, cache: Path) -> None:
    """One token is never a right answer: refills and screening end, refused groups are trained on, with a loss of zero."""
    config = {"screening": 2} if strategy == "speed" else {"max_rounds": 3}
    log = train(spec_of(strategy, config, {"max_steps": 2, "max_completion_tokens": 1, "drop_degenerate": True}), tmp_path, cache)
    assert [(s.step, s.loss, s.non_degenerate_share) for s in log.steps] == [(1, 0.0, 0.0), (2, 0.0, 0.0)]
    assert log.steps[-1].costs.fresh_rollouts > 0
    assert log.steps[-1].costs.rollouts < 2 * 16 * 4 * 10


@pytest.mark.parametrize("strategy", ["speed+aper", "pods+rlep"])
def test_resume_with_irregular_batches(strategy: str, tmp_path: Path, cache: Path) -> None:
    """Stopped and resumed in new objects: same questions, losses and accuracies to the last digit."""
    from backends.trl.backend import TrlBackend
    from harness.records.checkpoint import newest_complete
    from harness.records.ledger import LedgerWriter, read_ledger

    config = {"screening": 2} if strategy.startswith("speed") else {}
    whole = train(spec_of(strategy, config, {"max_steps": 6}), tmp_path / "whole", cache)
    train(spec_of(strategy, config, {"max_steps": 4}), tmp_path / "parts", cache)
    found = newest_complete(tmp_path / "parts" / "checkpoints")
    assert found is not None
    ledger = LedgerWriter(tmp_path / "parts" / "ledger.jsonl")
    ledger.write(Attempt(2, {}, found[0]))
    TrlBackend().train(spec_of(strategy, config, {"max_steps": 6}), tmp_path / "parts", cache, ledger, found[1])
    assert numbers(read_ledger(tmp_path / "parts" / "ledger.jsonl")) == numbers(whole)


def test_trls_own_generation_with_unequal_counts(tmp_path: Path, cache: Path) -> None:
    """``generate`` rolls out as many completions per question as asked for, too."""
    log = train(spec_of("ragged", algorithm={"max_steps": 2}, generation="generate"), tmp_path, cache)
    assert log.steps[-1].costs.fresh_rollouts + log.steps[-1].costs.filtered_rollouts == 2 * sum(range(2, 10))


@pytest.mark.slow
def test_two_processes_with_irregular_batches(tmp_path: Path, cache: Path) -> None:
    """Ranks with different numbers of rollouts pad to one length, drop to one length, and end."""
    spec = spec_of("pods+aper", {}, {"max_steps": 3, "updates_per_batch": 2, "drop_degenerate": True}, processes=2)
    log = train(spec, tmp_path, cache)
    assert [s.step for s in log.steps] == [1, 2, 3]
    assert log.steps[-1].costs.replayed_rollouts > 0


@pytest.mark.parametrize("drop", [False, True])
def test_fresh_groups_reach_the_first_updates(
    drop: bool, tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """``order = "fresh-first"``: the rows of a step's updates, one after the other, are those of its groups in their order."""
    entry = strategy_entry("ordered", [ORDERED])
    spec = make_spec(algorithm={"updates_per_batch": 4, "drop_degenerate": drop})
    strategy = spec.strategy.model_copy(update={"name": "ordered", "plugin": ORDERED, "config": entry.resolve_config({"capacity": 24})})
    log = train(spec.model_copy(update={"strategy": strategy}), tmp_path, cache)
    for step in range(4):
        parts = recorded()[4 * step : 4 * step + 4]
        groups = parts[0]["batch"].groups
        expected = [row for g in groups for row in group_rows([g])]
        found = [row for p in parts for row in rows(p["inputs"])]
        if drop:
            assert found == [row for row in expected if row in found]
        else:
            assert found == expected
        replayed = [flag for p in parts for flag in p["inputs"]["replayed"].tolist()]
        assert replayed == sorted(replayed)
    assert log.steps[-1].replayed_question_ids
    assert log.steps[-1].importance_ratio["tokens"] > 0
