"""Whether two question texts are the same question, and which questions two sets share."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

_SPELLING = re.compile(r"\\[,;:! ]|\\(?:left|right|displaystyle)(?![a-zA-Z])|\\[dt](?=frac)|[\s${}~]")


def normalised(text: str) -> str:
    """What stays of a text when spelling is set aside: two questions with the same rest are the same question.

    >>> normalised("Find $x$ if  $x\\\\,=\\\\left(1\\\\right)$.") == normalised("find x if x=(1)")
    True
    """
    plain = unicodedata.normalize("NFKC", text)
    return _SPELLING.sub(lambda match: "\\" if match[0][1:] in ("d", "t") else "", plain).casefold().rstrip(".?!:;")


def repeats(texts: Sequence[str]) -> list[int]:
    """Positions of the texts whose normalised form stood earlier in the list, in order."""
    seen: set[str] = set()
    found = []
    for i, text in enumerate(texts):
        rest = normalised(text)
        if rest in seen:
            found.append(i)
        seen.add(rest)
    return found


def shared(texts: Sequence[str], others: Iterable[str]) -> list[int]:
    """Positions of the texts that are also among ``others``, by their normalised forms."""
    known = {normalised(other) for other in others}
    return [i for i, text in enumerate(texts) if normalised(text) in known]
