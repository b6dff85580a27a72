"""Prices of tokens and the price at which a strategy breaks even, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import UserError
from harness.stats import PRICES, Curve, TokenPrices, TokensSpent, measured_prices, pooled_price_curve, price_curve, prices_of, reach

TOKENS = {"generated_tokens": [0.0, 100.0], "forward_tokens": [0.0, 30.0], "trained_tokens": [0.0, 60.0]}


def spent(generated: float, rest: float, reached: bool = True) -> TokensSpent:
    """What a run spent."""
    return TokensSpent(generated, rest, reached)


def test_a_price_is_a_cost_ledger() -> None:
    """5·100 + 30/3 + 60 = 570 trained tokens; with forward-only tokens at .5, 575; at ⅓ it is a sixth of the operations."""
    curve = Curve("c", "s", 1, np.array([0.1, 0.5]), {name: np.array(values) for name, values in TOKENS.items()})
    assert reach(curve, 0.5, cost="price:5", rule="first").cost == pytest.approx(570)
    assert reach(curve, 0.5, cost="price:5:0.5", rule="first").cost == pytest.approx(575)
    assert reach(curve, 0.5, cost=TokenPrices(1 / 3).ledger, rule="first").cost == pytest.approx((2 * 100 + 2 * 30 + 6 * 60) / 6)
    assert not Curve("c", "s", 1, np.array([0.1]), {"training_seconds": np.array([1.0])}).has("price:5")


def test_names_and_labels_of_prices() -> None:
    """A name comes back as the same prices; ⅓ may be written as a decimal; other ledgers have no price."""
    assert prices_of(TokenPrices(2.5, 0.4).ledger) == TokenPrices(2.5, 0.4)
    assert prices_of(TokenPrices(5.0).ledger) == TokenPrices(5.0)
    assert [TokenPrices(p).label for p in (0.333, 1.0, 5.0)] == ["μ = ⅓", "μ = 1", "μ = 5"]
    assert prices_of("generated_tokens") is None
    for name in ("price:dear", "price:-1", "price:nan"):
        with pytest.raises(UserError):
            prices_of(name)


def test_replay_breaks_even_at_a_price() -> None:
    """Baseline 100 generated and 100 trained, replay 50 and 130: 100μ + 100 = 50μ + 130 at μ = .6; at μ = 5, 600/380 = 1.58×."""
    found = price_curve([(spent(100, 100), spent(50, 130))] * 5)
    assert found.break_even == pytest.approx(0.6, rel=1e-3)
    assert found.cheaper == "above"
    assert np.interp(math.log(5), np.log(PRICES), found.at_least) == pytest.approx(600 / 380, rel=1e-3)
    probing = price_curve([(spent(50, 130), spent(100, 100))] * 5)
    assert (probing.break_even, probing.cheaper) == (pytest.approx(0.6, rel=1e-3), "below")


def test_the_interval_of_the_break_even_price() -> None:
    """Six pairs that break even at .2, .4, .6, .8, 1 and 1.2: median .7; the interval of six is the range, so .2 to 1.2."""
    pairs = [(spent(100, 100), spent(50, 100 + 50 * even)) for even in (0.2, 0.4, 0.6, 0.8, 1.0, 1.2)]
    found = price_curve(pairs)
    assert found.break_even == pytest.approx(0.7, rel=0.01)
    assert found.undecided == (pytest.approx(0.2, rel=1e-3), pytest.approx(1.2, rel=1e-3))


def test_the_break_even_price_of_two_combinations() -> None:
    """They break even at .6 and 1.4; the middle half of the log ratios holds as many of each, so (100μ + 100)² = (50μ + 130)(50μ + 170):
    μ = (√388 − 5)/15 = .980. Of one combination alone it is that one's curve. Without scatter the interval has no width."""
    one, two = ([(spent(100, 100), spent(50, rest))] * 5 for rest in (130, 170))
    found = pooled_price_curve([one, two])
    assert (found.n, found.cheaper) == (10, "above")
    assert found.break_even == pytest.approx((math.sqrt(388) - 5) / 15, rel=5e-3)
    assert found.undecided is None
    assert pooled_price_curve([one, []]).break_even == pytest.approx(0.6, rel=1e-3)
    scattered = [[(spent(100, 100), spent(50, 100 + 50 * even)) for even in evens] for evens in ([0.4, 0.5, 0.6], [1.2, 1.4, 1.6])]
    low, high = pooled_price_curve(scattered).undecided or (0.0, 0.0)
    assert 0.5 < low < 0.980 < high < 1.5
    assert pooled_price_curve([]).cheaper == "unknown"


def test_cheaper_at_every_price_or_at_none() -> None:
    """Less of both, more of both: there is no price to break even at, and no price is undecided."""
    less, more = (price_curve([(spent(100, 100), spent(x, x))] * 5) for x in (80, 120))
    assert [(c.break_even, c.cheaper, c.undecided) for c in (less, more)] == [(None, "everywhere", None), (None, "nowhere", None)]


def test_misses_bound_the_curve() -> None:
    """The strategy missed after 20 generated and 90 others: at most (100μ + 100)/(20μ + 90), which is above 1, so nothing is known."""
    found = price_curve([(spent(100, 100), spent(20, 90, reached=False))] * 6)
    assert (found.break_even, found.cheaper, found.undecided) == (None, "unknown", (0.0, math.inf))
    dear = price_curve([(spent(100, 100), spent(200, 300, reached=False))] * 6)
    assert (dear.cheaper, dear.undecided) == ("nowhere", None)
    assert price_curve([]).cheaper == "unknown"
    assert price_curve([(spent(1, 1), spent(1, 2))]).undecided == (0.0, math.inf)


def test_prices_of_hardware_from_its_phases() -> None:
    """50 s for 1,000 generated tokens, 50 s for 1,000 trained ones: μ = 1; 10 s for 500 only passed forward: .4."""
    tokens = {"generated_tokens": 1000.0, "trained_tokens": 1000.0, "forward_tokens": 500.0}
    found = measured_prices({"rollout": 50.0, "update": 50.0, "log_probs": 10.0}, tokens)
    assert (found.generated, found.forward) == (1.0, pytest.approx(0.4))
    without = measured_prices({"rollout": 90.0, "update": 15.0, "log_probs": 0.0}, {**tokens, "forward_tokens": 0.0})
    assert (without.generated, without.forward) == (6.0, pytest.approx(1 / 3))
    with pytest.raises(UserError, match="above 0"):
        measured_prices({"rollout": 0.0, "update": 15.0, "log_probs": 0.0}, tokens)
