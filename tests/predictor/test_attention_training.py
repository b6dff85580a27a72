"""What the attention predictor is trained on, batch by batch, and its learning rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")

from harness.errors import UserError
from harness.predictor.lab import attention_training
from harness.predictor.lab.attention_training import learning_rate_factor, train_predictor
from harness.predictor.lab.training_settings import TrainingSettings


def test_learning_rate_by_hand() -> None:
    """2,000 steps warm up over 100 from 0; 50 steps over a tenth; then a straight line to 0."""
    assert [learning_rate_factor(s, 2000) for s in (0, 50, 100, 1050)] == [0.0, 0.5, 1.0, 0.5]
    assert [learning_rate_factor(s, 50) for s in (0, 1, 5, 45)] == [0.0, 0.2, 1.0, pytest.approx(1 / 9)]
    assert learning_rate_factor(0, 5) == 1.0  # a tenth of five steps is no step


def test_a_variant_chooses_the_training() -> None:
    """The repository's head, its 20 epochs however small the table, its reference outcomes as they are; single settings override."""
    paper, code = TrainingSettings.of("paper"), TrainingSettings.of("code")
    assert (paper.head, paper.reference_share, paper.rollouts, paper.least_steps) == ("paper", 0, 8, 400)
    assert (code.head, code.reference_share, code.rollouts, code.least_steps) == ("code", 0.25, None, 0)
    assert TrainingSettings.of("code", rollouts=4, epochs=None).rollouts == 4
    with pytest.raises(UserError, match="unknown variant 'codes'"):
        TrainingSettings.of("codes")


@given(
    questions=st.integers(8, 60),
    models=st.integers(1, 5),
    references=st.integers(1, 40),
    share=st.sampled_from([0.0, 0.1, 0.5, 0.9]),
    missing=st.floats(0, 0.5),
    seed=st.integers(0, 9),
)
def test_batches_cover_every_pair_once_and_no_question_sees_its_own_outcome(
    questions: int, models: int, references: int, share: float, missing: float, seed: int
) -> None:
    """Per epoch each measured pair that is asked comes once, with its model's rates of the references other than itself."""
    rng = np.random.default_rng(seed)
    rates = rng.integers(0, 9, (questions, models)) / 8
    rates[rng.random(rates.shape) < missing] = np.nan
    settings = TrainingSettings(references=references, reference_share=share, batch_size=16, rollouts=None)
    candidates, pairs = attention_training._split(rates, settings, rng)
    asked: list[tuple[int, float]] = []
    for batch in attention_training._batches(rates, candidates, pairs, settings, 1, rng):
        queries, chosen, seen = batch.queries.numpy(), batch.references.numpy(), batch.reference_rates.numpy()
        assert set(chosen) <= set(candidates)
        assert len(set(chosen)) == len(chosen) == min(references, len(candidates))
        columns = rates[chosen].T.astype(np.float32)
        for query, row in zip(queries, seen, strict=True):
            own = chosen == query
            assert np.isnan(row[own]).all()
            assert any(np.array_equal(row[~own], column[~own], equal_nan=True) for column in columns)
        asked += list(zip(queries.tolist(), batch.targets.numpy().tolist(), strict=True))
    if share == 0:
        assert len(candidates) == questions
    else:
        assert 1 <= len(candidates) <= questions // 2
        assert not set(pairs[:, 0]) & set(candidates)
    if missing == 0 and min(references, len(candidates)) >= 3:
        others = np.arange(questions) if share == 0 else np.setdiff1d(np.arange(questions), candidates)
        assert sorted(asked) == sorted((int(q), float(np.float32(rates[q, m]))) for q in others for m in range(models))


def test_models_are_mixed_within_a_batch() -> None:
    """With three models of 40 questions every full batch of 30 holds pairs of all of them."""
    rates = np.repeat([[0.1, 0.2, 0.3]], 80, axis=0)
    rng = np.random.default_rng(0)
    settings = TrainingSettings(references=8, reference_share=0.25, batch_size=30)
    candidates, pairs = attention_training._split(rates, settings, rng)
    batches = list(attention_training._batches(rates, candidates, pairs, settings, 1, rng))
    assert len(candidates) == 20
    assert [len(b.queries) for b in batches] == [30] * 6
    assert all(len(set(b.targets.tolist())) == 3 for b in batches)


def test_reference_outcomes_are_drawn_at_the_given_rollouts() -> None:
    """With 4 rollouts the network sees multiples of a quarter, the same for all pairs of a model, and the true rates as targets."""
    rates = np.full((40, 1), 0.3)
    rng = np.random.default_rng(0)
    settings = TrainingSettings(references=10, rollouts=4)
    batch = next(attention_training._batches(rates, *attention_training._split(rates, settings, rng), settings, 1, rng))
    seen = batch.reference_rates.numpy()
    known = seen[~np.isnan(seen)]
    assert set(np.unique(known)) <= {0, 0.25, 0.5, 0.75, 1}
    assert len(np.unique(known)) > 1
    assert all(len(np.unique(column[~np.isnan(column)])) == 1 for column in seen.T)
    assert batch.targets.numpy() == pytest.approx(0.3)


@pytest.mark.parametrize("head", ["paper", "code"])
def test_both_heads_learn(head: Any, tmp_path: Any) -> None:
    """On a table with structure the loss falls well below that of the best constant."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((200, 6)).astype(np.float32)
    rates = 1 / (1 + np.exp(-2 * features[:, :1] - np.linspace(-1, 1, 4)[None]))
    facts = train_predictor(
        features, rates, embedder="toy", out=tmp_path, seed=0, settings=TrainingSettings(units=16, references=40, head=head, epochs=40)
    )
    mean = rates.mean()
    assert facts["head"] == head
    assert facts["training"]["final_loss"] < -(mean * np.log(mean) + (1 - mean) * np.log(1 - mean)) - 0.05
