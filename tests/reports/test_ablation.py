"""Components on and off, and whether they help each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.ablation import ablation_table, compositions, interaction
from reports.analysis import analyse
from reports.records import condense
from tests.reports.ledgers import read, write_run

#: Target .5 is reached, and confirmed, at the evaluation with this index, 4 steps of .5 s each.
REACHED_AT = {"grpo": 8, "dots": 4, "rr": 6, "dots-rr": 2}


def suite(folder: Path) -> list[Path]:
    """Four arms, three seeds; grpo 16 s, dots 8 s, rr 12 s, dots-rr 4 s."""
    return [
        write_run(folder, label, seed, steps=40, accuracies=[0.1] * at + [0.5] * (11 - at))
        for label, at in REACHED_AT.items()
        for seed in (1, 2, 3)
    ]


def test_compositions_are_found_by_name() -> None:
    """Only labels that join two others; the order of the parts is the label's."""
    assert compositions(["grpo", "dots", "rr", "dots-rr", "dots-x", "rr+dots"]) == [("dots", "rr", "dots-rr"), ("rr", "dots", "rr+dots")]
    assert compositions(["a", "a-a"]) == []


def test_interaction_by_hand(tmp_path: Path) -> None:
    """Speed-ups 2 and 4/3 alone, 4 together: 4 / (2 · 4/3) = 1.5 for every seed, so they help each other."""
    analysis = analyse(map(condense, read(suite(tmp_path))), baseline="grpo", target={"accuracy": 0.5})
    arms = {a.strategy: a for a in analysis.arms}
    found = interaction(arms["grpo"], [arms["dots"], arms["rr"], arms["dots-rr"]], "training_seconds")
    assert (found.n, found.estimate, found.low, found.high) == (3, pytest.approx(1.5), pytest.approx(1.5), pytest.approx(1.5))
    table = ablation_table(analysis)
    assert table is not None
    assert [c.text for c in table.rows[0]] == [
        "spell-backward",
        "dots 2.00× [2.00, 2.00]",
        "rr 1.33× [1.33, 1.33]",
        "dots-rr 4.00× [4.00, 4.00]",
        "1.50× [1.50, 1.50]",
        "they help each other",
    ]


def test_no_interaction_where_nobody_arrived(tmp_path: Path) -> None:
    """A target beyond all of them: the row says so instead of a number."""
    analysis = analyse(map(condense, read(suite(tmp_path))), baseline="grpo", target={"accuracy": 0.9})
    table = ablation_table(analysis)
    assert table is not None
    assert table.rows[0][-1].text == "no seed on which all four reached the target"
    only = analyse(map(condense, read(suite(tmp_path / "b")[:6])), baseline="grpo", target={"accuracy": 0.5})
    assert ablation_table(only) is None
