"""The reward ``number``: which number of a completion counts, and when two are equal."""

from __future__ import annotations

from fractions import Fraction

import pytest

from harness.reward.last_number import last_number, number_value
from harness.reward.service import RewardService
from harness.reward.spec import RewardSpec


@pytest.mark.parametrize(
    ("completion", "number"),
    [
        ("5 apples and 7 pears make 12.", Fraction(12)),
        ("x = -5", Fraction(-5)),
        ("x = \u22125", Fraction(-5)),
        ("10-5", Fraction(5)),  # a minus after a digit is no sign
        ("- 12", Fraction(12)),  # a bullet is none either
        ("it costs $1,234.50", Fraction(2469, 2)),
        ("3/4 of it", Fraction(3, 4)),
        ("7.5e-1", Fraction(3, 4)),
        ("<think>9</think> none", None),
        ("8 <think>9</think> 10", Fraction(10)),
        ("1/0", None),
        ("9" * 200, None),
        ("1e999999999", None),
        ("no idea", None),
        ("", None),
    ],
)
def test_the_last_number_of_a_completion(completion: str, number: Fraction | None) -> None:
    """Exactly, as a rational."""
    assert last_number(completion) == number


def test_a_gold_answer_is_one_number_and_nothing_else() -> None:
    """A currency or per cent sign aside."""
    assert [number_value(text) for text in ("$1,234", "50 %", " -3/4 ", "about 5", "x", "1 2")] == [
        1234,
        50,
        Fraction(-3, 4),
        None,
        None,
        12,
    ]


def test_the_service_decides_it_without_a_process() -> None:
    """Equal numbers in other spellings score 1; a gold answer that is no number has no right answers."""
    with RewardService(RewardSpec("number")) as service:
        service.start()
        items = [("so 0.75", "3/4", {}), ("so 0.8", "3/4", {}), ("so 1,000", "1000.0", {}), ("7", "seven", {}), ("", "0", {})]
        assert service.score(items).tolist() == [1.0, 0.0, 1.0, 0.0, 0.0]
        assert not service._pool._workers
