"""Rehearsals: the numbers of a batch by hand, known answers on a real run, and the command with its files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from harness.errors import UserError
from harness.records.ledger import LEDGER_NAME, LedgerWriter
from harness.records.ledger_records import start_of
from harness.registry import strategy_entry
from harness.rehearsal.from_runs import table_from_runs
from harness.rehearsal.leaderboard import Player, hold
from harness.rehearsal.play import Conditions, play
from harness.rehearsal.recording import Recording, read_recording
from harness.rehearsal.summary import Estimate
from harness.spec import CombinationSpec, ModelSpec, RunSpec, StrategySpec, TaskSpec
from harness.strategy import Composition, Selector, StepContext, StrategyConfig
from harness.types import Costs, Selection, StepRecord

REAL = "dsr1209_training_pass_rates.parquet"


def made_up(rates: Any, **facts: Any) -> Recording:
    rates = np.asarray(rates, dtype=np.float64)
    count = rates.shape[1]
    questions = tuple(f"question {i}" for i in range(len(rates)))
    return Recording(questions, rates, tuple(f"step {i}" for i in range(count)), (8,) * count, **{"trajectory": True, **facts})


def outcome(recording: Recording, name: str = "grpo", seed: int = 1, **conditions: Any) -> Any:
    return play(recording, strategy_entry(name).build({}), seed, Conditions(**conditions), np.zeros((len(recording), 2)))


def test_uniform_selection_by_hand() -> None:
    """Two of four questions are half right, two hopeless: every batch of all four is half informative, with variance (¼ + ¼ + 0 + 0)/4."""
    recording = made_up([[0.5, 0.5], [0.5, 0.5], [0.0, 0.0], [0.0, 0.0]])
    found = outcome(recording, steps=4, groups_per_step=4, draws="recorded")
    assert found.columns["informative"].tolist() == [0.5] * 4
    assert found.columns["variance"].tolist() == [0.125] * 4
    assert found.columns["fresh_rollouts"].tolist() == [32.0] * 4
    assert found.columns["coverage"].tolist() == [1.0] * 4
    assert found.wasted == 2.0  # 32 rollouts generated, 16 of them in informative groups
    assert found.concentration == 1.0  # four questions, all among the 50 most drawn


def test_the_policy_moves_through_the_trajectory() -> None:
    """Half of the steps see the first evaluation, half the second: solved by nobody, then mixed."""
    recording = made_up(np.column_stack([np.zeros(8), np.full(8, 0.5)]))
    found = outcome(recording, steps=6, groups_per_step=4, draws="recorded")
    assert found.columns["informative"].tolist() == [0, 0, 0, 1, 1, 1]


def test_unrelated_policies_take_turns_over_seeds() -> None:
    """Seed s plays policy s mod T for all of its steps."""
    recording = made_up(np.column_stack([np.zeros(8), np.full(8, 0.5)]), trajectory=False)
    shares = [outcome(recording, seed=s, steps=3, groups_per_step=4, draws="recorded").columns["informative"].mean() for s in (1, 2, 3)]
    assert shares == [1.0, 0.0, 1.0]


def test_filtering_and_replay_are_on_the_ledger() -> None:
    """Dynamic sampling pays for what it throws away, replay for nothing."""
    recording = made_up(np.tile(np.array([[0.5], [0.0], [1.0], [0.5]] * 16), (1, 2)))
    filtering = outcome(recording, "dapo", steps=5, groups_per_step=8)
    assert filtering.columns["informative"].mean() > 0.95
    assert filtering.columns["filtered_rollouts"].sum() > 0
    replaying = outcome(recording, "rr", steps=12, groups_per_step=8)
    assert replaying.columns["replayed_rollouts"].sum() > 0
    assert replaying.columns["fresh_rollouts"].sum() < 12 * 64


def test_same_seed_same_outcome() -> None:
    """A rehearsal is a function of table, strategy, conditions and seed."""
    recording = made_up(np.random.default_rng(0).random((32, 3)))
    first, second, other = (outcome(recording, "mopps", seed=s, steps=8, groups_per_step=8) for s in (1, 1, 2))
    assert first.columns["informative"].tolist() == second.columns["informative"].tolist()
    assert first.columns["informative"].tolist() != other.columns["informative"].tolist()


def test_recorded_draws_cannot_be_larger_than_what_was_recorded() -> None:
    """Sixteen rollouts out of eight recorded ones would be invented."""
    with pytest.raises(UserError, match="a group of 16 rollouts was asked for, but 8 were recorded"):
        outcome(made_up(np.full((8, 2), 0.5)), steps=1, groups_per_step=4, group_size=16, draws="recorded")


def test_intervals_by_hand() -> None:
    """Mean 2, deviation 1, three seeds: 2 ± 4.303/√3."""
    found = Estimate.of([1.0, 2.0, 3.0, float("nan")])
    assert (found.mean, found.n) == (2.0, 3)
    assert found.high - found.mean == pytest.approx(4.3027 / 3**0.5, abs=1e-3)
    assert Estimate.of([float("nan")]).n == 0


def test_who_cannot_play_is_named_with_the_reason() -> None:
    """A predictor that is missing or a label that the table lacks leaves a strategy out; the others play."""
    recording = made_up(np.random.default_rng(0).random((64, 3)))
    players = [Player("dots", "dots"), Player("sec", "sec"), Player("rr", "rr")]
    board = hold(recording, players, Conditions(steps=2, groups_per_step=8), seeds=[1, 2], processes=1)
    assert {row.label for row in board.rows} == {"grpo", "oracle", "rr"}
    reasons = dict(board.left_out)
    assert "needs a trained predictor" in reasons["dots"]
    assert "metadata" in reasons["sec"]
    assert next(row for row in board.rows if row.label == "grpo").estimates["gain"].mean == 0.0


class FullPast(Selector[StrategyConfig]):
    """Every question's own recorded past, as if all of it had been observed: the ceiling of using history."""

    name = "full-past"
    Config = StrategyConfig
    recording: Recording

    def select(self, num_groups: int, ctx: StepContext) -> Selection:
        past = self.recording.rates[:, : max(1, ctx.step - 1)].mean(axis=1)
        return Selection(np.argsort(np.abs(past - 0.5), kind="stable")[:num_groups])


