"""All strategies against one recording: who plays, on all cores, and who is left out with the reason."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.errors import UserError
from harness.predictor.text_features import TextFeatures
from harness.registry import StrategyEntry, strategy_entry
from harness.rehearsal.play import Conditions, Outcome, play
from harness.rehearsal.recording import Recording
from harness.rehearsal.summary import Row, ranked, summarize
from harness.types import FloatArray

BASELINE, UPPER_BOUND = "grpo", "oracle"
FEWEST_SEEDS = 2

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Player:
    """A strategy with settings, as a row of the leaderboard."""

    label: str
    name: str
    config: dict[str, Any] = field(default_factory=dict)
    plugin: str | None = None

    def entry(self) -> StrategyEntry:
        """Its registered strategy. Raises UserError where there is none."""
        return strategy_entry(self.name, [self.plugin] if self.plugin else [])


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """The rows, most informative first, and (label, reason) of every strategy that could not play."""

    rows: list[Row]
    left_out: list[tuple[str, str]]


def text_embeddings(recording: Recording) -> FloatArray:
    """Embeddings of the questions' texts, fitted to these questions alone, shape (N, width)."""
    return TextFeatures.fit(recording.questions).transform(recording.questions)


def hold(
    recording: Recording,
    players: Sequence[Player],
    conditions: Conditions,
    *,
    seeds: Sequence[int],
    predictor: Path | None = None,
    embeddings: FloatArray | None = None,
    processes: int | None = None,
    progress: Progress = lambda *_: None,
) -> Leaderboard:
    """Play every player on every seed. ``grpo`` and ``oracle`` always play: they are what the others are read against.

    embeddings: those that ``predictor`` was trained on, shape (N, width); by default :func:`text_embeddings`.

    Raises UserError for conditions that no strategy can meet, or if ``grpo`` itself cannot play.
    """
    if len(recording) < conditions.groups_per_step:
        raise UserError(f"a batch of {conditions.groups_per_step} groups needs as many questions; the table has {len(recording)}")
    if len(seeds) < FEWEST_SEEDS:
        raise UserError(f"{len(seeds)} seed shows no spread; play at least {FEWEST_SEEDS}")
    players = _with_references(players)
    embeddings = text_embeddings(recording) if embeddings is None else embeddings
    outcomes, left_out = _play_all(recording, players, conditions, seeds, embeddings, predictor, processes, progress)
    if BASELINE not in outcomes:
        raise UserError(f"uniform selection could not play: {dict(left_out).get(BASELINE)}")
    uniform = outcomes[BASELINE]
    bounds = {p.label for p in players if p.entry().uncharged_oracle}
    rows = [summarize(label, found, uniform, upper_bound=label in bounds) for label, found in outcomes.items()]
    return Leaderboard(ranked(rows), left_out)


def _with_references(players: Sequence[Player]) -> list[Player]:
    labels = {p.label for p in players}
    return [*(Player(name, name) for name in (BASELINE, UPPER_BOUND) if name not in labels), *players]


def _play_all(
    recording: Recording,
    players: Sequence[Player],
    conditions: Conditions,
    seeds: Sequence[int],
    embeddings: FloatArray,
    predictor: Path | None,
    processes: int | None,
    progress: Progress,
) -> tuple[dict[str, list[Outcome]], list[tuple[str, str]]]:
    workers = processes or (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1)
    shared = (recording, conditions, embeddings, str(predictor) if predictor is not None else None)
    tasks = [(player, seed) for player in players for seed in seeds]
    results: dict[tuple[str, int], Outcome | str] = {}
    context = multiprocessing.get_context("spawn")  # threads of numpy do not survive a fork in every environment
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_receive, initargs=shared) as pool:
        futures = {pool.submit(_play_one, player, seed): (player.label, seed) for player, seed in tasks}
        for done, future in enumerate(as_completed(futures), 1):
            results[futures[future]] = future.result()
            progress("rehearsing", done, len(tasks))
    outcomes: dict[str, list[Outcome]] = {}
    left_out: list[tuple[str, str]] = []
    for player in players:
        found = [results[player.label, seed] for seed in seeds]
        reasons = [f for f in found if isinstance(f, str)]
        if reasons:
            left_out.append((player.label, reasons[0]))
        else:
            outcomes[player.label] = [f for f in found if isinstance(f, Outcome)]
    return outcomes, left_out


_shared: tuple[Recording, Conditions, FloatArray, str | None] | None = None


def _receive(recording: Recording, conditions: Conditions, embeddings: FloatArray, predictor: str | None) -> None:
    global _shared
    _shared = (recording, conditions, embeddings, predictor)


def _play_one(player: Player, seed: int) -> Outcome | str:
    """The outcome, or why this strategy cannot play here."""
    assert _shared is not None
    recording, conditions, embeddings, predictor = _shared
    try:
        entry = player.entry()
        if "predictor" in entry.requires and predictor is None and not player.config.get("predictor"):
            return "it needs a trained predictor: make one with 'halfway predictor train' and give its folder with --predictor"
        return play(recording, entry.build(player.config), seed, conditions, embeddings, predictor)
    except UserError as error:
        return str(error)
