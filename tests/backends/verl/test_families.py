"""One strategy of every family through verl's real trainer, and a generated plugin package as its author would run it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from harness.records.ledger import read_ledger
from harness.spec import RunSpec
from harness.step.advantage import advantages
from harness.testing.backend_contract import Training
from tests.backends.verl.recording import record
from tests.backends.verl.test_failures import worker
from tests.backends.verl.test_variants import spec_of
from tests.generated_package import run_generated

pytestmark = [pytest.mark.slow_verl, pytest.mark.timeout(1500)]

#: Probing, down-sampling and replay into fresh groups are among the variants of test_variants.py.
FAMILIES: dict[str, dict[str, Any]] = {
    "mopps": {},  # chosen before the rollout, by history
    "pcl": {},  # chosen before the rollout, by a model on embeddings
    "dapo": {"oversample": 1.5, "max_rounds": 3},  # filtered after the rollout, and refilled
    "knapsack": {},  # rollouts per question
    "freshper": {"ratio": 0.125},  # single stored rollouts beside the fresh groups
}


def family_spec(strategy: str) -> RunSpec:
    """Four steps on a pool of 16 questions, so that each is met in every second step."""
    spec = spec_of(strategy, FAMILIES[strategy], {})
    task = spec.combination.task
    small = task.model_copy(update={"config": {**task.config, "train": 16}})
    return RunSpec.model_validate({**spec.model_dump(), "combination": {**spec.combination.model_dump(), "task": small.model_dump()}})


@pytest.mark.parametrize("strategy", FAMILIES)
def test_every_family_trains_on_what_it_chose(strategy: str, tmp_path: Path, cache: Path) -> None:
    """A step's rows are its trained rollouts, each once and with its group's advantage; the ledger has what the engine generated."""
    training = record(family_spec(strategy), tmp_path / "run", cache)
    assert len(training.steps) == 4
    for seen in training.steps:
        expected: dict[Any, list[float]] = {}
        for group in seen.batch.groups:
            for rollout, advantage in zip(group.trained_rollouts, advantages(group, "none"), strict=True):
                tokens = tuple(rollout.prompt_token_ids.tolist()), tuple(rollout.completion_token_ids.tolist())
                expected.setdefault(tokens, []).append(float(advantage))
        assert Counter(row.tokens for row in seen.rows) == Counter({tokens: len(found) for tokens, found in expected.items()})
        assert all(any(abs(row.advantage - a) < 1e-6 for a in expected[row.tokens]) for row in seen.rows)
    costs = training.log.steps[-1].costs
    assert costs.rollouts == training.generated_rollouts
    assert costs.generated_tokens == training.generated_tokens
    assert _is_itself(strategy, training)
    assert _is_itself(strategy, training)


def _is_itself(strategy: str, training: Training) -> bool:
    """What nothing but this family does."""
    batches, costs = [seen.batch for seen in training.steps], training.log.steps[-1].costs
    if strategy == "dapo":
        return costs.filtered_rollouts > 0 and len(batches[0].fresh) > len(batches[0].groups)
    if strategy == "knapsack":
        sizes = [sorted({g.size for g in batch.groups}) for batch in batches]
        return sizes[0] == [4] and len(sizes[-1]) > 1 and all(sum(g.size for g in batch.groups) == 32 for batch in batches)
    if strategy == "freshper":
        single = [g for g in batches[-1].groups if g.source == "replayed" and len(g.trained_rollouts) < g.size]
        return costs.replayed_rollouts > 0 and len(single) > 0
    chosen = batches[-1].selection.predicted_pass_rates
    return chosen is not None and len(set(chosen.tolist())) > 1


def test_a_hopeless_pool_ends(tmp_path: Path, cache: Path) -> None:
    """One token is never a right answer: refills end, refused groups are trained on, and dropped as they are, nothing is learned."""
    spec = family_spec("dapo")
    algorithm = spec.algorithm.model_copy(update={"max_steps": 2, "max_completion_tokens": 1, "drop_degenerate": True})
    spec = spec.model_copy(update={"algorithm": algorithm})
    folder = tmp_path / spec.run_id
    assert worker(spec, folder, cache).wait(900) == 0
    log = read_ledger(folder / "ledger.jsonl")
    assert [(s.step, s.loss, s.non_degenerate_share) for s in log.steps] == [(1, 0.0, 0.0), (2, 0.0, 0.0)]
    assert log.steps[-1].costs.filtered_rollouts > 0


STRATEGIES = """
[[strategies]]
name = "near-half+fair-replay"
config = { low = 0.3, capacity = 16 }
"""


def test_a_generated_package_trains_with_verl(tmp_path: Path, cache: Path) -> None:
    """new-strategy, pip install, and its name in a suite is all it takes, combined with a shipped replay."""
    environment = {"HALFWAY_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    logs = run_generated(tmp_path, "verl", STRATEGIES, ["near-half+fair-replay"], timeout=1200, adapter=16, environment=environment)
    ((name, log),) = logs.items()
    assert (name, log.spec["strategy"]["plugin"], len(log.steps)) == ("near-half+fair-replay", None, 3)
    assert log.steps[-1].costs.replayed_rollouts > 0