@pytest.mark.slow
def test_known_answers_on_a_real_run(real_data: Path) -> None:
    """Uniform selection falls from .56 to .50 informative; the average of a question's past, fully covered, reaches .945."""
    recording = read_recording(real_data / REAL, drop_repeated=True)
    assert len(recording) == 1207
    informative = (recording.rates > 0) & (recording.rates < 1)
    assert informative[:, 0].mean() == pytest.approx(0.56, abs=0.005)
    assert informative[:, -5:].mean() == pytest.approx(0.50, abs=0.005)
    conditions = {"steps": 44, "groups_per_step": 256, "draws": "recorded"}
    uniform = outcome(recording, **conditions).columns["informative"]
    assert uniform[:5].mean() == pytest.approx(0.55, abs=0.03)
    assert uniform[-5:].mean() == pytest.approx(0.50, abs=0.03)
    FullPast.recording = recording
    strategy = strategy_entry("grpo").build({})
    strategy.selector = FullPast(StrategyConfig())
    found = play(recording, strategy, 1, Conditions(**conditions), np.zeros((len(recording), 2)))
    assert found.columns["informative"][1:].mean() == pytest.approx(0.945, abs=0.002)
    assert Composition(FullPast).selector is FullPast


def write_ledger(folder: Path, steps: list[tuple[list[int], list[float]]], name: str = "grpo") -> None:
    """A ledger whose step records hold these questions and pass rates."""
    task = TaskSpec(name="spell-backward", config={"train": 32, "test": 16, "validation": 8, "adapter": 8})
    spec = RunSpec(
        suite="own", combination=CombinationSpec(name="words", backend="trl", model=ModelSpec(name="m"), task=task),
        strategy=StrategySpec(label=name, name=name, version="1"), seed=1,
    )  # fmt: skip
    folder.mkdir(parents=True)
    ledger = LedgerWriter(folder / LEDGER_NAME)
    ledger.write(start_of(spec))
    for number, (ids, rates) in enumerate(steps, 1):
        record = StepRecord(
            step=number, question_ids=ids, pass_rates=rates, replayed_question_ids=[], staleness=[], non_degenerate_share=1.0,
            dropped_groups=0, updates=1, seconds=1.0, phases={}, costs=Costs(training_steps=number), loss=0.0, mean_reward=0.5,
            mean_completion_tokens=1.0,
        )  # fmt: skip
        ledger.write(record)
    ledger.close()


@pytest.mark.slow
def test_a_recording_from_ones_own_run(tmp_path: Path) -> None:
    """The v-th visit of a question is its v-th evaluation; questions with fewer visits than most are left out."""
    steps = [([0, 1], [0.0, 0.25]), ([2, 3], [1.0, 0.5]), ([0, 1], [0.5, 0.75]), ([2], [0.875]), ([4], [0.5])]
    write_ledger(tmp_path / "runs" / "own" / "a", steps)
    frame = table_from_runs(tmp_path / "runs")
    assert frame[["epoch_1", "epoch_2"]].to_numpy().tolist() == [[0.0, 0.5], [0.25, 0.75], [1.0, 0.875]]
    assert frame["question"].str.endswith("=").all()


