"""An answer as a list of tokens, and the ways of taking such a list apart."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from harness.reward.grading.vocabulary import CAPITAL_WORDS, FUNCTIONS, SHORT_UNITS, SHORT_WORDS

#: Nesting deeper than this is no answer.
MAX_DEPTH = 40
OPENING = frozenset({"(", "[", "{", r"\{", r"\langle", r"\lfloor", r"\lceil", r"\begin"})
CLOSING = frozenset({")", "]", "}", r"\}", r"\rangle", r"\rfloor", r"\rceil", r"\end"})
#: Inside these a comma separates entries.
_GROUPING, _GROUPED = frozenset({"(", "[", r"\{", r"\langle"}), frozenset({")", "]", r"\}", r"\rangle"})
_FONTS = "text(?:bf|it|rm|sf|tt|normal)?|[mh]box|emph|math(?:rm|bf|sf|it|tt)|operatorname|boldsymbol|bm|rm|bf"
_FONT = re.compile(rf"\\(?:{_FONTS})\*?\s*\{{")
_NUMBER = re.compile(r"(?:\d+\.\d+|\.\d+|\d+\.(?=\\overline|\\dot)|\d+)(?:[eE][+-]?\d+(?![\d.]))?")
_GROUPS = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)(?:\.\d+)?")
_BLANK_GROUPS = re.compile(r"[1-9]\d{0,2}(?: \d{3})+(?![\d]| \d)(?:\.\d+)?")
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_LETTERS = re.compile(r"[^\W\d_]+")
_UNIT_FORMULA = re.compile(r"[A-Za-z]+(?:[/ *]+[A-Za-z]+|\^\{?-?\d\}?)*")
_COMMAND = re.compile(r"\\(?:[A-Za-z]+|.)")
#: Commands that TeX gives one digit where no brace follows.
_ONE_DIGIT = frozenset({r"\frac", r"\binom"})


@dataclass(frozen=True, slots=True)
class Token:
    """kind: ``num``, ``sym`` (a letter), ``cmd`` (``\\\\frac``), ``text`` (a word) or ``op``; gap: a blank stands before it."""

    kind: str
    text: str
    gap: bool = False


Tokens = tuple[Token, ...]


class Unreadable(Exception):
    """The text is no answer of the kind that is being read."""


@lru_cache(maxsize=4_000)
def tokenise(text: str, grouped: bool = True) -> Tokens:
    """Tokens of a normalised text. ``grouped``: outside brackets ``1,234`` is one number. Raises Unreadable."""
    return tuple(_tokens(text, grouped, False))


def _tokens(text: str, grouped: bool, in_text: bool) -> list[Token]:
    out: list[Token] = []
    i, depth, brackets, gap = 0, 0, 0, False
    while i < len(text):
        if text[i] == " ":
            i, gap = i + 1, True
            continue
        new, i = _next(text, i, out, grouped and brackets == 0, in_text)
        for k, token in enumerate(new):
            out.append(Token(token.kind, token.text, gap if k == 0 else token.gap))
            brackets += token.text in _GROUPING
            brackets -= token.text in _GROUPED
            depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth > MAX_DEPTH:
            raise Unreadable
        gap = False
    return out


def _next(text: str, i: int, before: Sequence[Token], grouped: bool, in_text: bool) -> tuple[list[Token], int]:
    if match := _FONT.match(text, i):
        end = _closing_brace(text, match.end())
        return _font(match[0], text[match.end() : end]), end + 1
    if text[i] == "\\":
        match = _COMMAND.match(text, i)
        if match is None:
            raise Unreadable
        return [Token("op" if match[0] in (r"\{", r"\}") else "cmd", match[0])], match.end()
    if text[i].isdigit() or (text[i] == "." and text[i + 1 : i + 2].isdigit()):
        return _number(text, i, before, grouped)
    if match := (_WORD if in_text else _LETTERS).match(text, i):
        after_number = bool(before) and before[-1].kind == "num"
        return _word(match[0], in_text or (after_number and match[0] in SHORT_UNITS)), match.end()
    return [Token("op", text[i])], i + 1


def _number(text: str, i: int, before: Sequence[Token], grouped: bool) -> tuple[list[Token], int]:
    if _wants_one_digit(before):
        return [Token("num", text[i])], i + 1
    if before and before[-1].text in ("^", "_", r"\sqrt") and text[i].isdigit():
        end = i + len(text[i:]) - len(text[i:].lstrip("0123456789"))
        return [Token("num", text[i:end])], end
    match = _GROUPS.match(text, i) if grouped else None
    match = match or _BLANK_GROUPS.match(text, i) or _NUMBER.match(text, i)
    if match is None:
        raise Unreadable
    return [Token("num", match[0].replace(",", "").replace(" ", ""))], match.end()


def _wants_one_digit(before: Sequence[Token]) -> bool:
    """After ``\\\\frac``, and after its first argument if that was one digit or a group."""
    if before and before[-1].text in _ONE_DIGIT:
        return True
    if len(before) >= 2 and before[-2].text in _ONE_DIGIT:
        return before[-1].kind in ("num", "sym")
    if before and before[-1].text == "}":
        depth = 0
        for k in range(len(before) - 1, -1, -1):
            depth += (before[k].text == "}") - (before[k].text == "{")
            if depth == 0:
                return k > 0 and before[k - 1].text in _ONE_DIGIT
    return False


def _font(command: str, inside: str) -> list[Token]:
    """``\\\\text{…}`` as words and numbers; a single letter in mathematical type as itself, bold i, j and k as unit vectors."""
    bare = inside.strip(" ")
    if re.match(r"\\(mathrm|mathbf|mathit|mathsf|boldsymbol|bm|rm|bf|operatorname)", command):
        if re.match(r"\\(mathbf|boldsymbol|bm|bf)", command) and bare in ("i", "j", "k"):
            return [Token("sym", rf"\hat{bare}")]
        if bare in FUNCTIONS:
            return [Token("cmd", "\\" + bare)]
        if bare in ("e", "i", "d") or (len(bare) == 1 and "rm" not in command):
            return [Token("sym", bare)]
    if _UNIT_FORMULA.fullmatch(bare):
        return _tokens(bare, False, True)
    if "_" in bare or "^" in bare:
        return [Token("op", "{"), *_tokens(bare, False, True), Token("op", "}")]
    return [Token("cmd", "\\" + t.text, t.gap) if t.text in FUNCTIONS else t for t in _tokens(inside, True, True)]


def _word(word: str, in_text: bool) -> list[Token]:
    if in_text:
        return [Token("text", word)]
    if word in FUNCTIONS:
        return [Token("cmd", "\\" + word)]
    written = (
        (len(word) > 3 and not word.isupper()) or word in SHORT_WORDS or (word.istitle() and word.lower() in SHORT_WORDS and len(word) > 1)
    )
    if written or word in CAPITAL_WORDS:
        return [Token("text", word)]
    return [Token("sym", letter) for letter in word]


def _closing_brace(text: str, start: int) -> int:
    depth, i = 1, start
    while i < len(text):
        if text[i] == "\\":
            i += 2
            continue
        depth += (text[i] == "{") - (text[i] == "}")
        if depth == 0:
            return i
        i += 1
    raise Unreadable


def split(tokens: Tokens, at: Callable[[Token], bool]) -> list[tuple[Tokens, str]]:
    """Parts between separators outside all brackets, each with the separator before it (the first with an empty one)."""
    parts: list[tuple[Tokens, str]] = []
    start, depth, before = 0, 0, ""
    for i, token in enumerate(tokens):
        depth = max(0, depth + (token.text in OPENING) - (token.text in CLOSING))
        if depth == 0 and at(token):
            parts.append((tokens[start:i], before))
            start, before = i + 1, token.text
    parts.append((tokens[start:], before))
    return parts


def enclosed(tokens: Tokens) -> bool:
    """Whether the first bracket closes at the very end: ``(1,2)``, not ``(1,2)+(3,4)``; half-open intervals too."""
    if len(tokens) < 2 or tokens[0].text not in OPENING or tokens[-1].text not in CLOSING:
        return False
    depth = 0
    for i, token in enumerate(tokens):
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth == 0:
            return i == len(tokens) - 1
    return False


def balanced(tokens: Iterable[Token]) -> bool:
    """Whether no bracket closes that was not opened, and none stays open."""
    depth = 0
    for token in tokens:
        depth += (token.text in OPENING) - (token.text in CLOSING)
        if depth < 0:
            return False
    return depth == 0


def spelling(tokens: Iterable[Token]) -> str:
    """The tokens as one text without blanks, words apart: what is compared where nothing can be read."""
    return " ".join(token.text for token in tokens if token.text not in "{}")
