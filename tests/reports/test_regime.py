"""The regime of a suite and its headroom, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from reports.analysis import analyse
from reports.arms import Analysis, Combination
from reports.condensed import condense
from reports.page.regime import no_headroom, regime_notes
from reports.regime import has_headroom, headroom, histogram_of, references, run_regime, start_regime
from tests.reports.ledgers import read, write_run
from tests.reports.pages import build_report
from tests.reports.test_build import text_of

SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]
FAST = [0.1, 0.3, 0.5, 0.5, 0.5, 0.5, 0.5]


def test_shares_of_groups_are_unbiased_by_hand() -> None:
    """Groups of 2 from 4 samples: 0, 1, 2 and 4 of 4 right are all wrong with 1, 3/6, 1/6, 0 and all right with 0, 0, 1/6, 1."""
    found = start_regime(np.array([0.0, 0.25, 0.5, 1.0]), rollouts=4, group_size=2)
    assert found.all_wrong == pytest.approx((1 + 3 / 6 + 1 / 6 + 0) / 4)
    assert found.all_right == pytest.approx((0 + 0 + 1 / 6 + 1) / 4)
    assert found.informative == pytest.approx(1 - found.all_wrong - found.all_right)
    assert found.mean == pytest.approx(0.4375)


def test_classes_of_the_histogram() -> None:
    """0 and 1 stand alone; the upper end of a class belongs to it."""
    rates = np.array([0.0, 0.1, 0.125, 0.25, 0.5, 0.6, 0.9, 0.95, 1.0, 1.0])
    assert histogram_of(rates).tolist() == pytest.approx([0.1, 0.1, 0.2, 0.1, 0.1, 0.1, 0.1, 0.2])


def test_reference_tables_add_up() -> None:
    """Shares of the shipped policies sum to 1, to rounding, and so do their histograms; a class per column."""
    for row in references()["policies"]:
        assert row["all_wrong"] + row["all_right"] + row["informative"] == pytest.approx(1, abs=2e-3)
        assert sum(row.get("histogram", [1.0])) == pytest.approx(1, abs=3e-3)
    assert len(references()["classes"]) == 8


def analysis_of(folder: Path, seeds: int, **oracles: list[float]) -> Analysis:
    """grpo and an oracle on every combination; .5 s a step, 640 generated tokens."""
    paths = []
    for name, oracle in oracles.items():
        paths += [write_run(folder / name, "grpo", s, steps=24, accuracies=SLOW, combination=name) for s in range(seeds)]
        paths += [write_run(folder / name, "oracle", s, steps=24, accuracies=oracle, oracle=True, combination=name) for s in range(seeds)]
    return analyse(map(condense, read(paths)), baseline="grpo", target={"share_of_gain": 0.9})


def combination_of(folder: Path, seeds: int, oracle: list[float]) -> Combination:
    return analysis_of(folder, seeds, words=oracle).combinations[0]


def test_headroom_needs_five_pairs_and_a_third(tmp_path: Path) -> None:
    """The oracle needs 8 of 16 steps: 2×, shown with five seeds and not with three; 1× is no headroom at any n."""
    for seeds, accuracies, shown in ((5, FAST, True), (3, FAST, False), (5, SLOW, False)):
        analysis = analysis_of(tmp_path / f"{seeds}{shown}{accuracies[1]}", seeds, words=accuracies)
        found = headroom(analysis.combinations[0])
        assert found is not None
        assert has_headroom(found) == shown
        assert bool(no_headroom(analysis)) != shown
    assert no_headroom(analysis).startswith("No headroom is shown on words (1.00× [1.00, 1.00], n = 5): the speed-up of oracle")
    assert no_headroom(analysis).endswith("This suite cannot show what selection is worth.")


def test_headroom_over_all_combinations(tmp_path: Path) -> None:
    """One sentence for the combinations that lack it; what is shown over all of them is said, too."""
    both = no_headroom(analysis_of(tmp_path / "both", 3, one=FAST, two=FAST))
    assert both.startswith("No headroom is shown on one (2.00× [2.00, 2.00], n = 3), two (2.00×")
    assert both.endswith(
        "Over all 2 combinations together it is 2.00× [2.00, 2.00], n = 6: what selection is worth can be shown over all of them, "
        "not on each."
    )
    none = no_headroom(analysis_of(tmp_path / "none", 5, one=SLOW, two=SLOW))
    assert none.endswith(
        "Over all 2 combinations together it is 1.00× [1.00, 1.00], n = 10: this suite cannot show what selection is worth."
    )
    half = no_headroom(analysis_of(tmp_path / "half", 5, one=FAST, two=SLOW))
    assert half.startswith("No headroom is shown on two (1.00× [1.00, 1.00], n = 5): the speed-up of oracle")


def test_the_regime_of_runs_by_hand(tmp_path: Path) -> None:
    """Set columns: 8 fresh groups a step, so start and end are 8 of the 24 steps each; 24·8 draws from 512 questions."""
    run = condense(read([write_run(tmp_path, "grpo", 1, steps=24, accuracies=SLOW)])[0])
    for name, start, end in (("mean_pass_rate", 0.2, 0.5), ("all_wrong", 0.4, 0.1), ("all_right", 0.0, 0.3)):
        run.steps[name][:] = np.repeat([start, 9.0, end], 8)
    combination = analyse([run], baseline="grpo", target={"share_of_gain": 0.9}).combinations[0]
    found = run_regime(combination)
    assert found.start == pytest.approx((0.2, 0.4, 0.0))
    assert found.end == pytest.approx((0.5, 0.1, 0.3))
    assert found.drift == pytest.approx(0.3)
    assert found.visits == pytest.approx(192 / 512)
    assert found.rollout_share == pytest.approx(0.4)
    notes = regime_notes(combination, found)
    assert "the mean pass rate changes by +0.30 over the run; in a real run it rises by 0.10 to 0.20." in notes[0]
    assert "rollouts are 40 % of the time here" in notes[1]


def test_errors_of_the_regime_by_hand(tmp_path: Path) -> None:
    """Two runs drift by .3 and .5: standard error |.5 − .3|/2 = .1; informative .6 and .6, then .3 and .5: errors 0 and .1."""
    runs = [condense(log) for log in read([write_run(tmp_path, "grpo", seed, steps=24, accuracies=SLOW) for seed in (1, 2)])]
    for run, end, wrong in zip(runs, (0.5, 0.7), (0.7, 0.5), strict=True):
        for name, values in (("mean_pass_rate", (0.2, end)), ("all_wrong", (0.4, wrong)), ("all_right", (0.0, 0.0))):
            run.steps[name][:] = np.repeat([values[0], 9.0, values[1]], 8)
    combination = analyse(runs, baseline="grpo", target={"share_of_gain": 0.9}).combinations[0]
    found = run_regime(combination)
    assert found.drift_error == pytest.approx(0.1)
    assert found.informative_errors == pytest.approx((0.0, 0.1))
    notes = regime_notes(combination, found)
    assert notes[0] == "spell-backward: at times only 40 % (standard error 10 points) of the baseline's groups are informative."
    assert notes[1].startswith("spell-backward: the mean pass rate changes by +0.40 (standard error 0.10) over the run; in a real run")


def test_the_page_shows_the_regime_before_the_verdict(tmp_path: Path) -> None:
    """Its section comes first, and what ``halfway regime`` measured has a row of its own."""
    paths = [write_run(tmp_path, label, s, steps=24, accuracies=SLOW) for label in ("grpo", "rr") for s in (1, 2)]
    measured = {"spell-backward": start_regime(np.array([0.0, 0.5]), 2, 2)}
    page = build_report(read(paths), tmp_path / "o", title="T", baseline="grpo", target={"share_of_gain": 0.9}, regimes=measured)
    text = text_of(page.read_text(encoding="utf-8"))
    assert text.index("Regime: what this suite can show") < text.index("Does another strategy reach")
    assert "spell-backward: starting policy, 2 questions 0.25 0.50 0.00 0.50" in text
    assert "Qwen2.5-7B-Instruct, temperature 1" in text
