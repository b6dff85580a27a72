"""Break-even prices of the field from its table of medians: an estimate, where the ledgers are gone.

    python -m benchmarks.field_prices        # benchmarks/results/field-prices.csv

``field.csv`` holds medians per strategy, not pairs: generated tokens and training steps to the target, rollouts per step by kind. Tokens
trained on are taken as (fresh + replayed rollouts per step) · steps · tokens per generated rollout, which overstates them where
degenerate groups were left out of the loss. So there is no interval, and a strategy whose median run missed has no price.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from harness.stats import DEFAULT_PRICES, TokensSpent, price_curve
from harness.stats.break_even import PRICES

RESULTS = Path(__file__).parent / "results"


def spent(row: pd.Series[float]) -> TokensSpent:
    """Tokens generated and trained on until the median run crossed the target."""
    steps, generated = float(row["median_training_steps"]), float(row["median_generated_tokens"])
    sampled = row["fresh_rollouts"] + row["probe_rollouts"] + row["filtered_rollouts"]
    trained = (row["fresh_rollouts"] + row["replayed_rollouts"]) * generated / sampled
    # Strategies that train on probes alone have no fresh rollouts of their own: the probes are what they train on.
    trained = trained if trained > 0 else generated
    return TokensSpent(generated, float(trained), bool(np.isfinite(steps)))


def main() -> None:
    """Write one row per strategy: speed-up over grpo at each price, break-even price, and on which side it is cheaper."""
    table = pd.read_csv(RESULTS / "field.csv").set_index("strategy")
    base = spent(table.loc["grpo"])
    rows = []
    for strategy, row in table.drop(index="grpo").iterrows():
        if not np.isfinite(row["median_training_steps"]):
            rows.append({"strategy": strategy, "cheaper": "missed"})
            continue
        curve = price_curve([(base, spent(row))])
        at = {f"at_{p:.2f}": round(float(np.interp(np.log(p), np.log(PRICES), curve.at_least)), 3) for p in DEFAULT_PRICES}
        even = curve.break_even
        rows.append({"strategy": strategy, **at, "break_even": None if even is None else round(even, 2), "cheaper": curve.cheaper})
    found = pd.DataFrame(rows)[["strategy", *(f"at_{p:.2f}" for p in DEFAULT_PRICES), "break_even", "cheaper"]]
    found.to_csv(RESULTS / "field-prices.csv", index=False)
    print(found.to_string(index=False))


if __name__ == "__main__":
    main()
