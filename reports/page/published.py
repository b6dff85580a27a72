"""Published results that ship as data, to stand beside one's own where a suite has the same combinations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from reports import words
from reports.arms import SECONDS, Analysis
from reports.page.parts import Cell, Table


@dataclass(frozen=True, slots=True)
class Published:
    """Per cent of training time saved, as two versions of the paper print it, and its predictor's correlation."""

    time_saved_v1: float
    time_saved_v3: float
    predictor_pearson: float


@cache
def _data() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((resources.files("reports") / "data" / "published.json").read_text(encoding="utf-8"))
    return found


def source() -> str:
    """Where the figures are from and what they mean."""
    return f"{_data()['source']}: {_data()['quantity']}."


#: Ends the names of combinations and strategies that follow the authors' repository.
CODE = "-code"


def _plain(name: str) -> str:
    return "".join(c for c in name.lower() if c.isalnum())


def published(combination: str, strategy: str) -> Published | None:
    """The published result of a strategy on a combination; spelling of case and separators does not matter.

    The suite ``paper`` holds every combination twice, as the paper says it and, named ``…-code``, as its repository does it. There is one
    published result for both.
    """
    combination, strategy = (name.removesuffix(CODE) for name in (combination, strategy))
    if _plain(strategy) != _plain(_data()["strategy"]):
        return None
    for row in _data()["results"]:
        if _plain(row["combination"]) == _plain(combination):
            return Published(row["time_saved_v1"], row["time_saved_v3"], row["predictor_pearson"])
    return None


def published_table(analysis: Analysis) -> Table | None:
    """Own results beside the published ones; None where the suite has none of the paper's combinations."""
    rows = []
    for combination in analysis.combinations:
        for arm in combination.arms:
            paper = published(combination.name, arm.strategy)
            if paper is None:
                continue
            found = arm.speed_ups.get(SECONDS)
            saved = words.saved(found) if found is not None else None
            pearson = arm.predictor_mean("pearson")
            rows.append(
                [
                    Cell(combination.name, combination.name),
                    Cell(arm.strategy, arm.strategy, swatch=analysis.strategies.index(arm.strategy) % 8),
                    Cell(words.NO_VALUE if saved is None else f"{saved:.1f} %", saved),
                    Cell(f"{paper.time_saved_v3:.1f} %", paper.time_saved_v3),
                    Cell(f"{paper.time_saved_v1:.1f} %", paper.time_saved_v1),
                    Cell(words.number(pearson), pearson),
                    Cell(f"{paper.predictor_pearson:.3f}", paper.predictor_pearson),
                ]
            )
    heads = [
        ("combination", False),
        ("strategy", False),
        ("time saved here", True),
        ("published, v3", True),
        ("published, v1", True),
        ("predictor r here", True),
        ("predictor r published", True),
    ]
    return Table(f"Beside the published results. {source()}", heads, rows) if rows else None
