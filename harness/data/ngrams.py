"""Overlap of questions by word 13-grams, as GPT-3's authors screened their evaluation sets (Brown et al. 2020, appendix C).

A question overlaps if one of its runs of 13 words stands in the other set. As there, texts are lower-cased and split at white space and
punctuation; here a LaTeX command or a number is a word of its own. Of a shorter question nothing is said: without its signs, 1 + 1 would
be 1 - 1, and whether it is the same question :mod:`harness.data.overlap` says.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

#: Words in a row.
N = 13
#: Texts of a set up to which a run of words says something of its question.
BOILERPLATE = 10
_WORDS = re.compile(r"\\[a-z]+|[^\W_]+")


def words_of(text: str) -> list[str]:
    r"""The words of a text, lower-cased.

    >>> words_of(r"Find \frac{1}{2}, PLEASE.")
    ['find', '\\frac', '1', '2', 'please']
    """
    return _WORDS.findall(unicodedata.normalize("NFKC", text).lower())


def grams(text: str) -> set[tuple[str, ...]]:
    """Every run of ``N`` words; of a shorter text nothing."""
    words = words_of(text)
    return {tuple(words[i : i + N]) for i in range(len(words) - N + 1)}


class GramIndex:
    """The 13-grams of a set of texts, built once and asked for many others.

    A gram in more than ``BOILERPLATE`` of the texts is the wording of a template or an instruction and ignored, as there. Only hashes
    are kept: of 64 bits, so that no chance hit is to be expected among millions.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        counts: Counter[int] = Counter()
        for text in texts:
            counts.update({hash(gram) for gram in grams(text)})
        self._known = {gram for gram, count in counts.items() if count <= BOILERPLATE}

    def overlapping(self, texts: Sequence[str]) -> list[int]:
        """Positions of the texts that share a 13-gram with the set, in order."""
        return [i for i, text in enumerate(texts) if not self._known.isdisjoint(map(hash, grams(text)))]
