"""What selection may damage, worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from reports.analysis import analyse
from reports.condensed import condense
from reports.page.side_effects import side_effects_table
from tests.reports.ledgers import read, write_run

SLOW = [0.1, 0.2, 0.3, 0.4, 0.5, 0.5, 0.5]


def test_length_and_accuracy_on_every_set(tmp_path: Path) -> None:
    """rr ends 10, 12 and 14 points lower on a set that does not decide: -12, deviation 2, t(2) = 4.3027, so ± 5.0; and writes longer."""
    runs = [
        condense(log)
        for log in read([write_run(tmp_path, label, s, steps=24, accuracies=SLOW) for label in ("grpo", "rr") for s in (1, 2, 3)])
    ]
    for run in runs:
        lower = (0.08 + 0.02 * run.seed) if run.strategy == "rr" else 0.0
        run.final_accuracies = {"test": 0.5, "other-domain": 0.3 - lower}
        if run.strategy == "rr":
            run.steps["mean_completion_tokens"] = np.linspace(10.0, 33.0, 24)
    analysis = analyse(runs, baseline="grpo", target={"share_of_gain": 0.9})
    table = side_effects_table(analysis, analysis.combinations[0])
    assert table is not None
    assert [head for head, _ in table.heads][2:] == ["final accuracy on test", "final accuracy on other-domain (does not decide)"]
    assert [cell.text for cell in table.rows[0]] == ["grpo", "10.0 → 10.0", "50.0 %", "30.0 %"]
    assert [cell.text for cell in table.rows[1]] == ["rr", "12.0 → 31.0", "50.0 % (+0.0 [0.0, 0.0])", "18.0 % (-12.0 [-17.0, -7.0])"]
