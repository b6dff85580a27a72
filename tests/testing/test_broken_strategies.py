"""`halfway check`: each promise catches a strategy made to break it, says what is wrong and where, and what to do."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

import harness.testing.promises
from harness.registry import RegistryError, strategy_entry
from harness.testing.strategy_contract import PROMISES, check_strategy
from tests.testing import broken_strategies

BROKEN = [
    ("Greedy", "legal selections", "selected 17 questions where 16 were asked for"),
    ("Probing", "legal selections", "rolled out probes without declaring requires = {'probe'}"),
    ("Undeclared", "legal selections", "replays rollouts without requires = {'behaviour_log_probs'}"),
    ("Doubling", "legal selections", "into the batch twice; draw without replacement"),
    ("Listing", "legal selections", "select() returned a list where a Selection is wanted: return Selection(question_ids)"),
    ("Returnless", "legal selections", "replay() returned None (is a return missing?) where prompt groups are wanted"),
    ("Demanding", "small pool", "larger sample than population"),
    ("Endless", "degenerate pool", "more than 20,000 rollouts in one step"),
    ("GlobalRandom", "deterministic under the seed", "draw from ctx.rng"),
    ("SeededAlike", "deterministic under the seed", "the global generator of random was used or seeded"),
    ("SeededNumpy", "deterministic under the seed", "the global generator of numpy was used or seeded"),
    ("Forgetful", "state round trip", "load_state_dict() does not take back 'drawn', which state_dict() saved"),
    ("Unsaved", "kill and resume", "state_dict() forgets Unsaved._drawn; save it there"),
    ("Overwriting", "rollouts untouched", "the behaviour_log_probs of a stored rollout of question"),
    ("Reading", "no evaluation data", "it opened /etc/hosts"),
    ("Cribbing", "no evaluation data", "must not read the gold answer of a question"),
    ("Unmetered", "budget honesty", "the engine generated 544 rollouts, the ledger has 512"),
    ("Tampering", "switched-off identity", "observing changed what was observed"),
    ("Unpicklable", "picklable", "raised"),
    ("Hungry", "cost per step", "84 rollouts from 10⁴ questions and 2064 from 10⁶"),
    ("Sleeping", "cost per step", "s outside the engine; at most 0.25 s"),
]


@pytest.fixture
def smaller_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cost per step is tried at a tenth of the sizes, which still grow a hundredfold."""
    monkeypatch.setattr(harness.testing.promises, "LARGE_POOLS", (1_000, 100_000))


def broken_promise(name: str, promise: str) -> str:
    """The message of a promise that a strategy of ``broken_strategies`` breaks."""
    (result,) = check_strategy(name.lower(), plugins=[f"{broken_strategies.__name__}:{name}"], only=[promise])
    assert not result.passed
    return result.message


@pytest.mark.parametrize(("name", "promise", "words"), BROKEN)
def test_a_broken_strategy_is_caught(name: str, promise: str, words: str, smaller_pools: None) -> None:
    """Each promise is broken by a strategy made to break it, and says how."""
    assert words in broken_promise(name, promise)


def test_every_promise_has_a_strategy_that_breaks_it() -> None:
    """A new promise needs one, too."""
    assert {promise for _, promise, _ in BROKEN} == set(PROMISES)


@pytest.mark.parametrize(
    ("name", "promise", "method"),
    [
        ("SeededAlike", "deterministic under the seed", "SeededAlike.select"),
        ("Unsaved", "kill and resume", "Unsaved.state_dict"),
        ("Forgetful", "state round trip", "Forgetful.load_state_dict"),
        ("Tampering", "switched-off identity", "Tampering.observe"),
        ("Crashing", "legal selections", "_share"),
    ],
)
def test_the_message_names_file_and_line(name: str, promise: str, method: str, smaller_pools: None) -> None:
    """Of the method that is to blame, or of the line that raised an error: inside the strategy's own file."""
    message = broken_promise(name, promise)
    owner = getattr(broken_strategies, name)
    lines, first = inspect.getsourcelines(getattr(owner, method.rpartition(".")[2]))
    place = message[message.rindex("[") + 1 : -1]
    file, _, rest = place.partition(":")
    line, _, where = rest.partition(" ")
    assert file == inspect.getsourcefile(owner)
    assert first <= int(line) < first + len(lines)
    assert where == f"({method})"


def test_a_syntax_error_in_a_plugin_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, line and what is wrong there, instead of a traceback."""
    (tmp_path / "mistyped.py").write_text("class Mine(:\n    pass\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RegistryError, match=r"cannot import 'mistyped:Mine': .*mistyped\.py, line 1: invalid syntax"):
        strategy_entry("mine", ["mistyped:Mine"])
