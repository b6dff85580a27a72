"""The results as a LaTeX table (booktabs), every label escaped."""

from __future__ import annotations

from reports import words
from reports.arms import SECONDS, TOKENS, Analysis, Arm, Overall

_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "_": r"\_", "%": r"\%",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "×": r"$\times$", "∞": r"$\infty$", "–": "--", "μ": r"$\mu$", "⅓": r"$\frac{1}{3}$",
}  # fmt: skip


def escape(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return "".join(_ESCAPES.get(c, c if c.isprintable() else "?") for c in text)


def results_tex(analysis: Analysis) -> str:
    """``results.tex``: one row per combination and strategy, to be \\input into a paper that loads booktabs."""
    lines = [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{llrrrrl}",
        r"\toprule",
        r"combination & strategy & reached & median time & median tokens & speed-up [95\,\%] & verdict \\",
        r"\midrule",
    ]
    for index, combination in enumerate(analysis.combinations):
        if index:
            lines.append(r"\midrule")
        for arm in combination.arms:
            found = arm.speed_ups.get(combination.main_cost)
            costs = [words.cost_or_bound(*arm.median_cost(c), c) if arm.outcomes.get(c) else words.NO_VALUE for c in (SECONDS, TOKENS)]
            if arm.is_baseline or found is None or found.n == 0:
                text, verdict = words.NO_VALUE, "baseline" if arm.is_baseline else "not compared"
            else:
                text, verdict = f"{words.speed_up(found)} {words.interval(found)}", found.verdict
            if arm.oracle:
                verdict += " (upper bound)"
            cells = [combination.name, arm.strategy, f"{arm.reached}/{arm.n}", *costs, text, verdict]
            lines.append(" & ".join(escape(c) for c in cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def prices_tex(analysis: Analysis) -> str:
    """``prices.tex``: speed-up at every price of a generated token and break-even price, per combination and strategy, then of all."""
    heads = ["combination", "strategy", *(f"at {p.label}" for p in analysis.prices), "break-even [95 %]"]
    lines = [
        r"% needs \usepackage{booktabs}; the price is that of a generated token in trained tokens",
        rf"\begin{{tabular}}{{ll{'r' * len(analysis.prices)}l}}",
        r"\toprule",
        " & ".join(escape(h) for h in heads) + r" \\",
        r"\midrule",
    ]
    rows: list[tuple[str, Arm | Overall]] = [(c.name, a) for c in analysis.combinations for a in c.arms if not a.is_baseline]
    if len(analysis.combinations) > 1:
        rows += [("all", item) for item in analysis.overall]
    for name, item in rows:
        found = [item.speed_ups.get(p.ledger) for p in analysis.prices]
        cells = [f"{words.speed_up(s)} {words.interval(s)}" if s is not None and s.n else words.NO_VALUE for s in found]
        lines.append(" & ".join(escape(c) for c in (name, item.strategy, *cells, words.break_even(item))) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
