"""Time to target accuracy, and what may be said about it: docs/protocol.md, implemented once.

The rules, in the order in which a number passes through them:

* a **curve** is the accuracy of one run against every cost ledger (:mod:`harness.stats.curve`);
* a **target** is resolved once, from the baseline's runs alone, and checked for a plateau
  (:mod:`harness.stats.target`);
* the **crossing** is the first evaluation at the target that the next one confirms (``sustained``), or simply the first
  (``first``). A miss is +infinity, never dropped;
* a **speed-up** is the ratio of costs of two runs with the same seed, with a 95 % interval; a pair with a miss is
  known only between two bounds and enters as such (:mod:`harness.stats.speedup`);
* a **price** of a generated token in trained tokens turns token counts into a cost of their own, and a break-even price says where
  a comparison turns round (:mod:`harness.stats.price`, :mod:`harness.stats.break_even`);
* **aggregates** across combinations: IQM, probability of improvement, performance profiles
  (:mod:`harness.stats.aggregate`);
* **small-sample** honesty: exact sign test, Holm correction, minimum detectable difference
  (:mod:`harness.stats.small_samples`).

Pure numpy. Every random draw comes from a generator with a fixed seed, so results are a function of their input.
"""

from __future__ import annotations

from harness.stats.aggregate import (
    Band,
    Profile,
    paired_difference,
    performance_profile,
    probability_of_improvement,
    reached_share,
)
from harness.stats.break_even import PRICES, PriceCurve, TokensSpent, pooled_price_curve, price_curve
from harness.stats.curve import COST_LEDGERS, CostModel, Crossing, Curve, Reach, crossing_index, reach, reach_everywhere, reach_rate
from harness.stats.pass_at_k import pass_at_k
from harness.stats.price import DEFAULT_PRICES, EQUAL_PRICES, FORWARD_PRICE, PRICED_LEDGERS, TokenPrices, measured_prices, prices_of
from harness.stats.saturating import SaturatingFit, fit_saturating
from harness.stats.small_samples import (
    evidence,
    holm,
    log_deviation,
    minimum_detectable_difference,
    minimum_detectable_speed_up,
    sign_test,
)
from harness.stats.speedup import (
    BOOTSTRAP_SEED,
    DRAWS,
    LEAST_PAIRS,
    SpeedUp,
    interaction_bounds,
    interquartile_mean,
    pair_bounds,
    paired_interaction,
    paired_speed_up,
    pooled_speed_up,
)
from harness.stats.student_t import student_t_cdf, student_t_quantile
from harness.stats.target import (
    PLATEAU_SHARE,
    Plateau,
    Target,
    TargetRule,
    check_plateau,
    parse_target,
    resolve_target,
    steep_shares,
    target_from_text,
)

__all__ = [
    "BOOTSTRAP_SEED",
    "COST_LEDGERS",
    "DEFAULT_PRICES",
    "DRAWS",
    "EQUAL_PRICES",
    "FORWARD_PRICE",
    "LEAST_PAIRS",
    "PLATEAU_SHARE",
    "PRICED_LEDGERS",
    "PRICES",
    "Band",
    "CostModel",
    "Crossing",
    "Curve",
    "Plateau",
    "PriceCurve",
    "Profile",
    "Reach",
    "SaturatingFit",
    "SpeedUp",
    "Target",
    "TargetRule",
    "TokenPrices",
    "TokensSpent",
    "check_plateau",
    "crossing_index",
    "evidence",
    "fit_saturating",
    "holm",
    "interaction_bounds",
    "interquartile_mean",
    "log_deviation",
    "measured_prices",
    "minimum_detectable_difference",
    "minimum_detectable_speed_up",
    "pair_bounds",
    "paired_difference",
    "paired_interaction",
    "paired_speed_up",
    "parse_target",
    "pass_at_k",
    "performance_profile",
    "pooled_price_curve",
    "pooled_speed_up",
    "price_curve",
    "prices_of",
    "probability_of_improvement",
    "reach",
    "reach_everywhere",
    "reach_rate",
    "reached_share",
    "resolve_target",
    "sign_test",
    "steep_shares",
    "student_t_cdf",
    "student_t_quantile",
    "target_from_text",
]
