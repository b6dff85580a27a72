"""From a completion to the answer in it: cheap, bounded, in this process; no parsing."""

from __future__ import annotations

import re

#: Longest final answer that is looked at; more than this scores 0 instead of being parsed.
MAX_ANSWER = 2_000
#: Where there is no ``\\boxed{}``, the answer is looked for in the last so many characters.
TAIL = 1_000
_BOXES = ("\\boxed{", "\\fbox{")
#: ``B``, ``(B)``, ``\text{(B)}``, ``\textbf{B.}``, or such a letter followed by the text of its choice.
_CHOICE = re.compile(r"(?:\\(?:text|textbf|mathrm|mathbf|rm)\s*\{)?\s*\(?([A-J])(?:\)?[.):]?\}?\.?|[.):]\s.*)", re.DOTALL)


def boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{…}``; None if there is none, if it is not closed, or if it is too long."""
    start = max(text.rfind(box) + len(box) if box in text else -1 for box in _BOXES)
    if start < 0:
        return None
    depth = 1
    i = start
    while i < min(len(text), start + MAX_ANSWER + 1):
        character = text[i]
        if character == "\\":
            i += 2  # an escaped brace opens and closes nothing
            continue
        depth += (character == "{") - (character == "}")
        if depth == 0:
            inside = text[start:i].strip()
            # A control space at the end (``18\\ ``) must not become a backslash that hides the closing brace from the parser.
            return inside[:-1].rstrip() if (len(inside) - len(inside.rstrip("\\"))) % 2 else inside
        i += 1
    return None


def math_answer(completion: str) -> tuple[str, bool]:
    """(the answer, whether it was boxed): the last box, or the end of the completion."""
    inside = boxed(completion)
    return (inside, True) if inside is not None else (completion[-TAIL:].strip(), False)


def tagged_answer(completion: str) -> str:
    """What stands in the last ``<answer>…</answer>``, or the whole completion; stripped, at most ``MAX_ANSWER`` characters."""
    start = completion.rfind("<answer>")
    if start >= 0:
        start += len("<answer>")
        end = completion.find("</answer>", start, start + MAX_ANSWER)
        completion = completion[start : end if end >= 0 else start + MAX_ANSWER]
    return completion[: MAX_ANSWER + 1].strip() if len(completion) > MAX_ANSWER else completion.strip()


def same_choice(answer: str, gold: str) -> float | None:
    """1.0 or 0.0 where both sides name a choice by its letter, None where at least one does not.

    >>> same_choice(r"\\text{(B)}", "B"), same_choice("C. helium", "B"), same_choice("2B", "B")
    (1.0, 0.0, None)
    """
    found, wanted = _CHOICE.fullmatch(answer.strip()), _CHOICE.fullmatch(gold.strip())
    return float(found[1] == wanted[1]) if found and wanted else None
