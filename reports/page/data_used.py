"""What the runs were made of, as their ledgers recorded it: questions by content hash, model by commit; and where that differs.

Identity says which questions were asked for; only the hash says which ones a run got. Runs on other questions, or from other
weights, are not paired (docs/protocol.md, "How sure"), so a difference is reported beside the verdict.
"""

from __future__ import annotations

from reports import words
from reports.arms import Analysis, Combination
from reports.condensed import SHOWN, Run, facts_of
from reports.page.parts import Cell, Table


def mismatches(combination: Combination) -> list[str]:
    """One sentence per thing that is not the same in all runs of a combination; empty if all is."""
    runs = [r for a in combination.arms for r in a.runs]
    found = []
    for name, values in facts_of(runs).items():
        if len(values) > 1:
            text = "; ".join(f"{value}: {_named(members)}" for value, members in sorted(values.items()))
            found.append(
                f"The runs of {combination.name} do not share their {name} ({text}). Runs across that difference are not paired: do not "
                "quote a comparison before the runs are made again from the same."
            )
    return found


def _named(runs: list[Run]) -> str:
    """``grpo seeds 1, 2; dots seed 1``."""
    seeds: dict[str, list[int]] = {}
    for run in runs:
        seeds.setdefault(run.strategy, []).append(run.seed)
    return ", ".join(f"{label} seed{'s' if len(s) > 1 else ''} {' '.join(map(str, sorted(s)))}" for label, s in sorted(seeds.items()))


def data_table(analysis: Analysis) -> Table:
    """Model and questions of every combination as recorded: how many, where from, commit or content hash, in how many runs."""
    found: dict[tuple[str, str, str, str], int] = {}
    for combination in analysis.combinations:
        for run in (r for a in combination.arms for r in a.runs):
            name = str(run.spec.get("combination", {}).get("model", {}).get("name", ""))
            kept = [("model", name, run.model)] if name else []
            kept += [(split, f"{n:,} questions{f' from {origin}' if origin else ''}", h) for split, (n, h, origin) in run.questions.items()]
            for what, text, digest in kept:
                key = (combination.name, what, text, digest[:SHOWN])
                found[key] = found.get(key, 0) + 1
    places = {c.name: i for i, c in enumerate(analysis.combinations)}
    kinds = {what: i for i, what in enumerate(dict.fromkeys(key[1] for key in found))}
    rows = [
        [Cell(where), Cell(what), Cell(text), Cell(digest or words.NO_VALUE, kind="code"), Cell(str(runs), float(runs))]
        for (where, what, text, digest), runs in sorted(found.items(), key=lambda item: (places[item[0][0]], kinds[item[0][1]]))
    ]
    heads = [("combination", False), ("what", False), ("as recorded", False), ("commit or content hash", False), ("runs", True)]
    return Table("Models and questions as the runs recorded them", heads, rows)
