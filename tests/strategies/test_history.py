"""Selection by past pass rates and by labels: formulas against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UserError
from tests.strategies.made import at_step, group, run_of, selector_and_context

# -- history -----------------------------------------------------------------------------------------------------------


def test_mopps_counts_by_hand() -> None:
    """Beta(1, 1), λ = 1/2: 3 of 4, then 1 of 4 → α = ½(½+½+3)+½+1 = 3.5, β = ½(½+½+1)+½+3 = 4.5. No operator precedence at work."""
    selector, ctx = selector_and_context("mopps", {"decay": 0.5})
    selector.observe([group(5, 1, 1, 1, 0)], ctx)
    assert selector._counts[5].tolist() == [4, 2]
    selector.observe([group(5, 0, 0, 0, 1)], ctx)
    assert selector._counts[5].tolist() == [0.5 * 4 + 0.5 + 1, 0.5 * 2 + 0.5 + 3]
    selector.observe([group(6, 1.0)], ctx)  # a group of one counts as one
    assert selector._counts[6].tolist() == [2, 1]
    assert selector.predict(np.array([6]), ctx).tolist() == pytest.approx([2 / 3])


def test_mopps_takes_the_nearest_draws() -> None:
    """With sharp posteriors at .05, .5 and .95 the ones at .5 are chosen."""
    selector, ctx = selector_and_context("mopps", pool_size=6)
    selector._counts = np.array([[50, 950], [500, 500], [950, 50], [50, 950], [500, 500], [950, 50]], dtype=float)
    assert sorted(selector.select(2, ctx).question_ids) == [1, 4]


def test_history_posterior_by_hand() -> None:
    """Half-life 10, n₀ = 4, π = ½ without a regression: 4 of 4 ten steps ago → a = 2 + 2, b = 2."""
    selector, ctx = selector_and_context("history")
    selector.observe([group(3, 1, 1, 1, 1)], ctx)
    selector._recent = np.empty((0, 2))
    later = at_step(ctx, 11)
    selector._age(later)
    a, b = selector._posterior(np.array([3, 4]), later)
    assert a.tolist() == [4, 2]
    assert b.tolist() == [2, 2]


def test_history_learns_from_the_text() -> None:
    """Long prompts failed, short ones succeeded: an unseen long prompt is expected to fail."""
    selector, ctx = selector_and_context("history", pool_size=3000)
    selector.observe([group(q, *[float(q < 10)] * 4) for q in (1, 2, 3, 4, 1001, 1002, 1003, 1004)], ctx)
    short, long = selector.predict(np.array([5, 2005]), ctx)
    assert short > 0.6
    assert long < 0.4


def test_cdas_by_hand() -> None:
    """D = C = 0: p = 1 expected ½, so at the first visit (n = 2) D = −¼ and C = ¼/8; at the second D ← ⅔D + ⅓(σ(C − D) − p)."""
    selector, ctx = selector_and_context("cdas")
    selector.observe([group(0, 1, 1)], ctx)
    assert selector._competence == 0  # the first step warms up: its pass rates are not learnt from
    later = at_step(ctx, 2)
    selector.observe([group(0, 1, 1)], later)
    assert selector._difficulty[0] == -0.25
    assert selector._competence == pytest.approx(0.25 / 8)
    selector.observe([group(0, 1, 0)], later)
    second = -0.25 * 2 / 3 + (1 / (1 + math.exp(-(0.25 / 8 + 0.25))) - 0.5) / 3
    assert selector._difficulty[0] == pytest.approx(second)
    assert selector._competence == pytest.approx(0.25 / 8 - (second + 0.25) / 8)


def test_cdas_selects_around_its_competence() -> None:
    """Two below and two above C = 0, the nearest; a side that is too small is filled from the other; ties in the order of the pool."""
    selector, first = selector_and_context("cdas")
    ctx = at_step(first, 2)
    selector._difficulty = np.array([-3, -2, -1, 1, 2, 3, 4, 5], dtype=float)
    selector._visits = np.ones(8, np.int64)
    assert sorted(selector.select(4, ctx).question_ids) == [1, 2, 3, 4]
    selector._difficulty = np.array([-3, 1, 2, 3, 4, 5, 6, 7], dtype=float)
    assert sorted(selector.select(4, ctx).question_ids) == [0, 1, 2, 3]
    selector._difficulty = np.zeros(8)
    assert selector.select(4, ctx).question_ids.tolist() == [0, 1, 2, 3]
    assert selector.select(4, first).question_ids.tolist() != [0, 1, 2, 3]  # the first step is uniform


def test_adarft_by_hand() -> None:
    """T = 0, then R̄ = ¾: T = 50·tanh(2·¼) = 23.1; then R̄ = 0: T − 50·tanh(1) is clipped at 0. Labels 0 … 100."""
    selector, ctx = selector_and_context("adarft", pool_size=102)
    assert selector.select(1, ctx).question_ids.tolist() in ([0], [101])  # both are labelled 0, the easiest
    selector.observe([group(0, 1, 1, 1, 0)], ctx)
    assert selector._target == pytest.approx(50 * math.tanh(0.5))
    chosen = int(selector.select(1, ctx).question_ids[0])
    assert chosen * 37 % 101 == 23
    selector.observe([group(0, 0, 0)], ctx)
    assert selector._target == 0


@pytest.mark.parametrize("name", ["adarft", "curriculum", "sec"])
def test_a_label_that_is_not_there_is_named(name: str) -> None:
    """The error lists the keys there are."""

    with pytest.raises(UserError, match=r"no 'grade' in their metadata \(there is: category, difficulty\); set 'label'"):
        run_of(name, {"label": "grade"}).step()


def test_sec_by_hand() -> None:
    """Q ← (1−α)Q + α·mean|A|: 1 of 2 right has |A| = ½/(½√2 + ε); a category that was not drawn counts as 0."""
    selector, ctx = selector_and_context("sec", {"learning_rate": 0.5})
    size = 0.5 / (math.sqrt(0.5) + 1e-4)
    selector.observe([group(1, 1, 0), group(5, 1, 1)], ctx)  # questions 1 and 5 are of category 1
    assert selector._values.tolist() == pytest.approx([0, 0.5 * size / 2, 0, 0])
    selector.observe([group(2, 1, 1)], ctx)
    assert selector._values[1] == pytest.approx(0.5 * 0.5 * size / 2)


def test_sec_gives_a_category_once_before_any_again() -> None:
    """A category of 64 questions: none comes twice until all have come, and the second time round in another order."""
    selector, ctx = selector_and_context("sec", pool_size=256)
    selector._sort_pool(ctx)
    first, second = (np.concatenate([selector._take(3, 8, ctx) for _ in range(8)]) for _ in range(2))
    assert sorted(first) == sorted(second) == list(range(3, 256, 4))
    assert first.tolist() != second.tolist()


def test_sec_draws_more_from_the_better_category_and_fills_up() -> None:
    """At τ = .2 a category with Q = 1 against 0 is preferred e⁵ = 148 to 1; it has only two questions here, the others fill."""
    selector, ctx = selector_and_context("sec", {"temperature": 0.2})
    selector._sort_pool(ctx)
    selector._values[:] = [0, 1, 0, 0]
    chosen = selector.select(6, ctx).question_ids.tolist()
    assert {1, 5} <= set(chosen)
    assert len(set(chosen)) == 6


def test_sec_fills_up_at_a_temperature_near_zero() -> None:
    """At τ = .001 the best category takes all it has room for, then the next best, although exp(−1000) is 0."""
    selector, ctx = selector_and_context("sec", {"temperature": 0.001})
    selector._sort_pool(ctx)
    selector._values[:] = [0, 1, 0.5, -1]  # two questions each: 1 and 5, 2 and 6 …
    assert sorted(selector.select(4, ctx).question_ids.tolist()) == [1, 2, 5, 6]


def test_prompt_replay_by_hand() -> None:
    """Within .24 – .70, 5 or more steps after it was seen, nearest ½ first, then the lower rate, then fewer reuses, at most 5 times."""
    selector, ctx = selector_and_context("prompt-replay", pool_size=8)
    seen = [group(0, 1, 0), group(1, 1, 1), group(2, 1, 0, 0, 0), group(3, 1, 0), group(4, 1, 1, 1, 0)]
    selector.observe([*seen, group(5, 1, 1, 1, 0, 0), group(6, 1, 1, 0, 0, 0)], ctx)
    assert selector._due(at_step(ctx, 5)).tolist() == []
    rested = at_step(ctx, 6)  # seen at step 1
    assert selector._due(rested).tolist() == [0, 3, 6, 5, 2]  # ½ ½ .4 .6 ¼; ¾ and 1 are outside
    selector._reuses[0] = 1
    assert selector._due(rested).tolist() == [3, 0, 6, 5, 2]
    selector._reuses[3] = 5
    assert selector._due(rested).tolist() == [0, 6, 5, 2]
    assert selector.select(5, rested).question_ids[:2].tolist() == [0, 6]  # half of five, rounded down


def test_static_filter_labels_once_and_stays() -> None:
    """Probes at the first step only; every selected question was neither too hard nor too easy for the starting policy."""
    run = run_of("static-filter", {"rollouts": 4, "low": 0.25, "high": 0.75})
    run.step()
    kept = {g.question_id for g in run.driver._engine.probes if 0.25 <= g.pass_rate <= 0.75}
    for _ in range(4):
        assert {g.question_id for g in run.step().groups} <= kept
    assert run.driver.costs.probe_rollouts == 256 * 4
