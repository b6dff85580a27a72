"""From text to an answer: one kind after the other is tried, each on all of the text; what none reads stays opaque."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from harness.reward.grading import notations, relations, sets
from harness.reward.grading.evaluate import Undefined
from harness.reward.grading.expressions import parse
from harness.reward.grading.kinds import Answer, Interval, Listing, Named, Opaque, Read, Tuple, Value, Words
from harness.reward.grading.quantities import quantity, sum_of_quantities
from harness.reward.grading.regions import Region
from harness.reward.grading.text import normalise
from harness.reward.grading.tokens import Token, Tokens, Unreadable, balanced, enclosed, spelling, split, tokenise
from harness.reward.grading.vocabulary import FILLER, NUMBER_WORDS, SAME_WORDS

_ARTICLES = frozenset({"a", "an", "the"})
_LAYOUTS = frozenset({"aligned", "align", "align*", "gathered", "gather", "gather*", "split", "equation", "equation*"})
_PARAMETER = re.compile(r"(?:for )?(?:any |all |some )?(?:integers? )?[kmnl]( \\in (?:\\mathbb Z|Z))?(?: integers?)?")
_PADDED = re.compile(r"(?<=\d),0\d")
_BASELESS_LOG = re.compile(r"\\log (?!_)")
_SIGNED_E = re.compile(r"(?<![\d.])(?!1[eE])\d+[eE][+-]\d")


@lru_cache(maxsize=20_000)
def readings(text: str) -> tuple[Answer, ...]:
    """What the text may say: one answer, or two where ``100,200`` may be a list, ``2e-3`` a difference, ``\\log`` of base e or ten.

    >>> len(readings(r"\\\\frac12")), len(readings("100,200"))
    (1, 2)
    """
    clean = normalise(text)
    found: list[Answer] = []
    versions = [clean]
    if _SIGNED_E.search(clean):
        versions.append(re.sub(r"([eE])(?=[+-]\d)", r"\1 ", clean))
    if _BASELESS_LOG.search(clean):
        versions.append(_BASELESS_LOG.sub(r"\\log_{10} ", clean))
    for version in versions:
        # In ``1,000`` and ``10,00`` the comma separates no entries: no entry of a list is written 000.
        for grouped in (True,) if _PADDED.search(version) else (True, False):
            try:
                answer = read(tokenise(version, grouped))
            except (Unreadable, RecursionError):
                answer = Opaque(version.replace(" ", ""))
            if answer not in found:
                found.append(answer)
    return tuple(found)


def read(tokens: Tokens) -> Answer:
    """The answer that the tokens are, as a whole."""
    tokens = _bare(tokens)
    if not tokens:
        return Opaque("")
    for reader in _READERS:
        try:
            found = reader(tokens, read)
        except (Unreadable, Undefined):
            continue
        if found is not None:
            return found
    return Opaque(spelling(tokens))


def _bare(tokens: Tokens) -> Tokens:
    """Without outer braces, introductory words and a full stop."""
    while True:
        before = tokens
        if enclosed(tokens) and tokens[0].text == "{":
            tokens = tokens[1:-1]
        if sets.environment(tokens) in _LAYOUTS if tokens else False:
            tokens = _without_layout(tokens)
        while tokens and tokens[0].text == r"\newline":
            tokens = tokens[1:]
        while tokens and (tokens[-1].text == r"\newline" or (tokens[-1].text in (".", ",", ";", ":") and tokens[-1].kind == "op")):
            tokens = tokens[:-1]
        if tokens and tokens[0].text == r"\approx":
            tokens = tokens[1:]
        cut = next((i for i, t in enumerate(tokens) if t.kind != "text" or t.text.lower() not in FILLER), 0)
        if 0 < cut < len(tokens):
            tokens = tokens[cut:]
            if tokens[0].text == ":":
                tokens = tokens[1:]
        if tokens == before:
            return tokens


def _without_layout(tokens: Tokens) -> Tokens:
    """What stands in ``\\begin{aligned} … \\end{aligned}``, without its alignment marks."""
    start = next(i for i, t in enumerate(tokens) if t.text == "}") + 1
    end = max(i for i, t in enumerate(tokens) if t.text == r"\end")
    return tuple(t for t in tokens[start:end] if t.text != "&")


def _two_signs(tokens: Tokens, _read: Read) -> Answer | None:
    """``1 \\pm \\sqrt2`` is a list of two."""
    if not any(t.text in (r"\pm", r"\mp") for t in tokens) or len(split(tokens, _separates)) > 1 or any(t.text == "=" for t in tokens):
        return None
    both = []
    for plus, minus in (("+", "-"), ("-", "+")):
        signs = {r"\pm": plus, r"\mp": minus}
        found = read(tuple(Token("op", signs[t.text], t.gap) if t.text in signs else t for t in tokens))
        if isinstance(found, Opaque):
            return found
        both.append(found)
    return Listing(tuple(both))


def _listing(tokens: Tokens, _read: Read) -> Answer | None:
    """Answers between commas, semicolons, line breaks, ``and`` and ``or``."""
    if sets.foreign_interval(tokens) or any(t.text in (r"\begin", r"\cup") for t in tokens):
        return None
    parts = [(part, before) for part, before in split(tokens, _separates) if part or before == ","]
    parts = [p for k, p in enumerate(parts) if p[0]]
    if len(parts) < 2:
        return None
    if len(parts) > sets.MAX_ITEMS or not balanced(tokens):
        raise Unreadable
    declared = [part for part, _ in parts if _declares_parameter(part)]
    items = [part for part, _ in parts if part not in declared] or [part for part, _ in parts]
    if len(items) == 1:
        return read(items[0])
    joiners = {before.lower() for _, before in parts} & {"and", "or"}
    joiner = joiners.pop() if len(joiners) == 1 else ""
    found = [read(part) for part in items]
    if summed := sum_of_quantities(found):
        return summed
    return joined(_flat(found), joiner)


def joined(items: list[Answer], joiner: str) -> Answer:
    """A list; conditions on one letter become one set of numbers: ``or`` their union, ``and`` their intersection."""
    if joiner and all(isinstance(i, Interval) for i in items):
        variables = {i.variable for i in items if isinstance(i, Interval)}
        if len(variables) == 1:
            total: Region | None = None
            for item in items:
                assert isinstance(item, Interval)
                step = item.region
                total = step if total is None else total.union(step) if joiner == "or" else total.intersection(step)
            assert total is not None
            return Interval(total, variables.pop())
    return Listing(tuple(items), joiner)


def _flat(items: list[Answer]) -> list[Answer]:
    """``1, \\pm 2`` has three entries; ``x = 2, 3`` names x once."""
    out: list[Answer] = []
    for item in items:
        out += item.items if isinstance(item, Listing) and not item.joiner else [item]
    if isinstance(out[0], Named) and all(isinstance(item, Value | Tuple) for item in out[1:]):
        out = [out[0], *(Named(out[0].name, item) for item in out[1:])]
    return out


def _declares_parameter(tokens: Tokens) -> bool:
    """``k \\in \\mathbb{Z}`` beside a family of solutions."""
    text = spelling(tokens).strip()
    return bool(_PARAMETER.fullmatch(text)) and len(tokens) > 1


def _separates(token: Token) -> bool:
    return token.text in (",", ";", r"\newline") or (token.kind == "text" and token.text.lower() in ("and", "or"))


def _words(tokens: Tokens, _read: Read) -> Answer | None:
    """Words alone, or words around numbers, in order."""
    if not any(t.kind == "text" for t in tokens):
        return None
    if len(tokens) == 1 and len(tokens[0].text) == 1:
        return Value(parse(tokens))
    words = tuple(t.text.lower() for t in tokens if t.text not in {*"{}.,!\"'()"} or t.kind == "num")
    if len(words) > 1:
        words = tuple(w for w in words if w not in _ARTICLES)
    if words in SAME_WORDS:
        return read(tokenise(SAME_WORDS[words]))
    if len(words) == 1 and words[0] in NUMBER_WORDS:
        return read((Token("num", str(NUMBER_WORDS[words[0]])),))
    if all(t.kind in ("text", "num") or t.text in {*"{}.,!\"'()-"} for t in tokens):
        return Words(words)
    return None


_READERS: tuple[Callable[[Tokens, Read], Answer | None], ...] = (
    sets.constant_set,
    notations.congruence,
    _two_signs,
    _listing,
    relations.membership,
    relations.inequality,
    relations.equation,
    sets.union,
    sets.brackets,
    sets.matrix,
    notations.colons,
    notations.numeral,
    quantity,
    _words,
)
