"""The regime of a suite on the page, before its verdict: whether it can show anything about selection at all."""

from __future__ import annotations

from collections.abc import Mapping

from harness.stats import SpeedUp
from reports import words
from reports.arms import TOKENS, Analysis, Combination
from reports.page.parts import Cell, Section, Table
from reports.persistence import LEAST_REVISITED, Persistence
from reports.regime import LEAST_HEADROOM, RunRegime, StartRegime, has_headroom, headroom, oracle_of, references, run_regime

HEADS = (
    "mean pass rate",
    "all wrong",
    "all right",
    "informative",
    "visits per question",
    "start–end correlation",
    "rollout share of the time",
    "seed deviation ÷ gain",
    "headroom: oracle in tokens",
)


def regime_section(analysis: Analysis, measured: Mapping[str, StartRegime]) -> Section | None:
    """One row per combination beside the reference bands; None where no run recorded its groups.

    measured: per combination what ``halfway regime`` found of the starting policy.
    """
    found = {c.name: run_regime(c) for c in analysis.combinations}
    if not any(r.start is not None for r in found.values()):
        return None
    rows = [_row(c, found[c.name]) for c in analysis.combinations]
    rows += [_measured_row(name, regime) for name, regime in measured.items() if name in found]
    rows += [_band_row(), *_policy_rows()]
    heads = [("combination or model", False), *((h, True) for h in HEADS)]
    caption = (
        f"Start → end of the baseline's runs, beside real models and a real run ({references()['source']}). Shares are of groups of "
        "the run's size. Start–end correlation: of the pass rates of questions with groups in the first and the last third of a run, all "
        f"runs together, and corrected for the sampling of the groups; not measured below {LEAST_REVISITED} questions."
    )
    section = Section("regime", "Regime: what this suite can show", tables=[Table(caption, heads, rows)])
    section.notes = [note for c in analysis.combinations for note in regime_notes(c, found[c.name])]
    return section


def _row(combination: Combination, found: RunRegime) -> list[Cell]:
    start, end = found.start, found.end
    if start is None or end is None:
        outcomes = [Cell(words.NO_VALUE)] * 4
    else:
        pairs = [*zip(start, end, strict=True), (1 - start[1] - start[2], 1 - end[1] - end[2])]
        outcomes = [Cell(f"{a:.2f} → {b:.2f}", a) for a, b in pairs]
    headroom = found.headroom
    oracle = "no oracle" if oracle_of(combination) is None else "no pair"
    return [
        Cell(combination.name, combination.name),
        *outcomes,
        Cell(words.number(found.visits, 1), found.visits),
        _persistence_cell(found.persistence),
        Cell(words.percent(found.rollout_share, 0), found.rollout_share),
        Cell(words.number(found.noise), found.noise),
        Cell(f"{words.speed_up(headroom)} {words.interval(headroom)}" if headroom is not None else oracle),
    ]


def _measured_row(name: str, regime: StartRegime) -> list[Cell]:
    values = (regime.mean, regime.all_wrong, regime.all_right, regime.informative)
    label = f"{name}: starting policy, {regime.questions} questions"
    return [Cell(label, label), *(Cell(f"{v:.2f}", v) for v in values), *[Cell(words.NO_VALUE)] * 5]


def _band_row() -> list[Cell]:
    bands = references()["bands"]
    run = references()["run"]
    shown = [f"{run['mean'][0]:.2f} → {run['mean'][1]:.2f}"]
    shown += [f"{bands[k][0]:.2f} to {bands[k][1]:.2f}" for k in ("all_wrong", "all_right", "informative")]
    share = bands["rollout_share"]
    cells = [
        *shown,
        "3, or 15 and more",
        f"at least {bands['persistence'][0]}",
        f"{100 * share[0]:.0f} to {100 * share[1]:.0f} %",
        words.NO_VALUE,
        f"at least {LEAST_HEADROOM}×",
    ]
    return [Cell("band of real training", "band"), *(Cell(text) for text in cells)]


def _policy_rows() -> list[list[Cell]]:
    return [
        [Cell(row["policy"], row["policy"]), *(Cell(f"{row[k]:.2f}", row[k]) for k in ("mean", "all_wrong", "all_right", "informative"))]
        + [Cell(words.NO_VALUE)] * 5
        for row in references()["policies"]
    ]


