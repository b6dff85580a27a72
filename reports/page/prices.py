"""The verdict at other prices of a generated token: what it would be on hardware that generates more slowly, or faster."""

from __future__ import annotations

from harness.stats import SpeedUp
from reports import words
from reports.arms import Analysis, Arm, Combination
from reports.figures.prices import speed_up_over_price
from reports.page.parts import Cell, Drawer, Picture, Table, strategy_legend
from reports.phase_costs import measured_prices_of


def price_table(analysis: Analysis, combination: Combination) -> Table | None:
    """Per strategy the verdict on the clock, at every price, and the price at which it breaks even; None without token counts."""
    arms = _priced(combination)
    if not arms:
        return None
    rows = [
        [
            Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8),
            _cell(arm.speed_ups.get(combination.main_cost)),
            *(_cell(arm.speed_ups.get(p.ledger)) for p in analysis.prices),
            Cell(words.break_even(arm), arm.price_curve.break_even if arm.price_curve is not None else None),
        ]
        for arm in arms
    ]
    heads = [("strategy", False), (f"measured {words.COST_NAMES[combination.main_cost]}", True)]
    heads += [(f"at {p.label}", True) for p in analysis.prices] + [("break-even μ [95 %]", True)]
    caption = (
        "Speed-up on the clock and at a price of μ trained tokens per generated token (a token only passed forward costs a third of a "
        "trained one unless given). Green and red: faster and slower by the rule of the verdict. Between the break-even prices in "
        "brackets no verdict holds."
    )
    return Table(caption, heads, rows)


def price_picture(analysis: Analysis, combination: Combination, drawer: Drawer) -> Picture | None:
    """Speed-up of every strategy over the price of a generated token; None without token counts."""
    arms = _priced(combination)
    if not arms:
        return None
    here = measured_prices_of(combination.baseline)
    measured = here.generated if here is not None else None
    where = f" On the machine of these runs a generated token took {words.price(measured)} of a trained one's time." if measured else ""
    evens = "; ".join(f"{a.strategy}: {words.break_even(a)}" for a in arms)
    picture = drawer.draw(
        "prices", f"Speed-up over the price of a generated token on {combination.name}", f"Break-even prices: {evens}.",
        "Median speed-up over the price of a generated token, with its interval (dotted: a bound, as runs missed the target). "
        f"Vertical lines: the prices of the table{', dashed: this machine' if measured else ''}.{where}",
        lambda legend: speed_up_over_price(arms, analysis.strategies, analysis.prices, measured, legend=legend),
    )  # fmt: skip
    picture.legend = strategy_legend(arms, analysis.strategies)
    return picture


def _priced(combination: Combination) -> list[Arm]:
    return [a for a in combination.arms if not a.is_baseline and a.price_curve is not None and a.price_curve.n]


def _cell(found: SpeedUp | None) -> Cell:
    if found is None or not found.n:
        return Cell(words.NO_VALUE, None)
    kind = found.verdict if found.verdict in ("faster", "slower") else ""
    return Cell(f"{words.speed_up(found)} {words.interval(found)}", found.at_least, kind)
