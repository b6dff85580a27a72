"""From a completion to the answer in it: cheap, bounded, in this process; no parsing.

The answer is what the last ``\\boxed{}`` holds. Where the prompt does not ask for a box, an answer may also be announced:
``#### 42``, ``the answer is $\\frac12$``, ``Therefore, x = 5.`` or a formula in dollars that ends the completion. A completion that was cut
off has none of them.
"""

from __future__ import annotations

import re

#: Longest final answer that is looked at; more than this scores 0 instead of being parsed.
MAX_ANSWER = 2_000
#: Where there is no ``\\boxed{}``, the answer is looked for in the last so many characters.
TAIL = 1_000
_BOXES = ("\\boxed{", "\\fbox{")
#: ``\boxed 9``, ``\boxed\frac12`` have no brace of their own; spaces before one are skipped.
_UNBRACED = re.compile(r"\\(?:boxed|fbox)\s+([^\s{$\\.,;][^\s$\\.,;]*(?:\.\d+)?)")
_SPACED = re.compile(r"\\(boxed|fbox)\s+\{")
_MARKED = re.compile(r"####\s*([^\n]+)")
_ANNOUNCED = re.compile(r"(?:answer|solution|result)\s*(?:is|are|equals|=|:)\s*(?:\*\*)?:?\s*([^\n]+)", re.IGNORECASE)
_FORMULA = re.compile(r"\$\$?([^$]+)\$\$?\s*[.!]?\s*")
_FIRST_FORMULA = re.compile(r"\$\$?([^$]+)\$\$?|\\\((.+?)\\\)|\\\[(.+?)\\\]")
#: A last sentence that is complete: ``Therefore, x = 5.``
_CONCLUDED = re.compile(r"(?:^|[.!?]\s+|\n)(?:therefore|thus|hence|so),?\s+([^\n]{1,200}?)[.!]\s*$", re.IGNORECASE)
_THOUGHT = "</think>"


def boxed(text: str) -> str | None:
    """The content of the last ``\\boxed{…}``; None if there is none, if it is not closed, or if it is too long."""
    if "boxed " in text or "fbox " in text:
        text = _SPACED.sub(r"\\\1{", text)
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


def math_answer(completion: str, box_required: bool = False) -> str | None:
    """The final answer of a completion, None if it gives none. Thoughts before ``</think>`` are no answers.

    >>> math_answer(r"so \\boxed{12}."), math_answer("so x is 5 and then"), math_answer("The answer is $7$.")
    ('12', None, '7')
    """
    completion = completion[completion.rfind(_THOUGHT) + len(_THOUGHT) :] if _THOUGHT in completion else completion
    inside = boxed(completion)
    if inside is not None:
        return inside
    tail = completion[-TAIL:]
    if "\\boxed" in completion or "\\fbox" in completion:
        unbraced = _UNBRACED.findall(tail)
        return unbraced[-1] if unbraced else None
    return None if box_required else _announced(tail)


def _announced(tail: str) -> str | None:
    """What the text says is its answer; the whole text if it is one short formula."""
    if marked := _MARKED.findall(tail):
        return str(marked[-1]).strip()
    said = list(_ANNOUNCED.finditer(tail))
    if said:
        words = said[-1][1].strip()
        formula = _FIRST_FORMULA.search(words)
        return next(g for g in formula.groups() if g).strip() if formula else words.strip("* ").removesuffix(".")
    last = tail[tail.rfind("$", 0, max(tail.rstrip(" .!\n").rfind("$"), 0)) :] if tail.count("$") >= 2 else ""
    formula = _FORMULA.fullmatch(last)
    if formula:
        return formula[1].strip()
    if concluded := _CONCLUDED.search(tail):
        return concluded[1].strip()
    text = tail.strip()
    return text if "\n" not in text and not re.search(r"[A-Za-z]{2,}\s+[A-Za-z]{2,}", text) and text else None


def tagged_answer(completion: str) -> str:
    """What stands in the last ``<answer>…</answer>``, or the whole completion; stripped, at most ``MAX_ANSWER`` characters."""
    start = completion.rfind("<answer>")
    if start >= 0:
        start += len("<answer>")
        end = completion.find("</answer>", start, start + MAX_ANSWER)
        completion = completion[start : end if end >= 0 else start + MAX_ANSWER]
    return completion[: MAX_ANSWER + 1].strip() if len(completion) > MAX_ANSWER else completion.strip()
