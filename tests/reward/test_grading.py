"""Answers are read as a whole: one table of examples per kind, and what must hold for any answer."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from harness.reward.grading.choices import same_choice
from harness.reward.grading.compare import same_answer
from harness.reward.grading.evaluate import Undefined, ratio, value
from harness.reward.grading.expressions import parse
from harness.reward.grading.kinds import Listing, Opaque, Value
from harness.reward.grading.reader import readings
from harness.reward.grading.text import normalise
from harness.reward.grading.tokens import tokenise
from harness.reward.grading.units import parse_unit

PAIRS = json.loads(Path(__file__).with_name("pairs.json").read_text(encoding="utf-8"))
GOLDS = sorted({pair["gold"] for pair in PAIRS if pair["gold"]})

SAME = [
    # numbers
    ("0.5", r"\frac12"), ("1.5e-3", "0.0015"), (r"2\frac13", "7/3"), (r"0.1\overline{6}", r"\frac16"), ("1,234", "1234"),
    (r"\frac{2^{100}}{2^{98}}", "4"), (r"\sqrt{12}", r"2\sqrt3"), ("0.3333333333333333", r"\frac13"), (r"\sqrt[3]{-8}", "-2"),
    # formulas
    ("(x+1)^2", "x^2+2x+1"), (r"\sin^2 x", r"1-\cos^2x"), (r"\log_2 8", "3"), (r"\log 100", "2"), (r"\ln 8", r"3\ln 2"), ("2e-3", "-3+2e"),
    # units, percent, money
    (r"12\text{ cm}^2", "12"), (r"150\text{ min}", r"2\text{ hours } 30 \text{ minutes}"), (r"56\text{ cents}", r"\$0.56"), ("50", r"50\%"),
    ("0.5", r"50\%"), (r"45^\circ", r"\frac{\pi}{4}"), (r"72 \text{ km/h}", r"20 \text{ m/s}"), (r"3\text{ million}", "3000000"),
    # times, ratios, bases, congruences
    (r"9\text{:}30", "9:30"), ("4:6", r"\frac23"), ("52_{8}", r"52_{\text{eight}}"), (r"10 \pmod 7", r"x \equiv 3 \pmod{7}"),
    # lists, sets, vectors
    (r"2 \text{ or } -2", r"\pm 2"), (r"\{3,1,2\}", "1, 2, 3"), (r"y=7, x=5", "x=5, y=7"), (r"\langle 1,2\rangle", "(1,2)"),
    (r"2\mathbf{i}-\mathbf{j}", "(2,-1)"), (r"\begin{bmatrix}1\\2\end{bmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    # relations
    ("2<x<5", "(2,5)"), ("]1,2[", "(1,2)"), (r"x\ne 1", r"\mathbb{R}\setminus\{1\}"), ("2x-y+5=0", "y=2x+5"), ("a+b=7", "7"),
    ("2x>6", "x>3"),
    (r"\frac{\pi}{4}+n\pi", r"\frac{5\pi}{4}+k\pi"), (r"\cos n\pi", "(-1)^n"),
    # characters and words
    ("2√3", r"2\sqrt{3}"), ("½", "0.5"), ("x²", "x^2"), ("−5", "-5"), ("٥", "5"), (r"\text{the answer is } 7", "7"),
    (r"\text{Yes.}", "yes"),
]  # fmt: skip
DIFFERENT = [
    ("0.0", r"6.67\times 10^{-11}"), (r"\frac{1}{2^{70}}", r"\frac{1}{2^{71}}"), ("2022!+1", "2022!"), ("3.14", r"\pi"), ("1.0000001", "1"),
    ("0.333333", r"\frac13"), ("10,000", "10"), (r"1\frac12", r"\frac12"), ("1.08", "1.5e-3"),
    ("|x|", "x"), ("|x-10|<2", "x>8"), (r"5 \text{ tenths}", "5"), (r"x \text{ squared}", "x"),
    (r"10 \text{ minus } 3", "10"), ("(-1)^n", "1"), (r"\sqrt{x^2}", "x"), ("2n+1", "2m+1"), (r"\log 9", "2"),
    (r"12\text{ cm}", r"12\text{ m}"), ("30", r"6\text{ hours } 30\text{ minutes}"), (r"0.5\%", r"50\%"), (r"56\text{ cents}", r"\$56"),
    (r"5 \text{ (or 6)}", "5"), (r"\text{more than } 5", "5"), (r"2 \text{ apples and } 3 \text{ pears}", "2"),
    ("1:00", "12:00"), ("528", "52_8"), ("3", r"x \equiv 3 \pmod 7"), (r"3 \pmod 8", r"3 \pmod 7"), ("2:3:4", "2:3:5"),
    ("2, 3", "2"), (r"\{1,2,3,\ldots\}", r"\{1,2,3\}"), ("a=2, b=1", "a=1, b=2"), ("(1,2)", "(2,1)"), (r"\begin{pmatrix}1&2\end{pmatrix}",
    r"\begin{pmatrix}1\\2\end{pmatrix}"), ("12,345", "(12,345)"), ("10,00", "10,000"), ("I(0)q", "I(0)t"), ("5:0", "5:00"),
    ("6:3", "6:03"), ("a=2, r=3", "a=2, a=3"), (r"\{\emptyset\}", r"\emptyset"), ("0", r"\emptyset"),
    ("1", "x^2+y^2=1"), ("0", "3x+4y-7=0"), ("x>3", "3"), ("(2,5)", r"2\le x<5"), (r"x<1 \text{ and } x>3", r"x<1 \text{ or } x>3"),
    ("3", "n=3k"),
    (r"x=1 \quad y=2", "2"), (r"7 \quad 8", "7"), (r"5\\6", "56"), ("x²", "x2"), (r"\text{no}", r"\text{yes}"), ("ab", "AB"), ("", ""),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "gold"), SAME)
def test_the_same(answer: str, gold: str) -> None:
    """Equal in mathematics, however it is written."""
    assert same_answer(answer, gold)


@pytest.mark.parametrize(("answer", "gold"), DIFFERENT)
def test_not_the_same(answer: str, gold: str) -> None:
    """Nothing that an answer says is dropped."""
    assert not same_answer(answer, gold)


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("B", "B", True), (r"\text{(B)}", "B", True), (r"\textbf{(B)}\ 12", "B", True), ("B. helium", r"\text{(B)}", True),
        ("C", "B", False),
        ("B. It is not C", "B", True), ("D. none of A, B, C", "D", True), ("A. a dog", "A", True), ("B. 12, C. 13", "B", False),
        ("B or C", "B", False), ("A.B", "A", False), ("2B", "B", None), ("12", "B", None), ("A dog", "A", None),
        ("B. helium", "B. helium", None),
        ("option (C)", "C", True), ("B + 2", "B", None), ("B = 2", "B", None),
        ("(C)", r"\text{(C)}", True), ("BC", "B", None), ("B", "3", None), ("K", "K", None),
    ],
)  # fmt: skip
def test_choices(answer: str, gold: str, verdict: bool | None) -> None:
    """A letter counts for a gold that is a letter alone, and not beside a second one that is chosen too."""
    assert same_choice(answer, gold) is verdict


def test_one_spelling() -> None:
    """Unicode, spacing, fonts and synonyms by hand."""
    assert normalise("2√3 × 10⁻³") == r"2\sqrt{3} * 10^{-3}"
    assert normalise(r"\left(\dfrac12,\,½\right).") == r"(\frac 12, \frac {1}{2})"
    assert normalise(r"11,\! 111{,}100 \le x") == r"11,111,100 \le x"


def test_what_is_read() -> None:
    """Kinds by hand; a thousand or a list is left open, what has no reading keeps its spelling."""
    assert [type(r) for r in readings("100,200")] == [Value, Listing]
    assert [type(r) for r in readings(r"\frac12")] == [Value]
    assert readings(r"n \mid m") == (Opaque("n | m"),)


def test_exact_values() -> None:
    """Fractions stay exact; a pole, a missing letter and a tower of powers have no value."""
    assert value(parse(tokenise(r"\frac{3!}{4}+0.25"))) == 7 / 4
    assert ratio(parse(tokenise("4x-2y")), parse(tokenise("2x-y"))) == 2
    for text in (r"\frac{1}{0}", "x", "9^{9^{9^{9}}}", "999999999!!!!"):
        with pytest.raises(Undefined):
            value(parse(tokenise(normalise(text))))


def test_units_by_hand() -> None:
    """36 km/h is 10 m/s: scale 1000/3600, length per time; claims about a number are no unit."""
    unit = parse_unit(tokenise(normalise(r"\text{kilometers per hour}")))
    assert unit is not None
    assert (unit.scale * 36, unit.dimensions) == (10, (("length", 1), ("time", -1)))
    assert parse_unit(tokenise(normalise(r"\text{or more}"))) is None


@given(st.sampled_from(GOLDS), st.sampled_from([r"\,", r"\!", " ", "  ", "\n", r"\;"]), st.sampled_from([r"\,", r"\!", " ", ""]))
@settings(max_examples=300, deadline=None)
def test_a_gold_accepts_itself_with_any_space_around_it(gold: str, before: str, after: str) -> None:
    """Also in a ``\\displaystyle`` and with a full stop."""
    assert same_answer(f"{before}{gold}{after}", gold)
    assert same_answer(rf"\displaystyle {gold}.", gold)


@given(st.sampled_from(PAIRS), st.sampled_from(GOLDS))
@settings(max_examples=300, deadline=None)
def test_sameness_is_symmetric(pair: dict[str, str], other: str) -> None:
    """But for a named sum: ``a + b = 7`` answers 7."""
    for left, right in ((pair["gold"], other), (other, pair["gold"])):
        if not any(text.count("=") == 1 for text in (left, right)):
            assert same_answer(left, right) == same_answer(right, left)


_PIECES = st.sampled_from(
    [*"0123456789xyabei+-*/^_=<>()[]{}|,;:.!'%$& ", r"\frac", r"\sqrt", r"\pi", r"\text{", r"\{", r"\}", r"\pm", r"\cup",
     r"\in", r"\infty", r"\\",
     r"\begin{pmatrix}", r"\end{pmatrix}", r"\circ", r"\overline", r"\ldots", r"\pmod", r"\log", r"\binom", " or ", r"\$",
     r"\%", r"\text{cm}", "√",
     "½", "²", "\x00", "\ud800"]
)  # fmt: skip


@given(st.lists(_PIECES, max_size=30).map("".join), st.sampled_from(GOLDS))
@example("\\overline\ud800", "-1")
@settings(max_examples=600, deadline=None)
def test_any_text_gets_a_verdict(text: str, gold: str) -> None:
    """No text raises, and none is right for two golds that differ."""
    if same_answer(text, gold):
        assert not same_answer(text, "98765432101") or same_answer(gold, "98765432101")


@pytest.mark.timeout(100)
def test_random_text_is_no_answer() -> None:
    """2,000 random characters, as many as an answer may have, are read to an end; benchmarks/reward.py has the time."""
    rng = random.Random(3)
    pieces = [
        *"0123456789xye+-*/^_=<>()[]{}|,;:.!' ",
        r"\frac",
        r"\sqrt",
        r"\text{",
        r"\{",
        r"\pm",
        r"\cup",
        r"\begin{pmatrix}",
        r"\log",
        "1,000",
    ]
    for _ in range(20):
        assert not same_answer("".join(rng.choice(pieces) for _ in range(900))[:2_000], "12,345 or x^2=3")
