"""Components on and off, and whether they help each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.analysis import analyse
from reports.condensed import condense
from reports.page.ablation import ablation_pictures, ablation_table, compositions, interaction
from reports.page.parts import Drawer
from tests.reports.ledgers import read, write_run

#: Target .5 is reached, and confirmed, at the evaluation with this index, 4 steps of .5 s each.
REACHED_AT = {"grpo": 8, "dots": 4, "rr": 6, "dots-rr": 2}


def suite(folder: Path) -> list[Path]:
    """Four arms, five seeds; grpo 16 s, dots 8 s, rr 12 s, dots-rr 4 s."""
    return [
        write_run(folder, label, seed, steps=40, accuracies=[0.1] * at + [0.5] * (11 - at))
        for label, at in REACHED_AT.items()
        for seed in (1, 2, 3, 4, 5)
    ]


def test_compositions_are_found_by_name() -> None:
    """Only labels that join two others; the order of the parts is the label's."""
    assert compositions(["grpo", "dots", "rr", "dots-rr", "dots-x", "rr+dots"]) == [("dots", "rr", "dots-rr"), ("rr", "dots", "rr+dots")]
    assert compositions(["a", "a-a"]) == []


@pytest.mark.slow
def test_interaction_by_hand(tmp_path: Path) -> None:
    """Speed-ups 2 and 4/3 alone, 4 together: 4 / (2 · 4/3) = 1.5 for every seed, so they help each other."""
    analysis = analyse(map(condense, read(suite(tmp_path))), baseline="grpo", target={"accuracy": 0.5})
    arms = {a.strategy: a for a in analysis.arms}
    found = interaction(arms["grpo"], [arms["dots"], arms["rr"], arms["dots-rr"]], "training_seconds")
    assert (found.n, found.estimate, found.low, found.high) == (5, pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5))
    table = ablation_table(analysis)
    assert table is not None
    assert [[c.text for c in row[1:]] for row in table.rows] == [
        ["dots", "2.00× [2.00, 2.00]", "rr", "3.00× [3.00, 3.00]", "1.50× [1.50, 1.50]", "they help each other (n = 5)", "none"],
        ["rr", "1.33× [1.33, 1.33]", "dots", "2.00× [2.00, 2.00]", "1.50× [1.50, 1.50]", "they help each other (n = 5)", "none"],
    ]
    [picture] = ablation_pictures(analysis, Drawer("ablation"))
    assert "grpo 16.0 s, dots 8.00 s, rr 12.0 s, dots-rr 4.00 s" in picture.svg


@pytest.mark.slow
def test_a_miss_is_not_left_out_of_the_interaction(tmp_path: Path) -> None:
    """dots never arrives in 20 s: its seeds stay, the interaction is at least 20·12/(16·4) = 3.75."""
    paths = [p for p in suite(tmp_path) if not read([p])[0].spec["strategy"]["label"].startswith("dots")]
    paths += [write_run(tmp_path / "x", "dots", s, steps=40, accuracies=[0.1] * 11) for s in (1, 2, 3, 4, 5)]
    paths += [write_run(tmp_path / "x", "dots-rr", s, steps=40, accuracies=[0.1] * 2 + [0.5] * 9) for s in (1, 2, 3, 4, 5)]
    analysis = analyse(map(condense, read(paths)), baseline="grpo", target={"accuracy": 0.5})
    arms = {a.strategy: a for a in analysis.arms}
    found = interaction(arms["grpo"], [arms["dots"], arms["rr"], arms["dots-rr"]], "training_seconds")
    assert (found.n, found.at_least, found.at_most, found.verdict) == (5, pytest.approx(3.75), float("inf"), "faster")
    assert ablation_pictures(analysis, Drawer("ablation")) == []  # a median that is not finite cannot be drawn


@pytest.mark.slow
def test_no_interaction_where_nobody_arrived(tmp_path: Path) -> None:
    """A target beyond all of them: nothing is claimed; and nothing is composed where a part was not run."""
    analysis = analyse(map(condense, read(suite(tmp_path))), baseline="grpo", target={"accuracy": 0.9})
    table = ablation_table(analysis)
    assert table is not None
    assert [row[-2].text for row in table.rows] == ["no interaction shown (n = 5)"] * 2
    only = analyse(map(condense, read(suite(tmp_path / "b")[:10])), baseline="grpo", target={"accuracy": 0.5})
    assert ablation_table(only) is None


@pytest.mark.slow
def test_other_settings_that_differ_are_named(tmp_path: Path) -> None:
    """dots-rr was run with another learning rate: the effect of switching replay on is not replay's alone."""
    paths = [p for p in suite(tmp_path) if read([p])[0].spec["strategy"]["label"] != "dots-rr"]
    steps, rate = [0.1] * 2 + [0.5] * 9, {"learning_rate": 2e-3}
    paths += [write_run(tmp_path / "x", "dots-rr", s, steps=40, accuracies=steps, algorithm=rate) for s in (1, 2, 3, 4, 5)]
    table = ablation_table(analyse(map(condense, read(paths)), baseline="grpo", target={"accuracy": 0.5}))
    assert table is not None
    assert table.rows[0][-1].text == "learning_rate: 0.001 (grpo and dots and rr), 0.002 (dots-rr)"
