"""What a command may spend: read from the command line, counted, and kept at checkpoints."""

from __future__ import annotations

import pytest
from toy_place import SUITE, ToyPlace, fork_attempt, new_run, what_counts

from harness.display.durations import duration
from harness.errors import UserError
from harness.records.ledger import read_ledger
from harness.records.ledger_records import Attempt, Checkpoint
from harness.runner.command_budget import Allowance, Spending
from harness.types import Costs, StepRecord
from tests import made_records
from tests.edits import edited

LONGER = edited(SUITE, {"max_steps = 8": "max_steps = 12"})
STEP_TOKENS = 24  # 6 groups of 4 rollouts of one token


@pytest.mark.parametrize(
    ("words", "allowance"),
    [
        ([], Allowance()),
        (["90min"], Allowance(seconds=5400)),
        (["90m"], Allowance(seconds=5400)),
        (["1.5h", "20Mtokens"], Allowance(5400, 20_000_000)),
        (["2d"], Allowance(seconds=172800)),
        (["45s"], Allowance(seconds=45)),
        (["500 tokens"], Allowance(tokens=500)),
        (["1.5ktokens"], Allowance(tokens=1500)),
    ],
)
def test_amounts(words: list[str], allowance: Allowance) -> None:
    """Times and tokens as people write them."""
    assert Allowance.parse(words) == allowance


@pytest.mark.parametrize(
    "words", [["2"], ["h"], ["2 hours"], ["-1h"], ["0h"], ["nan h"], ["1h", "2h"], ["1ktokens", "2ktokens"], ["1e3s"], [""]]
)
def test_other_amounts_are_refused(words: list[str]) -> None:
    """Anything else, zero and a second limit of one kind are refused with examples."""
    with pytest.raises(UserError, match="write a time"):
        Allowance.parse(words)


def test_durations() -> None:
    """Short for people."""
    assert [duration(s) for s in (0.4, 89, 90, 5000, 5400, 86400, 200000)] == ["0 s", "89 s", "2 min", "83 min", "1.5 h", "24.0 h", "2.3 d"]


def step(number: int, tokens: int) -> StepRecord:
    return made_records.step(number, Costs(generated_tokens=tokens))


def test_tokens_are_those_of_this_command() -> None:
    """Steps done again after a crash are paid again; what an earlier command generated is not; runs add up."""
    spending = Spending(Allowance(tokens=100))
    for record in (Attempt(1, {}, 0), step(1, 10), step(2, 20), step(3, 30)):
        spending.record("a", record)
    assert spending.tokens == 30
    for record in (Attempt(1, {}, 2), step(3, 30), Checkpoint(3), step(4, 40)):
        spending.record("a", record)
    assert spending.tokens == 50  # step 3 twice, and step 4
    for record in (Attempt(1, {}, 7), step(8, 1000), step(9, 1049)):
        spending.record("b", record)
    assert spending.tokens == 99
    assert spending.spent() is None
    spending.record("b", step(10, 1050))
    assert spending.spent() == "the budget of 100 tokens is spent"


def test_time_is_that_of_this_command() -> None:
    """From its start, on a monotonic clock."""
    now = [50.0]
    spending = Spending(Allowance(seconds=7200), now=lambda: now[0])
    now[0] += 7199
    assert spending.spent() is None
    now[0] += 1
    assert spending.spent() == "the budget of 2.0 h is spent"


def test_a_spent_budget_stops_at_checkpoints(place: ToyPlace) -> None:
    """No further run starts, the one that is going ends at its next checkpoint; exit code 3; nothing is lost by going on."""
    place.write(LONGER)
    first = place.halfway("run", "toy.toml", "--max-parallel", "1", "--budget", f"{3 * STEP_TOKENS + 1}tokens", TOY_STEP_SECONDS="0.3")
    assert first.returncode == 3, first.stderr
    assert "the budget of 73 tokens is spent; 1 runs end at their next checkpoints" in first.stderr
    assert "the budget of 73 tokens is spent; 'halfway run toy.toml --max-parallel 1' goes on from the last checkpoints" in first.stderr
    assert place.states() == {"grpo/1": "interrupted", "grpo-fast/1": "pending"}
    run = place.folders()["grpo/1"]
    log = read_ledger(run / "ledger.jsonl")
    assert log.steps[-1].step in (6, 9)
    assert (run / "checkpoints" / f"step-{log.steps[-1].step}").is_dir()
    assert not (run / "stop").exists()
    assert place.run()[0].exit_code == 0
    log = read_ledger(run / "ledger.jsonl")
    assert (log.lost_seconds, len(log.attempts)) == (0, 2)
    calm = new_run(place.folder / "calm", LONGER)
    assert fork_attempt(calm) == 0
    assert what_counts(run) == what_counts(calm)


def test_a_budget_that_suffices_is_not_mentioned(place: ToyPlace) -> None:
    """Exit code 0, and no word about it."""
    done = place.halfway("run", "toy.toml", "--only", "strategy=grpo", "--budget", "1h", "--budget", "1Gtokens")
    assert done.returncode == 0
    assert "budget" not in done.stderr