def test_a_run_that_cannot_be_a_recording(tmp_path: Path) -> None:
    """Another selector records a biased set of questions; one visit is no trajectory; two runs are one too many."""
    write_ledger(tmp_path / "selected" / "a", [([0, 1], [0.5, 0.5])] * 3, name="dots")
    with pytest.raises(UserError, match=r"has no run of grpo .* it holds dots/1"):
        table_from_runs(tmp_path / "selected")
    write_ledger(tmp_path / "short" / "a", [([0, 1], [0.5, 0.5]), ([2, 3], [0.5, 0.5])])
    with pytest.raises(UserError, match="half of the 4 questions were visited fewer than 2 times in 2 steps"):
        table_from_runs(tmp_path / "short")
    write_ledger(tmp_path / "short" / "b", [([0, 1], [0.5, 0.5])])
    with pytest.raises(UserError, match="has 2 runs of grpo"):
        table_from_runs(tmp_path / "short")


def halfway(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "harness.cli", "rehearse", *map(str, words)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    rates = np.random.default_rng(3).random((40, 4)).round(3)
    frame = pd.DataFrame({"question": [f"what is {i} + 1?" for i in range(40)], **{f"epoch_{t}": rates[:, t] for t in range(4)}})
    frame.to_csv(tmp_path / "small.csv", index=False)
    return tmp_path


@pytest.mark.slow
def test_the_command_and_its_files(small: Path) -> None:
    """A table on the terminal that says what it is not, CSV, figures, JSON, and a document whose section is replaced."""
    (small / "page.md").write_text("# Before\n<!-- rehearsal small -->\nold\n<!-- end of rehearsal small -->\nafter\n")
    words = ["small.csv", "mopps", "--seeds", "2", "--steps", "3", "--groups", "8", "-o", "out", "--into", "page.md"]
    done = halfway(*words, folder=small)
    assert done.returncode == 0, done.stderr
    assert "does not react to the selection" in done.stdout
    assert "oracle *" in done.stdout
    rows = pd.read_csv(small / "out" / "rehearsal.csv")
    assert set(rows["strategy"]) == {"grpo", "oracle", "mopps"}
    assert (small / "out" / "rehearsal.png").read_bytes()[:4] == b"\x89PNG"
    page = (small / "page.md").read_text()
    assert page.startswith("# Before")
    assert page.endswith("after\n")
    assert "old" not in page
    assert "| `mopps` |" in page
    data = json.loads(halfway(*words[:8], "--json", folder=small).stdout)
    assert data["questions"] == 40
    assert {row["strategy"] for row in data["strategies"]} == {"grpo", "oracle", "mopps"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.csv"], "there is no file none.csv"),
        (["small.csv", "mops"], "unknown strategy 'mops'; did you mean 'mopps'"),
        (["small.csv", "--draws", "real"], "--draws real: write binomial or recorded"),
        (["small.csv", "--groups", "64"], "a batch of 64 groups needs as many questions; the table has 40"),
        (["small.csv", "grpo", "--seeds", "2", "--steps", "1", "--groups", "8", "--into", "small.csv"], "has no place for this table"),
    ],
)
def test_bad_input_is_one_sentence(small: Path, words: list[str], message: str) -> None:
    """Exit code 2, one line, no traceback."""
    done = halfway(*words, folder=small)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert message in done.stderr


def test_a_predictor_meets_the_embeddings_it_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``--predictor`` embeds the table's questions with the predictor's own embedder, not with features fitted to the table."""
    from harness.cli.rehearse import rehearse
    from harness.predictor.lab import embedders
    from harness.rehearsal import leaderboard

    pd.DataFrame({"question": ["a", "b"], "step_1": [0.5, 0.5], "step_2": [0.5, 1.0]}).to_csv(tmp_path / "table.csv", index=False)
    own, asked, given = np.ones((2, 3)), [], {}
    monkeypatch.setattr(embedders, "embedder_of", lambda folder: folder)
    monkeypatch.setattr(embedders, "embed_cached", lambda embedder, texts, cache: asked.append((embedder, list(texts))) or own)

    def stop(*_: Any, **kwargs: Any) -> None:
        given.update(kwargs)
        raise UserError("seen")

    monkeypatch.setattr(leaderboard, "hold", stop)
    with pytest.raises(UserError, match="seen"):
        rehearse(tmp_path / "table.csv", ["grpo"], predictor=tmp_path / "mine")
    assert given["embeddings"] is own
    assert asked == [(tmp_path / "mine", ["a", "b"])]
