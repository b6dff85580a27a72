"""What the runs of the suites smollm2 and gpu-small on a GPU show, from the committed steps of every run (results/*-h100.csv).

    python benchmarks/gpu_courses.py [--write]      # --write: tables into docs/courses.md, the figure into docs/images

Some runs were cut off when the machine's time ended, so all curves end at a step that every paired run reached. The target is 70 % of the
gain that GRPO has made by then. With three seeds no verdict is given, only the pairs.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.document import insert
from harness.stats import DEFAULT_PRICES, EQUAL_PRICES, Curve, Target, TokenPrices, paired_speed_up, parse_target, reach, resolve_target

RESULTS = Path(__file__).resolve().parent / "results"
DOCS = Path(__file__).resolve().parents[1] / "docs"
LEDGERS = ("generated_tokens", *(TokenPrices(price).ledger for price in DEFAULT_PRICES))
RULE = {"share_of_gain": 0.7}
SEEDS = (1, 2, 3)
#: Suite -> the step at which all curves end.
COURSES = {"smollm2": 50, "gpu-small": 40}


def steps_of(suite: str, results: Path = RESULTS) -> pd.DataFrame:
    """The steps of the seeds that are compared, as ``steps.py`` wrote them."""
    steps = pd.read_csv(results / f"{suite}-h100.csv")
    return steps[steps.seed.isin(SEEDS)]


def curves_of(steps: pd.DataFrame, last: int) -> list[Curve]:
    """The curves of all runs that got as far as step ``last``, cut off there; the baseline's first."""
    found = []
    for (strategy, seed), run in steps.groupby(["strategy", "seed"]):
        if run.step.max() < last:
            continue
        at = run[run.accuracy.notna() & (run.step <= last)].fillna(0.0)
        costs = {name: at[name].to_numpy(float) for name in ("generated_tokens", "trained_tokens")}
        costs["forward_tokens"] = np.zeros(len(at))
        found.append(Curve("arithmetic", str(strategy), int(seed), at.accuracy.to_numpy(float), costs))
    return sorted(found, key=lambda curve: curve.strategy != "grpo")


def target_of(curves: Sequence[Curve]) -> Target:
    """The target from the baseline's curves."""
    return resolve_target(parse_target(RULE), [c for c in curves if c.strategy == "grpo"])


def speed_ups(curves: Sequence[Curve], target: float) -> pd.DataFrame:
    """One row per arm other than the baseline: the median of the pairs and every pair, on each ledger."""
    arms = list(dict.fromkeys(c.strategy for c in curves if c.strategy != "grpo"))
    rows = []
    for arm in arms:
        pairs = [(a, b) for a in curves for b in curves if a.strategy == "grpo" and b.strategy == arm and a.seed == b.seed]
        row = {"strategy": arm, "seeds": len(pairs)}
        for ledger in LEDGERS:
            found = paired_speed_up([(reach(a, target, cost=ledger), reach(b, target, cost=ledger)) for a, b in pairs])
            each = ", ".join(_pair(low, high) for low, high in found.pairs)
            row[ledger] = f"{found.at_least:.2f} ({each})"
        rows.append(row)
    return pd.DataFrame(rows)


def _pair(low: float, high: float) -> str:
    """One pair: ≤ where the arm missed the target by the last step, ≥ where the baseline did."""
    if np.isclose(low, high):
        return f"{low:.2f}"
    return f"≥ {low:.2f}" if np.isinf(high) else f"≤ {high:.2f}"


def regime_of(steps: pd.DataFrame, last: int) -> pd.DataFrame:
    """Informative share of the fresh groups of every arm, by ten steps."""
    trained = steps[steps.step.between(1, last)]
    tens = trained.assign(steps=(trained.step - 1) // 10 * 10 + 10)
    return tens.pivot_table(index="strategy", columns="steps", values="informative").round(2)


def table(steps: pd.DataFrame, curves: Sequence[Curve], target: float, last: int) -> str:
    """Markdown of the informative shares and the speed-ups."""
    shares = regime_of(steps, last)

    def by_tens(arm: str) -> str:
        return " ".join(f"{share:.2f}".lstrip("0") for share in shares.loc[arm])

    best_first = speed_ups(curves, target).sort_values(
        "generated_tokens", ascending=False, key=lambda x: x.str.split().str[0].astype(float)
    )
    rows = [
        f"| `{row['strategy']}` | {by_tens(row['strategy'])} | {' | '.join(row[ledger] for ledger in LEDGERS)} |"
        for row in best_first.to_dict("records")
    ]
    head = [
        f"| | informative, by ten steps (GRPO {by_tens('grpo')}) | generated tokens | μ = ⅓ | μ = 1 | μ = 5 |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *rows])


def draw(curves: Sequence[Curve], target: float, path: Path) -> None:
    """Accuracy of every arm over generated tokens, and over its cost where a generated token costs as much as a trained one.

    Thin lines are seeds, the others their mean.
    """
    import matplotlib
    from matplotlib.figure import Figure

    from reports.figures.style import DASHES, PALETTE, STYLE

    with matplotlib.rc_context({**STYLE, "svg.hashsalt": "halfway"}):
        figure = Figure(figsize=(7.2, 3.1), layout="constrained", facecolor="white")
        for axes, (ledger, label) in zip(
            figure.subplots(1, 2, sharey=True),
            (("generated_tokens", "generated tokens (thousands)"), (EQUAL_PRICES, "cost at μ = 1 (thousand trained tokens)")),
            strict=True,
        ):
            for number, arm in enumerate(dict.fromkeys(c.strategy for c in curves)):
                runs = [c for c in curves if c.strategy == arm]
                for run in runs:
                    axes.plot(run.cost(ledger) / 1e3, run.accuracy, color=PALETTE[number], linewidth=0.6, alpha=0.45)
                cost = np.mean([run.cost(ledger) for run in runs], axis=0)
                accuracy = np.mean([run.accuracy for run in runs], axis=0)
                axes.plot(cost / 1e3, accuracy, color=PALETTE[number], linestyle=DASHES[number % 4], linewidth=1.9, label=arm)
            axes.axhline(target, color=PALETTE[0], linewidth=0.8, linestyle=":")
            axes.set_xlabel(label)
            axes.set_xlim(left=0)
        figure.axes[0].set_ylabel("accuracy on test questions")
        figure.axes[0].legend(loc="lower right", frameon=False)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the tables into docs/courses.md and draw the figure of smollm2")
    options = parser.parse_args()
    for suite, last in COURSES.items():
        steps = steps_of(suite)
        curves = curves_of(steps, last)
        target = target_of(curves)
        assert target.accuracy is not None
        start, end = (float(np.median([c.accuracy[i] for c in curves if c.strategy == "grpo"])) for i in (0, -1))
        print(f"{suite}: accuracy of GRPO {start:.3f} to {end:.3f} at step {last}, target {target.accuracy:.3f}")
        text = table(steps, curves, target.accuracy, last)
        print(text, end="\n\n")
        if options.write:
            insert(DOCS / "courses.md", f"{suite}-h100", text)
            if suite == "smollm2":
                draw(curves, target.accuracy, DOCS / "images" / "smollm2.svg")


if __name__ == "__main__":
    main()
