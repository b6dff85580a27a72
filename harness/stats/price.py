"""Costs at a price per token: what a comparison comes to on hardware with another ratio of generating to training.

The unit is one trained token. A generated token costs ``generated`` of it (μ), a token that is only passed forward ``forward``. By
floating-point operations μ is ⅓ (2 against 6 per parameter, Kaplan et al. 2020); on GPUs generation is the slower part: 1 is the
split that DOTS reports (arXiv 2506.05316: rollouts are half of a step in which every token is generated and trained once), 5 what
arXiv 2604.08706 measures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.errors import UserError

#: A forward pass is a third of a forward and a backward one.
FORWARD_PRICE = 1 / 3

#: The prices of a generated token at which every verdict stands unless a suite names others.
DEFAULT_PRICES = (1 / 3, 1.0, 5.0)

#: A cost ledger of this kind is called ``price:1`` or, with a price of a forward-only token of its own, ``price:1:0.5``.
PREFIX = "price:"

#: The ledger at which a generated token costs as much as a trained one.
EQUAL_PRICES = f"{PREFIX}1"

#: The ledgers that a price applies to.
PRICED_LEDGERS = ("generated_tokens", "forward_tokens", "trained_tokens")


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Price of a generated and of a forward-only token, in trained tokens."""

    generated: float
    forward: float = FORWARD_PRICE

    def __post_init__(self) -> None:
        for name, price in (("generated", self.generated), ("forward-only", self.forward)):
            if not (math.isfinite(price) and price >= 0):
                raise UserError(f"the price of a {name} token is {price:g}; it must be a number of at least 0")
        if abs(self.generated - 1 / 3) < 1e-3:  # written as 0.333
            object.__setattr__(self, "generated", 1 / 3)

    @property
    def ledger(self) -> str:
        """The name of the cost ledger at these prices."""
        own = "" if math.isclose(self.forward, FORWARD_PRICE) else f":{self.forward:.6g}"
        return f"{PREFIX}{self.generated:.6g}{own}"

    @property
    def label(self) -> str:
        """``μ = ⅓``, ``μ = 5``."""
        own = "" if math.isclose(self.forward, FORWARD_PRICE) else f", forward {self.forward:g}"
        return f"μ = {'⅓' if self.generated == 1 / 3 else f'{self.generated:g}'}{own}"

    def cost(self, costs: Mapping[str, npt.NDArray[np.float64]]) -> npt.NDArray[np.float64]:
        """Cost in trained tokens, shape (E,), of cumulative token counts of shape (E,) per ledger."""
        return self.generated * costs["generated_tokens"] + self.forward * costs["forward_tokens"] + costs["trained_tokens"]


def prices_of(ledger: str) -> TokenPrices | None:
    """The prices that a ledger's name stands for, None for any other ledger. Raises UserError for a price that is no number."""
    if not ledger.startswith(PREFIX):
        return None
    try:
        return TokenPrices(*(float(part) for part in ledger.removeprefix(PREFIX).split(":", 1)))
    except ValueError:
        raise UserError(f"cost {ledger!r}: write price:1, or price:1:0.5 with the price of a forward-only token") from None


def measured_prices(seconds: Mapping[str, float], tokens: Mapping[str, float]) -> TokenPrices:
    """The prices that hardware shows: seconds per token of each kind, in units of a trained token's.

    seconds: ``rollout`` (probes included), ``log_probs`` and ``update``. tokens: ``generated_tokens``, ``forward_tokens`` and
    ``trained_tokens``. Where no token was only passed forward, its price is ``FORWARD_PRICE``. Raises UserError where nothing was
    generated or trained.
    """
    if not (seconds["update"] > 0 and tokens["trained_tokens"] > 0 and seconds["rollout"] > 0 and tokens["generated_tokens"] > 0):
        raise UserError("a price needs seconds and tokens of both rollouts and updates above 0")
    trained = seconds["update"] / tokens["trained_tokens"]
    forward = FORWARD_PRICE
    if tokens["forward_tokens"] > 0 and seconds["log_probs"] > 0:
        forward = seconds["log_probs"] / tokens["forward_tokens"] / trained
    return TokenPrices(seconds["rollout"] / tokens["generated_tokens"] / trained, forward)