def _persistence_cell(found: Persistence | None) -> Cell:
    if found is None:
        return Cell("not measured")
    corrected = words.number(found.corrected)
    return Cell(f"{found.correlation:.2f}, {corrected} corrected (n = {found.n})", found.correlation)


def regime_notes(combination: Combination, found: RunRegime) -> list[str]:
    """What keeps a combination from being like real training, one sentence each."""
    bands, name, notes = references()["bands"], combination.name, []
    if found.start is not None and found.end is not None:
        informative = [1 - wrong - right for _, wrong, right in (found.start, found.end)]
        if informative[1] > 0.8:
            notes.append(
                f"{name}: {100 * informative[1]:.0f} % of the baseline's groups are informative at the end (real runs: about half), so "
                "there is little that a selector could add."
            )
        if min(informative) < bands["informative_throughout"][0]:
            lowest = informative.index(min(informative))
            errors = found.informative_errors
            error = _error(100 * errors[lowest] if errors is not None else None, ".0f", " points")
            share = 100 * informative[lowest]
            notes.append(f"{name}: at times only {share:.0f} %{error} of the baseline's groups are informative.")
    if found.drift is not None and not bands["drift"][0] <= found.drift <= bands["drift"][1]:
        notes.append(
            f"{name}: the mean pass rate changes by {found.drift:+.2f}{_error(found.drift_error, '.2f')} over the run; in a real run it "
            f"rises by {bands['drift'][0]:.2f} to {bands['drift'][1]:.2f}."
        )
    kept = found.persistence
    if kept is not None and kept.corrected is not None and kept.corrected < bands["persistence"][0]:
        notes.append(
            f"{name}: pass rates of {kept.n} questions in the first and the last third of the runs correlate with {kept.correlation:.2f}, "
            f"{kept.corrected:.2f} corrected for sampling; in a real run {bands['persistence'][0]} and more. What was learned of a "
            "question is soon out of date here."
        )
    if found.rollout_share is not None and found.rollout_share < bands["rollout_share"][0]:
        notes.append(
            f"{name}: rollouts are {100 * found.rollout_share:.0f} % of the time here, on GPUs 47 to 90 %: read the verdicts at the prices "
            "μ = 1 and 5, too."
        )
    return notes


def _error(found: float | None, shown: str, unit: str = "") -> str:
    """What a standard error over runs adds to a number; nothing where there is none."""
    return f" (standard error {found:{shown}}{unit})" if found is not None else ""


def no_headroom(analysis: Analysis) -> str:
    """What must be said with the verdict where an oracle does not clearly beat the baseline; empty where it does or there is none.

    Combinations without headroom stand in one sentence, beside what the oracle is worth over all of them together.
    """
    lacking = [c for c in analysis.combinations if oracle_of(c) is not None and not _shows_headroom(c)]
    if not lacking:
        return ""
    oracle = oracle_of(lacking[0])
    assert oracle is not None
    seen = ", ".join(f"{c.name} ({_shown(headroom(c))})" for c in lacking)
    text = (
        f"No headroom is shown on {seen}: the speed-up of {oracle.strategy}, which knows true pass rates for free, in generated tokens; "
        f"{LEAST_HEADROOM}× with five pairs and an interval above 1 would be needed."
    )
    overall = next((item for item in analysis.overall if item.strategy == oracle.strategy), None)
    together = overall.speed_ups.get(TOKENS) if overall is not None else None
    if overall is None or together is None or overall.combinations == 1:
        return f"{text} This suite cannot show what selection is worth."
    text += f" Over all {overall.combinations} combinations together it is {_shown(together)}:"
    if together.verdict == "faster":
        return f"{text} what selection is worth can be shown over all of them, not on each."
    return f"{text} this suite cannot show what selection is worth."


def _shows_headroom(combination: Combination) -> bool:
    found = headroom(combination)
    return found is not None and has_headroom(found)


def _shown(found: SpeedUp | None) -> str:
    return f"{words.speed_up(found)} {words.interval(found)}, n = {found.n}" if found is not None and found.n else "no pair"
