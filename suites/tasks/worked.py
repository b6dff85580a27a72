"""Step-by-step solutions for the warm-up of embedded models.

Only warm-up targets contain them. A model is free to write anything before its answer: the reward reads the content of the last
``<answer>…</answer>`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

ANSWER_TAGS = ("<answer>", "</answer>")

Entry = Mapping[str, Any]


def worked_solution(family: str, entry: Entry) -> str:
    """Steps and tagged answer of a reasoning-gym entry; KeyError for a family that is not in :data:`STEPS`."""
    opening, closing = ANSWER_TAGS
    return f"{STEPS[family](entry)}{opening}{entry['answer']}{closing}"


def _partial_sums(entry: Entry) -> str:
    """``3 - 1 + 8`` → ``3-1=2;2+8=10``."""
    first, *rest = entry["metadata"]["expression"].split(" ")
    steps, total = [], int(first)
    for sign, term in zip(rest[::2], rest[1::2], strict=True):
        result = total + int(term) if sign == "+" else total - int(term)
        steps.append(f"{total}{sign}{term}={result}")
        total = result
    return ";".join(steps)


def _partial_products(entry: Entry) -> str:
    """``23 * 47`` → ``23*7=161;23*40=920;161+920=1081``: times each digit of the second factor from the right, and the sums."""
    first, second = entry["metadata"]["expression"].split(" * ")
    return _sum_of_products((int(first), int(digit) * 10**place) for place, digit in enumerate(reversed(second)))


def _running_count(entry: Entry) -> str:
    """Letter ``a`` in ``Banana is`` → ``Ba1na2na3 is``: the text with the count so far after every occurrence."""
    letter, steps, count = entry["metadata"]["target_letter"], "", 0
    for character in " ".join(entry["metadata"]["span"]):
        steps += character
        if character.lower() == letter:
            count += 1
            steps += str(count)
    return steps


def _legs_so_far(entry: Entry) -> str:
    """``2 dogs, 3 birds, 1 ant`` → ``2*4=8;3*2=6;8+6=14;1*6=6;14+6=20``: the legs of each kind, and the sums."""
    from reasoning_gym.arithmetic.leg_counting import ANIMALS

    return _sum_of_products((number, ANIMALS[animal]) for animal, number in entry["metadata"]["animals"].items())


def _sum_of_products(pairs: Iterable[tuple[int, int]]) -> str:
    """Each product and, from the second on, the sum so far: (2, 4), (3, 2) → ``2*4=8;3*2=6;8+6=14``."""
    steps, total = [], 0
    for place, (a, b) in enumerate(pairs):
        steps.append(f"{a}*{b}={a * b}")
        if place:
            steps.append(f"{total}+{a * b}={total + a * b}")
        total += a * b
    return ";".join(steps)


STEPS: dict[str, Callable[[Entry], str]] = {
    "chain_sum": _partial_sums,
    "products": _partial_products,
    "letter_counting": _running_count,
    "leg_counting": _legs_so_far,
}
"""Families with worked solutions."""
