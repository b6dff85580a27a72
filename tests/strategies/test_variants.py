"""DOTS + RR twice: as its paper says it and as its authors' repository does it; golden data come from the repository's own code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.registry import RegistryError, strategy_entry
from harness.step.buffers import GroupBuffer
from harness.strategies.dots import Dots, DotsConfig
from harness.strategies.fifo import FifoConfig, FifoReplay
from harness.strategy import NoReplay, Strategy, StrategyConfig
from harness.testing.simulation import SimulatedRun
from harness.types import PromptGroup
from tests.strategies.made import at_step, group, run_of

PAPER = {
    "variant": "paper", "admission": "informative", "when_short": "fresh", "replay_after": 0, "clip_center": "one", "order": "shuffled",
    "capacity": 256, "calibration": "platt", "exclude_self": True, "draw": "step", "draw_references": False,
}  # fmt: skip
CODE = {
    "variant": "code", "admission": "all", "when_short": "shrink", "replay_after": 2, "clip_center": "old", "order": "fresh-first",
    "capacity": 512, "calibration": "platt+linear", "exclude_self": False, "draw": "interval", "draw_references": True,
}  # fmt: skip


@pytest.mark.parametrize(("config", "expected"), [({}, PAPER), ({"variant": "paper"}, PAPER), ({"variant": "code"}, CODE)])
def test_one_setting_chooses_every_deviation(config: dict[str, Any], expected: dict[str, Any]) -> None:
    """``variant`` reaches selector and replay alike, and a resolved config shows the values that it chose."""
    resolved = strategy_entry("dots-rr").resolve_config(config)
    assert {key: resolved[key] for key in expected} == expected
    assert strategy_entry("dots-rr").resolve_config(resolved) == resolved
    for name in ("dots", "rr"):
        alone = strategy_entry(name).resolve_config(config)
        assert alone == {key: resolved[key] for key in alone}


def test_a_single_setting_overrides_the_variant() -> None:
    """The code but for its buffer; what is neither is an error."""
    resolved = strategy_entry("dots-rr").resolve_config({"variant": "code", "capacity": 8, "calibration": "platt"})
    assert (resolved["capacity"], resolved["calibration"], resolved["admission"]) == (8, "platt", "all")
    with pytest.raises(RegistryError, match="variant"):
        strategy_entry("rr").resolve_config({"variant": "codes"})


def test_only_a_batch_that_shrinks_needs_a_backend_that_can() -> None:
    """Whole groups of one number are enough for the paper; the code's batches differ in size."""
    entry = strategy_entry("rr")
    assert entry.build({}).requires == {"behaviour_log_probs"}
    assert entry.build({"variant": "code"}).requires == {"behaviour_log_probs", "group_sizes"}


# -- the buffer, against the authors' code -------------------------------------------------------------------------------


def stored_ids(replay: FifoReplay) -> list[list[int]]:
    """(question, step) of what could be drawn now, sorted."""
    copy = GroupBuffer(None)
    copy.load_state_dict(replay.state_dict())
    copy.clean()
    return sorted([g.question_id, g.policy_version + 1] for g in copy)


@pytest.mark.parametrize("case", range(3))
def test_the_code_draws_from_what_the_authors_code_draws_from(case: int, real_data: Path) -> None:
    """Their buffer on made-up groups, three settings, eight steps: the same eligible groups before each draw, as many drawn."""
    golden = json.loads((real_data / "authors_replay.json").read_text())[case]
    size, batch = golden["group_size"], golden["B"]
    settings = {"variant": "code", "capacity": golden["C"], "fresh_fraction": golden["fresh_fraction"], "replay_after": golden["interval"]}
    run = run_of("rr", settings, groups_per_step=batch, group_size=size)
    replay: Any = run.driver.strategy.replay_part
    for record in golden["steps"]:
        ctx = at_step(run.driver.context("replay"), record["step"])
        eligible = stored_ids(replay)
        assert eligible == sorted(record["eligible"])
        drawn = replay.replay(batch, ctx)
        assert len(drawn) == record["num_drawn"]
        assert replay.num_fresh(batch, drawn, ctx) == len(record["fresh"])
        ids = [[g.question_id, g.policy_version + 1] for g in drawn]
        assert all(i in eligible for i in ids)
        assert len({q for q, _ in ids}) == len(ids)
        fresh = [group(q, *[1.0] * right, *[0.0] * (size - right), version=record["step"] - 1) for q, right in record["fresh"]]
        replay.observe(fresh, ctx)


