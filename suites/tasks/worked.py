"""Step-by-step solutions for the warm-up of embedded models.

Only warm-up targets contain them. A model is free to write anything before its answer: the reward reads the content of the last
``<answer>…</answer>`` and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    steps, total = [], 0
    for place, digit in enumerate(reversed(second)):
        factor = int(digit) * 10**place
        product = int(first) * factor
        steps.append(f"{first}*{factor}={product}")
        if place:
            steps.append(f"{total}+{product}={total + product}")
        total += product
    return ";".join(steps)


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

    steps, total = [], 0
    for place, (animal, number) in enumerate(entry["metadata"]["animals"].items()):
        legs = number * ANIMALS[animal]
        steps.append(f"{number}*{ANIMALS[animal]}={legs}")
        if place:
            steps.append(f"{total}+{legs}={total + legs}")
        total += legs
    return ";".join(steps)


STEPS: dict[str, Callable[[Entry], str]] = {
    "chain_sum": _partial_sums,
    "products": _partial_products,
    "letter_counting": _running_count,
    "leg_counting": _legs_so_far,
}
"""Families with worked solutions."""
