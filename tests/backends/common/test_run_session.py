"""What every backend's session refuses, without a training library."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from backends.common.evaluator import Evaluation
from backends.common.run_session import RunSession
from harness.errors import RunFailed
from harness.registry import strategy_entry
from harness.spec import AlgorithmSpec, EvaluationSpec
from harness.step.driver import Batch
from harness.types import Costs, PromptGroup, Rollout, Selection


def session(strategy: str, *groups: PromptGroup) -> RunSession:
    """A session whose driver hands out these groups, as one that checks nothing would."""
    batch = Batch(5, list(groups), Selection(np.array([], dtype=np.int64)), [])
    driver: Any = SimpleNamespace(step=4, strategy=strategy_entry(strategy).build({}), next_batch=lambda: batch)
    engine: Any = SimpleNamespace(policy_version=0)
    spec: Any = SimpleNamespace(algorithm=AlgorithmSpec())
    nothing: Any = None
    return RunSession(spec, engine, driver, nothing, nothing, Path())


def test_an_evaluation_says_how_far_it_is(tmp_path: Path) -> None:
    """Into the run's folder, for whoever watches; the point in the ledger holds every question's answers and what it took."""
    written: list[Any] = []
    found = Evaluation({"test": 0.5}, 2, {"test": [1, 0]}, {"test": {"tokens": 3.0, "truncated": 0.0}})

    def evaluate(decode: Any, step: int, progress: Any) -> Evaluation:
        progress(1, 2)
        return found

    spec: Any = SimpleNamespace(evaluation=EvaluationSpec(diagnostic_questions=0))
    engine: Any = SimpleNamespace(clock=SimpleNamespace(off=nullcontext), decode=None, scorer=None)
    driver: Any = SimpleNamespace(snapshot=Costs)
    evaluator: Any = SimpleNamespace(evaluate=evaluate)
    ledger: Any = SimpleNamespace(write=written.append)
    point = RunSession(spec, engine, driver, evaluator, ledger, tmp_path / "checkpoints").evaluate(0)
    assert (tmp_path / "activity").read_text() == '["evaluating", 1, 2]'
    assert written == [point]
    assert (point.accuracy, point.right, point.completions) == (0.5, {"test": [1, 0]}, {"test": {"tokens": 3.0, "truncated": 0.0}})
    assert point.seconds is not None


def group(source: Any, log_probs: bool) -> PromptGroup:
    tokens = np.array([4, 5])
    mu = np.array([-1.0, -2.0]) if log_probs else None
    return PromptGroup(7, (Rollout(7, tokens, tokens, mu, 3, "", 1.0), Rollout(7, tokens, tokens, mu, 3, "", 0.0)), source)


@pytest.mark.parametrize(("strategy", "log_probs"), [("rr", False), ("grpo", True), ("grpo", False)])
def test_replayed_rollouts_that_cannot_be_corrected_are_refused(strategy: str, log_probs: bool) -> None:
    """Without stored log-probs, or without a declaration that they are used, nothing is trained on; the sentence names what to do."""
    with pytest.raises(RunFailed, match=rf"strategy '{strategy}' replays a rollout of question 7 .* 'behaviour_log_probs' to its requires"):
        session(strategy, group("fresh", log_probs), group("replayed", log_probs)).next_batch()


def test_what_can_be_corrected_passes_at_the_policy_of_its_step() -> None:
    """Replayed rollouts with log-probs of a strategy that declares them, and fresh ones of any strategy; the engine knows the step."""
    allowed = session("rr", group("fresh", log_probs=True), group("replayed", log_probs=True))
    assert len(allowed.next_batch().groups) == 2
    assert allowed.engine.policy_version == 4
    assert len(session("grpo", group("fresh", log_probs=False)).next_batch().groups) == 1
