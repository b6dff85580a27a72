"""Plain numbers are compared without a parser, and never otherwise than the parser would."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from harness.reward.numbers import compare, exact_value
from harness.reward.scorers import build_scorer


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", Fraction(12)),
        ("-012", Fraction(-12)),
        ("+3/4", Fraction(3, 4)),
        (r"-\dfrac{6}{4}", Fraction(-3, 2)),
        (r"\frac{-6}{4}", Fraction(-3, 2)),
        (r"\tfrac12", Fraction(1, 2)),
        (r"\left(1,\, \frac12\right)", ("(", Fraction(1), Fraction(1, 2))),
        ("[ -1, 2 ]", ("[", Fraction(-1), Fraction(2))),
        ("(0, 1, 2)", ("(", Fraction(0), Fraction(1), Fraction(2))),
        ("1.5", None),
        ("1,234", None),
        ("(1,000)", None),
        ("1 000", None),
        (r"1\,000", None),
        ("1/0", None),
        ("(0, 1]", None),
        ("1, 2", None),
        (r"\{1,2\}", None),
        ("x", None),
        ("", None),
        ("(,)", None),
        ("1" * 31, None),
        ("(" + "1," * 1_000 + "1)", None),
        ("\u0663", Fraction(3)),  # Arabic-Indic three is a digit to Python
    ],
)
def test_what_is_read(text: str, value: object) -> None:
    """Integers, fractions and bracketed tuples of them; whatever may mean something else is left alone."""
    assert exact_value(text) == value


def test_only_values_of_one_kind_are_compared() -> None:
    """A number and a tuple, or other brackets, are for the parser."""
    assert compare("2/4", r"\frac12") == 1.0
    assert compare("2/4", "2") == 0.0
    assert compare("(1,2)", "(1, 4/2)") == 1.0
    assert compare("(2,1)", "(1,2)") == 0.0
    assert compare("(1,2)", "[1,2]") is None
    assert compare("(1,2)", "1") is None
    assert compare("0.5", "1/2") is None


@pytest.mark.slow
def test_never_otherwise_than_the_parser() -> None:
    """On 60 random pairs that are decided here, math-verify gives the same score."""
    scorer, rng = build_scorer("math-verify"), random.Random(4)

    def number() -> str:
        a, b = rng.randint(-12, 12), rng.randint(1, 6)
        forms = [
            str(a),
            f"+{abs(a)}",
            f"{a}/{b}",
            rf"\frac{{{a}}}{{{b}}}",
            rf"-\dfrac{{{abs(a)}}}{{{b}}}",
            rf"\frac{abs(a) % 10}{b}",
            f"0{abs(a)}",
        ]
        return rng.choice(forms)

    def answer() -> str:
        if rng.random() < 0.6:
            return number()
        left, right = rng.choice([("(", ")"), ("[", "]"), (r"\left(", r"\right)")])
        return left + rng.choice([",", ", "]).join(number() for _ in range(2)) + right

    decided = 0
    while decided < 60:
        gold = answer()
        given = (
            answer() if rng.random() < 0.4 else gold.replace("dfrac", "frac").replace(" ", "").replace(r"\left", "").replace(r"\right", "")
        )
        ours = compare(given, gold)
        if ours is not None:
            decided += 1
            assert scorer(rf"\boxed{{{given}}}", gold, {}) == ours, (given, gold)


@pytest.mark.timeout(30)
def test_long_strings_are_no_numbers() -> None:
    """No pattern here backtracks, so the nastiest strings end at once; benchmarks/reward.py has the time."""
    nasty = [
        "1" * 2_000,
        "(" * 2_000,
        "(" + "1," * 999,
        "1 " * 1_000,
        r"\frac{" * 300,
        "1/" * 1_000,
        "~" * 2_000 + "x",
        "(" + r"\," * 190 + ")",
    ]
    assert [exact_value(text) for text in nasty] == [None] * len(nasty)
