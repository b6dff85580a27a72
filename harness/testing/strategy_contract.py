"""The contract every strategy keeps, as a product: ``halfway check NAME`` and, in a plugin's own tests,

    from harness.testing import check_strategy

    def test_contract():
        broken = [p for p in check_strategy("my-strategy", plugins=["my_package:MyStrategy"]) if not p.passed]
        assert not broken, broken

Each promise drives the strategy through the real step driver against a simulated policy, and says what it found and where.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.registry import strategy_entry
from harness.testing import promises, state_promises
from harness.testing.simulation import untrained_predictor
from harness.testing.subject import ContractBroken, Promise, Subject, place_of_error, place_of_method

PROMISES: dict[str, Callable[[Subject], str]] = {
    "legal selections": promises.legal_selections,
    "small pool": promises.small_pool,
    "degenerate pool": promises.degenerate_pool,
    "deterministic under the seed": promises.deterministic,
    "state round trip": state_promises.state_round_trip,
    "kill and resume": state_promises.kill_and_resume,
    "rollouts untouched": promises.rollouts_untouched,
    "no evaluation data": promises.no_evaluation_data,
    "budget honesty": promises.budget_honest,
    "switched-off identity": promises.switched_off_identity,
    "picklable": state_promises.picklable,
    "cost per step": promises.cost_per_step,
}


def check_strategy(
    name: str, plugins: Sequence[str] = (), config: Mapping[str, Any] | None = None, only: Sequence[str] | None = None
) -> list[Promise]:
    """Every promise of the contract (or ``only`` these), tried on strategy ``name`` with ``config`` (defaults where left out).

    An exception of the strategy breaks the promise that was being tried; it never stops the others.
    """
    entry = strategy_entry(name, plugins)
    with tempfile.TemporaryDirectory() as scratch:
        needs_predictor = "predictor" in entry.requires
        predictor = untrained_predictor(Path(scratch) / "predictor") if needs_predictor else None
        subject = Subject(entry, config or {}, predictor)
        return [_try(title, promise, subject) for title, promise in PROMISES.items() if only is None or title in only]


def _try(title: str, promise: Callable[[Subject], str], subject: Subject) -> Promise:
    try:
        return Promise(title, True, promise(subject))
    except ContractBroken as error:
        return Promise(title, False, _with_place(str(error), place_of_method(subject, error.method) if error.method else ""))
    except Exception as error:
        return Promise(title, False, _with_place(f"raised {type(error).__name__}: {error}", place_of_error(error, subject)))


def _with_place(message: str, place: str) -> str:
    return f"{message} [{place}]" if place else message
