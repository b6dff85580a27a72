"""Finding the final answer is exact, bounded and cheap."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.reward.answers import MAX_ANSWER, TAIL, boxed, math_answer, tagged_answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{12}.", "12"),
        (r"first \boxed{1}, no: \boxed{ 2 }", "2"),
        (r"\boxed{\frac{1}{2}} is half", r"\frac{1}{2}"),
        (r"\boxed{\{1,2\}}", r"\{1,2\}"),
        (r"\fbox{7}", "7"),
        (r"\boxed{7} or \fbox{8}", "8"),
        (r"\boxed{18\ }", "18"),
        (r"\boxed{a \\}", r"a \\"),
        (r"\boxed {7}", "7"),
        (r"\boxed{x = \boxed{9}}", "9"),
        (r"\boxed{never closed", None),
        (r"\boxed{" + "1" * (MAX_ANSWER + 1) + "}", None),
        (r"\boxed{" + "1" * MAX_ANSWER + "}", "1" * MAX_ANSWER),
        ("no box", None),
        ("", None),
        (r"\boxed{ends in a backslash" + "\\", None),
    ],
)
def test_the_last_box_counts(text: str, answer: str | None) -> None:
    """Braces are matched, escaped ones are text, an unclosed or endless box is none."""
    assert boxed(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{4}", "4"),
        (r"\boxed 4", "4"),
        ("#### 1,250", "1,250"),
        ("Answer: $\\frac12$", r"\frac12"),
        ("so the answer is 12.", "12"),
        ("Final answer: **19**", "19"),
        (r"Hence the result is \(x+1\).", "x+1"),
        ("and so we find $x = 5$.", "x = 5"),
        ("We add. Therefore, x = 5.", "x = 5"),
        ("We add. So x = 5 and", None),
        ("42", "42"),
        ("so x = 5 and then", None),
        ("so $x = 5$ and then", None),
        ("It could be 1, 2 or 3", None),
        (r"so we put it in \boxed{4", None),
        (r"<think>first \boxed{3}</think> then we stop", None),
        ("the answer is 4" + " then more" * TAIL, None),
        ("", None),
    ],
)
def test_without_a_box_an_answer_is_announced(text: str, answer: str | None) -> None:
    """After "answer", "result" or "####", as the last formula or as the whole text; a completion that was cut off gives none."""
    assert math_answer(text) == answer


def test_where_the_prompt_asks_for_a_box_nothing_else_counts() -> None:
    """With ``box_required`` an announced answer is none."""
    assert math_answer("The answer is $7$.", box_required=True) is None
    assert math_answer(r"The answer is \boxed{7}.", box_required=True) == "7"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (" dog ", "dog"),
        ("think <answer>a</answer> <answer> b </answer> end", "b"),
        ("<answer>open", "open"),
        ("x" * (MAX_ANSWER + 5), "x" * (MAX_ANSWER + 1)),
    ],
)
def test_the_last_tag_counts(text: str, answer: str) -> None:
    """Between the last answer tags, or everything; what is too long stays recognisably too long."""
    assert tagged_answer(text) == answer


@given(st.text(alphabet="\\{}boxed19 ", max_size=60), st.text(alphabet="{}\\x", max_size=20))
def test_any_text_gives_an_answer_or_none(prefix: str, inside: str) -> None:
    """No text raises, and what is found has balanced braces (escaped ones aside) and stands in the text."""
    text = prefix + "\\boxed{" + inside + "}"
    found = boxed(text)
    if found is not None:
        assert found in text
        plain = found.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert plain.count("{") == plain.count("}")


@pytest.mark.timeout(30)
def test_a_megabyte_ends() -> None:
    """Whatever is found in a long string is cut to the longest answer; benchmarks/reward.py has the time."""
    nasty = ["\\boxed{" * 150_000, "{" * 1_000_000, "\\boxed{" + "{" * 1_000_000, "<answer>" * 125_000]
    for text in nasty:
        for found in (math_answer(text), tagged_answer(text)):
            assert found is None or len(found) <= MAX_ANSWER + 1
