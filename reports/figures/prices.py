"""The figure of speed-ups over the price of a generated token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from harness.stats import PRICES, TokenPrices
from reports.arms import Arm
from reports.figures.curves import HEIGHT, WIDTH
from reports.figures.style import INK, MOST_IN_FULL, SMALL, add_legend, colour_of, dash_of, new_figure

#: Prices shown, in trained tokens.
LEAST, MOST = 0.2, 20.0
_TICKS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
_RATIOS = (0.25, 0.33, 0.5, 0.67, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0)


def speed_up_over_price(
    arms: Sequence[Arm], order: Sequence[str], prices: Sequence[TokenPrices], measured: float | None, *, legend: bool = False
) -> Figure:
    """Median speed-up with its interval over the price of a generated token, both axes logarithmic; bounds are drawn dotted.

    measured: the price on the machine of the runs, None where it is not known.
    """
    figure, axes = new_figure(WIDTH, HEIGHT)
    shown = (PRICES >= LEAST * 0.95) & (PRICES <= MOST * 1.05)
    low, high = _RATIOS[0], _RATIOS[-1]
    known = [1.0]  # ratios that decide the height of the figure: a band that is open on a side runs out of it
    for arm in arms:
        curve = arm.price_curve
        if curve is None or not curve.n:
            continue
        index = order.index(arm.strategy)
        exact = np.allclose(curve.at_least, curve.at_most, rtol=1e-12, atol=0.0)
        if curve.low is not None and curve.high is not None and len(arms) <= MOST_IN_FULL and exact:
            band = [np.clip(b[shown], low, high) for b in (curve.low, curve.high)]
            axes.fill_between(PRICES[shown], band[0], band[1], color=colour_of(index), alpha=0.13, lw=0)
        line = curve.at_least if exact or np.isinf(curve.at_most).all() else curve.at_most
        known += [r for bound in (line, curve.low, curve.high) if bound is not None for r in bound[shown] if low < r < high]
        axes.plot(
            PRICES[shown],
            np.clip(line[shown], low, high),
            color=colour_of(index),
            lw=1.8,
            ls=dash_of(index) if exact else ":",
            label=arm.strategy,
        )
    axes.axhline(1.0, color=INK, lw=0.9)
    for price in prices:
        axes.axvline(price.generated, color=INK, lw=0.6, ls=(0, (1, 3)))
    if measured is not None and LEAST <= measured <= MOST:
        axes.axvline(measured, color=INK, lw=1.0, ls=(0, (4, 3)))
        axes.annotate(
            "here",
            (measured, 0.98),
            xycoords=("data", "axes fraction"),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=SMALL,
            va="top",
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(LEAST, MOST)
    axes.set_xticks(_TICKS, [f"{t:g}" for t in _TICKS])
    bottom, top = min(known) / 1.08, max(known) * 1.08
    ratios = [r for r in _RATIOS if bottom <= r <= top]
    axes.set_yticks(ratios, [f"{r:g}×" for r in ratios])
    axes.set_ylim(bottom, top)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("price of a generated token, in trained tokens (μ)")
    axes.set_ylabel("speed-up")
    if legend:
        add_legend(axes)
    return figure
