"""What reaches TRL's loss is what the strategy chose: through the real trainer, on real rollouts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backends.trl.conftest import make_spec, train


def rows(inputs: dict[str, Any]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    """(prompt, completion) token ids of a batch without padding."""
    result = []
    for i in range(len(inputs["completion_ids"])):
        prompt = inputs["prompt_ids"][i][inputs["prompt_mask"][i].bool()]
        completion = inputs["completion_ids"][i][inputs["completion_mask"][i].bool()]
        result.append((tuple(prompt.tolist()), tuple(completion.tolist())))
    return result


def group_rows(groups: list[Any]) -> list[tuple[tuple[int, ...], tuple[int, ...]]]:
    return [(tuple(r.prompt_token_ids.tolist()), tuple(r.completion_token_ids.tolist())) for g in groups for r in g.rollouts]


@pytest.mark.parametrize("updates", [1, 2])
@pytest.mark.parametrize("strategy", ["grpo", "dots-rr"])
def test_every_group_reaches_the_loss_whole_and_once(
    strategy: str, updates: int, tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]
) -> None:
    """All rows of one step's updates together are the step's groups: nothing split off, lost or doubled."""
    config = {"references": 8, "capacity": 16} if strategy == "dots-rr" else {}
    log = train(make_spec(strategy, config, {"updates_per_batch": updates}), tmp_path, cache)
    for step in range(4):
        parts = recorded()[step * updates : (step + 1) * updates]
        batch = parts[0]["batch"]
        assert Counter(r for p in parts for r in rows(p["inputs"])) == Counter(group_rows(batch.groups))
        assert [g.question_id for g in batch.fresh] == log.steps[step].question_ids
        assert len(batch.groups) == 8
        assert all(g.size == 4 for g in batch.groups)


def test_selected_ids_are_the_prompts_generated(tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]) -> None:
    """The questions in the ledger are the ones whose prompts were trained on, in TRL's own tokens."""
    from harness.registry import load_task

    spec = make_spec("oracle", {"candidate_factor": 2, "rollouts": 4})
    log = train(spec, tmp_path, cache)
    pool = load_task("spell-backward")(spec.combination.task.config).build().split("train")
    from backends.common.model_loading import load_model
    from backends.common.prepare import prepare

    tokenizer = load_model(prepare(spec, cache, lambda *_: None).model).tokenizer
    for step, seen in zip(log.steps, recorded(), strict=True):
        prompts = {tokenizer.decode(list(p), skip_special_tokens=True).replace(" ", "") for p, _ in rows(seen["inputs"])}
        assert prompts == {pool[i].prompt for i in step.question_ids}


def test_replayed_groups_keep_their_behaviour_log_probs(tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]) -> None:
    """A replayed rollout reaches the loss with the log-probs and the advantage of the step that sampled it."""
    log = train(make_spec("rr", {"capacity": 16}, {"max_steps": 6}), tmp_path, cache)
    stored: dict[Any, Any] = {}
    replayed = 0
    for seen in recorded():
        inputs, batch = seen["inputs"], seen["batch"]
        for i, row in enumerate(rows(inputs)):
            mu = inputs["sampling_per_token_logps"][i][inputs["completion_mask"][i].bool()].numpy()
            if inputs["replayed"][i]:
                replayed += 1
                known = stored[row]
                assert any(np.array_equal(mu, m) and float(inputs["advantages"][i]) == a for m, a in known)
            else:
                stored.setdefault(row, []).append((mu, float(inputs["advantages"][i])))
        for group in (g for g in batch.groups if g.source == "replayed"):
            assert not group.is_degenerate
            assert group.policy_version < batch.step - 1
    assert replayed == sum(len(s.replayed_question_ids) for s in log.steps) * 4 > 0
    assert log.steps[-1].costs.replayed_rollouts == replayed


#: Advantages of (right, wrong) rollouts in a group of four with k right. paper: r − mean. code: divided by the sample standard
#: deviation (.5 for k = 1 and 3, .57735 for k = 2), TRL adding 1e-4 to it.
BY_HAND = {
    "none": {0: (0, 0), 1: (0.75, -0.25), 2: (0.5, -0.5), 3: (0.25, -0.75), 4: (0, 0)},
    "std": {0: (0, 0), 1: (1.4997, -0.4999), 2: (0.86588, -0.86588), 3: (0.4999, -1.4997), 4: (0, 0)},
}


