"""Whether a baseline reproduces a reference, worked out by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from harness.errors import UserError
from harness.suite.reader import load_suite
from harness.suite.suite import find_suite, plan
from reports.analysis import analyse
from reports.arms import Analysis
from reports.condensed import condense
from reports.page.build import write_report
from reports.reference import read_reference, reference_csv, reproductions, settings_digest, tolerance_band
from tests.reports.ledgers import read, write_run


def runs(folder: Path, *curves: list[float], groups: int = 8) -> Analysis:
    """Complete runs of the baseline with an evaluation every four steps."""
    paths = [
        write_run(folder, "grpo", seed, steps=4 * (len(curve) - 1), accuracies=curve, groups=groups) for seed, curve in enumerate(curves)
    ]
    return analyse([condense(log) for log in read(paths)], baseline="grpo", target={"share_of_gain": 0.9})


def reference(folder: Path) -> Path:
    """Three seeds at .1; .3 ± .05; .5 ± .05 in steps 0, 4 and 8."""
    analysis = runs(folder / "theirs", [0.1, 0.25, 0.45], [0.1, 0.3, 0.5], [0.1, 0.35, 0.55])
    path = folder / "r.csv"
    path.write_text(reference_csv(analysis), encoding="utf-8", newline="")
    return path


def test_the_band_holds_one_more_run_by_hand() -> None:
    """.25, .3, .35: deviation .05, t(.975, 2) = 4.3027, √(1 + 1/3) = 1.1547: ± .2484. Equal values still leave a point on each side."""
    assert tolerance_band(np.array([0.25, 0.3, 0.35])) == pytest.approx((0.3 - 0.2484, 0.3 + 0.2484), abs=1e-4)
    assert tolerance_band(np.array([0.1, 0.1, 0.1])) == pytest.approx((0.09, 0.11))


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    """One row per evaluation; step 4 has generated 4 · 64 rollouts of 10 tokens."""
    found = read_reference(reference(tmp_path))["spell-backward"]
    assert [(p.step, p.seeds, p.median, p.tokens) for p in found] == [(0, 3, 0.1, 0.0), (4, 3, 0.3, 2560.0), (8, 3, 0.5, 5120.0)]
    assert (found[1].low, found[1].high) == pytest.approx((0.0516, 0.5484), abs=1e-4)
    assert found[0].made_with == "halfway 0.1.0, trl 1.16.0"


def test_another_machine_reproduces_it_or_not(tmp_path: Path) -> None:
    """Within the band at all three evaluations, furthest off where +.005 is half of a point's tolerance; then outside at two of three."""
    known = read_reference(reference(tmp_path))
    [found] = reproductions(runs(tmp_path / "near", [0.105, 0.3, 0.52]), known)
    assert found.holds
    assert found.sentence == (
        "grpo on spell-backward reproduces the reference (3 seeds, halfway 0.1.0, trl 1.16.0): the median of 1 seed lies within its band "
        "at 3 of 3 evaluations, furthest off at step 0 with +0.5 points (band ± 1.0); 1.00× its generated tokens by the last common step."
    )
    [far] = reproductions(runs(tmp_path / "far", [0.2, 0.3, 0.8], [0.2, 0.3, 0.8]), known)
    assert (far.inside, far.holds) == (1, False)
    assert "does not reproduce" in far.sentence


def test_more_tokens_are_another_method(tmp_path: Path) -> None:
    """The same curve with twice the groups in a step is no reproduction."""
    [found] = reproductions(runs(tmp_path / "twice", [0.1, 0.3, 0.5], groups=16), read_reference(reference(tmp_path)))
    assert (found.inside, found.token_ratio, found.holds) == (3, 2.0, False)


def test_too_little_to_judge(tmp_path: Path) -> None:
    """Two common evaluations, an unknown combination; a reference of two runs is refused."""
    known = read_reference(reference(tmp_path))
    assert reproductions(runs(tmp_path / "short", [0.1, 0.3]), known) == []
    assert reproductions(runs(tmp_path / "near", [0.1, 0.3, 0.5]), {"other": known["spell-backward"]}) == []
    with pytest.raises(UserError, match="needs 3 complete runs of the baseline grpo, not 2"):
        reference_csv(runs(tmp_path / "two", [0.1, 0.3, 0.5], [0.1, 0.3, 0.5]))


@pytest.mark.parametrize(("text", "said"), [("a,b\n1,2\n", "is no reference"), ("", "is no reference"), ("BAD", "line 3")])
def test_a_file_that_is_no_reference_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    """Other columns, nothing, a word where a number belongs."""
    path = reference(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace("0.3,", "often,") if text == "BAD" else text, encoding="utf-8")
    with pytest.raises(UserError, match=said):
        read_reference(path)


def test_the_shipped_reference_belongs_to_its_suite() -> None:
    """Its settings are those of the baseline in ``suites/simulated.toml``, and it ends with the last step."""
    suite = load_suite(find_suite("simulated"))
    run = next(r for r in plan(suite) if r.strategy.label == suite.baseline)
    points = read_reference(suite.path.with_name("simulated.reference.csv"))[run.combination.name]
    assert {p.settings for p in points} == {settings_digest(run.model_dump(mode="json"))}
    assert points[-1].step == run.algorithm.max_steps


def test_the_page_says_it(tmp_path: Path) -> None:
    """Beside the evidence where it holds, among the warnings where it does not."""
    known = read_reference(reference(tmp_path))
    for name, curve, place in (("near", [0.1, 0.3, 0.5], "notes"), ("far", [0.3, 0.9, 0.9], "alarms")):
        analysis = runs(tmp_path / name, curve, curve)
        page = write_report(analysis, tmp_path / name, title="T", reproduced=reproductions(analysis, known))
        html = page.read_text(encoding="utf-8")
        shown = re.search(rf'<ul class="{place}"><li>(?:(?!</ul>).)*grpo on spell-backward [a-z ]+ the reference', html, re.DOTALL)
        assert shown, name
