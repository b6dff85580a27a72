"""The ``[report]`` table of a suite: how its report reads the runs. It changes neither runs nor their identity."""

from __future__ import annotations

from pydantic import Field, field_validator

from harness.spec import Settings
from harness.stats import DEFAULT_PRICES, FORWARD_PRICE, TokenPrices


class ReportTable(Settings):
    """``[report]``: prices at which every verdict is repeated."""

    prices: tuple[float, ...] = Field(
        default=DEFAULT_PRICES, min_length=1, strict=False, description="of a generated token, in trained tokens; 1/3 by operations"
    )
    forward_price: float = Field(default=FORWARD_PRICE, ge=0, description="of a token that is only passed forward, in trained tokens")

    @field_validator("prices")
    @classmethod
    def _prices(cls, prices: tuple[float, ...]) -> tuple[float, ...]:
        for price in prices:
            if not 0 <= price < float("inf"):
                raise ValueError(f"has price {price:g}; a price must be a number of at least 0")
            if prices.count(price) > 1:
                raise ValueError(f"has price {price:g} twice")
        return prices

    @property
    def token_prices(self) -> list[TokenPrices]:
        """The prices in the form that the statistics take."""
        return [TokenPrices(price, self.forward_price) for price in self.prices]
