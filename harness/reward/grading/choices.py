"""Multiple choice: a letter, with or without the text of its choice, against a gold answer that is a letter alone.

>>> same_choice(r"\\\\text{(B)}", "B"), same_choice("C. helium", "B"), same_choice("B or C", "B"), same_choice("2B", "B")
(True, False, False, None)
"""

from __future__ import annotations

import re

_FONT = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mathsf|rm|bf|boldsymbol)\s*\{([^{}]*)\}")
_LONGEST_GOLD = 60
_BARE = re.compile(r"\(?([A-J])(?:\)?[.):]?\)?|\s*)")
#: The letter and what follows: ``(B) 12``, ``B. helium``, ``B: helium``, ``B helium``.
_LED = re.compile(r"(?:\(([A-J])\)|([A-J])[.):](?!\d)|([B-J])(?=\s+[\w(])|(A)(?=\s+[A-Z0-9(]))(.*)", re.DOTALL)
_PREFIX = re.compile(r"(?:(?:the )?(?:correct )?(?:answer|option|choice)(?: is)?:?)\s+(?=\(?[A-J]\b)", re.IGNORECASE)
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-J](?![A-Za-z'])")
#: ``none of A, B, C`` and ``not B`` name other letters without choosing them.
_DENIED = re.compile(
    r"\b(?:not|none of|neither|nor|unlike|instead of|rather than)\s+\(?[A-J]\)?"
    r"(?:(?:\s*,\s*|\s+)(?:(?:and|or|nor)\s+)?\(?[A-J]\)?(?![a-z]))*"
)
_ARTICLE = re.compile(r"(?<![A-Za-z])A(?=\s+[a-z])(?!\s+(?:and|or|is|are|but)\b)")


def same_choice(answer: str, gold: str) -> bool | None:
    """Whether the letter is the gold letter; None where the gold is no bare letter, or the answer starts with none.

    An answer that names a second letter chooses nothing.
    """
    wanted = _BARE.fullmatch(_plain(gold)) if len(gold) <= _LONGEST_GOLD else None
    if wanted is None:
        return None
    answer = _PREFIX.sub("", _plain(answer))
    if alone := _BARE.fullmatch(answer):
        return alone[1] == wanted[1]
    led = _LED.fullmatch(answer)
    if led is None:
        return None
    rest = _ARTICLE.sub("", _DENIED.sub("", led[5]))
    return (led[1] or led[2] or led[3] or led[4]) == wanted[1] and not _LETTER.search(rest)


def _plain(text: str) -> str:
    """Without fonts, spacing commands and a full stop."""
    text = re.sub(r"\\[,;:! ]|~|\\q?quad(?![a-z])|\$|\\left(?![a-z])|\\right(?![a-z])", " ", text)
    for _ in range(2):
        text = _FONT.sub(r"\1", text)
    text = text.strip().removesuffix(".").strip()
    return text[1:-1].strip() if text[:1] == "{" and text[-1:] == "}" else text