@pytest.mark.parametrize("normalization", ["none", "std"])
def test_advantages_by_hand(normalization: str, tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]) -> None:
    """paper: reward minus mean; code: divided by the standard deviation as well; as they reach the loss."""
    train(make_spec("grpo", algorithm={"advantage_normalization": normalization}), tmp_path, cache)
    seen_k = set()
    for seen in recorded():
        inputs, groups = seen["inputs"], seen["batch"].groups
        expected: dict[Any, set[float]] = {}
        for group in groups:
            k = round(group.rewards.sum())
            seen_k.add(k)
            right, wrong = BY_HAND[normalization][k]
            for row, reward in zip(group_rows([group]), group.rewards, strict=True):
                expected.setdefault(row, set()).add(right if reward else wrong)
        for row, advantage in zip(rows(inputs), inputs["advantages"].tolist(), strict=True):
            assert any(advantage == pytest.approx(e, abs=2e-5) for e in expected[row])
    assert {0, 1} <= seen_k


def test_importance_ratio_is_one_on_fresh_groups(tmp_path: Path, cache: Path) -> None:
    """Sampling and training agree on the log-prob of every fresh token, so no correction is hidden in the engine."""
    log = train(make_spec("rr", {"capacity": 16}), tmp_path, cache)
    deviations = [s.fresh_log_ratio for s in log.steps]
    assert all(d is not None and d < 1e-4 for d in deviations), deviations


def test_ledger_equals_the_engines_own_counts(tmp_path: Path, cache: Path, recorded: Callable[[], list[dict[str, Any]]]) -> None:
    """Fresh, probe and replayed rollouts and tokens in the ledger are what was generated and trained on."""
    log = train(make_spec("dots-rr", {"references": 8, "capacity": 16, "interval": 2}), tmp_path, cache)
    last = log.steps[-1].costs
    assert last.fresh_rollouts == sum(len(s.question_ids) for s in log.steps) * 4
    assert last.probe_rollouts == 2 * 8 * 4  # references at steps 1 and 3
    assert last.fresh_rollouts + last.replayed_rollouts == 4 * 8 * 4
    assert last.trained_tokens == sum(int(s["inputs"]["completion_mask"].sum()) for s in recorded())
    assert last.optimizer_steps == 4
    fresh_tokens = sum(g.num_tokens for s in recorded() for g in s["batch"].fresh)
    assert last.generated_tokens > fresh_tokens


def test_phases_add_up_and_evaluation_is_off_the_clock(tmp_path: Path, cache: Path) -> None:
    """The phases of a step sum to its seconds, the steps to the clock, and evaluations in between cost nothing."""
    log = train(make_spec("dots-rr", {"references": 8, "capacity": 16}), tmp_path, cache)
    for step in log.steps:
        assert sum(step.phases.values()) == pytest.approx(step.seconds)
    assert sum(s.seconds for s in log.steps) == pytest.approx(log.steps[-1].costs.training_seconds)
    after = {s.step: s.costs.training_seconds for s in log.steps}
    for point in log.evaluations[1:]:
        assert point.costs.training_seconds == after[point.step]
    assert log.evaluations[0].costs.training_seconds == 0
    assert log.evaluations[0].step == 0


def test_old_log_probs_are_computed_only_where_needed(tmp_path: Path, cache: Path) -> None:
    """One update per batch needs no extra log-prob pass, also not for replay; several updates do."""
    one = train(make_spec("rr", {"capacity": 16}), tmp_path / "one", cache)
    two = train(make_spec("rr", {"capacity": 16}, {"updates_per_batch": 2}), tmp_path / "two", cache)
    assert one.steps[-1].costs.forward_tokens == 0
    assert one.steps[-1].phases["log_probs"] == 0
    assert two.steps[-1].costs.forward_tokens > 0
    assert two.steps[-1].phases["log_probs"] > 0