@settings(max_examples=60, deadline=None)
@given(
    rounds=st.lists(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), min_size=1, max_size=6), min_size=1, max_size=6),
    capacity=st.integers(1, 12),
    batch=st.integers(2, 8),
)
def test_what_is_drawn_is_informative_new_and_of_different_questions(rounds: list[Any], capacity: int, batch: int) -> None:
    """For any history: no degenerate group, no question twice, only its last group; kept: at most C − δB old groups and the last round."""
    replay = FifoReplay(FifoConfig(variant="code", capacity=capacity, replay_after=0))
    ctx = run_of("grpo").driver.context("replay")
    last: dict[int, PromptGroup] = {}
    for fresh in rounds:
        drawn = replay.replay(batch, ctx)
        assert len(drawn) <= batch - round(batch / 2)
        assert all(last[g.question_id] is g and not g.is_degenerate for g in drawn)
        assert len({g.question_id for g in drawn}) == len(drawn)
        assert len(replay._buffer) <= max(0, capacity - round(batch / 2))
        made = [group(q, *[1.0] * right, *[0.0] * (4 - right)) for q, right in fresh]
        last.update({g.question_id: g for g in made})
        replay.observe(made, ctx)


def test_the_codes_batches_through_the_driver() -> None:
    """Two whole batches, then δB fresh groups and what there is to replay, last in the batch, the oldest first."""
    run = run_of("rr", {"variant": "code", "capacity": 16}, pool_size=512)
    run.engine.ability += 2.5  # most groups are all right: the buffer is short
    for step in range(1, 9):
        batch = run.step()
        sources = [g.source for g in batch.groups]
        replayed = [g for g in batch.groups if g.source == "replayed"]
        assert sources.count("fresh") == (16 if step <= 2 else 8)
        assert sources == sorted(sources)
        assert len(replayed) <= (0 if step <= 2 else 8)
        assert not any(g.is_degenerate for g in replayed)
        assert [g.policy_version for g in replayed] == sorted(g.policy_version for g in replayed)
    assert run.driver.strategy.correction.order == "fresh-first"


def test_the_paper_waits_for_a_full_share() -> None:
    """Whole batches at every step, replayed groups only where the buffer holds (1−δ)B."""
    run = run_of("rr", {"capacity": 16}, pool_size=512)
    run.engine.ability += 4.0
    for _ in range(8):
        batch = run.step()
        assert len(batch.groups) == 16
        assert sum(g.source == "replayed" for g in batch.groups) in (0, 8)


# -- selection -----------------------------------------------------------------------------------------------------------


class Known:
    """A predictor that knows the pass rates."""

    kind = "known"

    def __init__(self, rates: Any) -> None:
        self.rates, self.info = rates, {}

    def predict(self, reference_ids: Any, reference_pass_rates: Any) -> Any:
        return self.rates


def dots_run(config: dict[str, Any], pool_size: int = 256) -> SimulatedRun:
    selector = Dots(DotsConfig(**config))
    selector._predictor = Known(np.linspace(0, 0.99, pool_size))
    return SimulatedRun(Strategy("dots", selector, NoReplay(StrategyConfig())), pool_size)


def distances(config: dict[str, Any]) -> tuple[float, float]:
    """Mean distance from 1/2 of the questions of an interval's two steps, over 20 intervals."""
    run = dots_run({"references": 8, "tau": 1e-6, **config})
    rates = np.linspace(0, 0.99, 256)
    found = [np.abs(rates[[g.question_id for g in run.step().groups]] - 0.5).mean() for _ in range(40)]
    return float(np.mean(found[::2])), float(np.mean(found[1::2]))


def test_the_code_draws_a_whole_interval_at_once() -> None:
    """2B questions, shuffled and split: both steps are as far from 1/2; the paper's second step takes what the first has left."""
    first, second = distances({"variant": "code"})
    assert first == pytest.approx(second, rel=0.15)
    first, second = distances({"variant": "paper"})
    assert second > 2 * first


@pytest.mark.parametrize(("variant", "drawn"), [("code", True), ("paper", False)])
def test_references_may_be_drawn(variant: str, drawn: bool) -> None:
    """With half of the pool as references the code selects some of them, the paper none."""
    run = dots_run({"variant": variant, "references": 128})
    chosen = {g.question_id for _ in range(2) for g in run.step().groups}
    references = {q for phase, ids, _ in run.engine.calls if phase == "probe" for q in ids}
    assert len(chosen) == 32
    assert bool(chosen & references) == drawn


def test_an_interval_survives_a_resume() -> None:
    """Stopped between its two steps, the second one trains on the questions that were drawn for it."""
    whole, stopped, resumed = (dots_run({"variant": "code", "references": 8}) for _ in range(3))
    expected = [[g.question_id for g in whole.step().groups] for _ in range(4)]
    stopped.step()
    resumed.driver.load_state_dict(stopped.driver.state_dict())
    assert [[g.question_id for g in resumed.step().groups] for _ in range(3)] == expected[1:]
