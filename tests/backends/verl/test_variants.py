"""Every shape of batch and every variant of the loss that strategies can ask for, through verl's real trainer."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.registry import entry_of, strategy_entry
from harness.spec import RunSpec
from harness.step.advantage import advantages
from harness.testing.backend_contract import contract_spec
from tests.backends.verl.recording import record

pytestmark = [pytest.mark.slow_verl, pytest.mark.timeout(1500)]

ORDERED = "tests.backends.ordered:ORDERED"

CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "paper's clip, actor's log-probs, lean": (
        "fair-replay",
        {"capacity": 16, "clip_center": "one"},
        {"behaviour_log_probs": "actor", "drop_degenerate": True},
    ),
    "code's clip, actor's log-probs": ("fair-replay", {"capacity": 16}, {"behaviour_log_probs": "actor"}),
    "the authors' variant": ("rr", {"variant": "code", "capacity": 8, "replay_after": 1}, {"behaviour_log_probs": "actor"}),
    "KL term, sequence mean": ("grpo", {}, {"kl_coefficient": 0.1, "loss_aggregation": "sequence-mean"}),
    "parts of groups": ("pods", {}, {"loss_aggregation": "sequence-mean"}),
    "stored rollouts in fresh groups": ("repo", {}, {}),
    "smaller batches": ("fewer-fresh", {"when_short": "shrink"}, {}),
    "probes continued": ("speed", {}, {}),
    "on-policy replay at half its weight, in order": ("ordered", {"capacity": 16}, {}),
}


def spec_of(strategy: str, config: dict[str, Any], algorithm: dict[str, Any]) -> RunSpec:
    entry, spec = strategy_entry(strategy, [ORDERED]), contract_spec("verl", "grpo")
    plugin = ORDERED if strategy == "ordered" else None
    chosen = spec.strategy.model_copy(
        update={"label": strategy, "name": strategy, "version": entry.version, "config": entry.resolve_config(config), "plugin": plugin}
    )
    settings = spec.algorithm.model_copy(update={"max_steps": 4, "advantage_normalization": "none", **algorithm})
    execution = spec.execution.model_copy(update={"checkpoint_every_steps": 100})
    return RunSpec.model_validate(spec.model_copy(update={"strategy": chosen, "algorithm": settings, "execution": execution}).model_dump())


@pytest.mark.parametrize("case", CASES)
def test_what_reaches_the_loss(case: str, tmp_path: Path, cache: Path) -> None:
    """The trained rollouts of the step's groups, each once, with the advantages of the one implementation that backends share."""
    spec = spec_of(*CASES[case])
    training = record(spec, tmp_path / "run", cache)
    algorithm, correction = spec.algorithm, entry_of(spec.strategy).build(spec.strategy.config).correction
    for seen in training.steps:
        groups = seen.batch.groups
        expected: dict[Any, list[float]] = {}
        for group in groups:
            for rollout, advantage, replayed in zip(group.trained_rollouts, advantages(group, "none"), group.replayed_flags, strict=True):
                tokens = tuple(rollout.prompt_token_ids.tolist()), tuple(rollout.completion_token_ids.tolist())
                expected.setdefault(tokens, []).append(float(advantage) * (correction.coefficient if replayed else 1.0))
        assert Counter(row.tokens for row in seen.rows) == Counter({tokens: len(found) for tokens, found in expected.items()})
        if correction.order == "fresh-first":
            completions = [tuple(r.completion_token_ids.tolist()) for g in groups for r in g.trained_rollouts]
            assert [row.completion for row in seen.rows] == completions
        if algorithm.loss_aggregation == "token-mean":
            for row in seen.rows:
                assert any(abs(row.advantage - a) < 1e-6 for a in expected[row.tokens])
        if algorithm.behaviour_log_probs == "actor":
            fresh = [r for g in groups if g.source != "replayed" for r in g.rollouts]
            known = {(tuple(r.prompt_token_ids.tolist()), tuple(r.completion_token_ids.tolist())): r for r in fresh}
            for row in seen.rows:
                if row.tokens in known:
                    assert np.array_equal(row.old_log_probs, known[row.tokens].behaviour_log_probs)
    for step, seen in zip(training.log.steps, training.steps, strict=True):
        assert np.isfinite(step.loss)
        assert step.costs.trained_tokens > 0
        if algorithm.drop_degenerate:
            assert step.dropped_groups == sum(g.is_degenerate for g in seen.batch.groups)
    costs = training.log.steps[-1].costs
    assert costs.optimizer_steps == 8
    assert costs.fresh_rollouts + costs.filtered_rollouts + costs.probe_rollouts == training.generated_rollouts
