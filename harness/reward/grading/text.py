"""One spelling for each character and command: Unicode, fonts, spacing and synonyms are normalised before anything is read.

>>> normalise("2√3 × 10⁻³"), normalise(r"\\left(\\dfrac12,\\,½\\right).")
('2\\\\sqrt{3} * 10^{-3}', '(\\\\frac12, \\\\frac{1}{2})')
"""

from __future__ import annotations

import re
import unicodedata

from harness.reward.grading.vocabulary import CHARACTERS, DROPPED, PLAIN, SYNONYMS

_TRANSLATION = str.maketrans(CHARACTERS)
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₖ", "0123456789+-()nk", strict=True))
_RUN = re.compile(f"[{''.join(map(re.escape, _RAISED))}]+|[{''.join(_LOWERED)}]+")
_ROOT = re.compile(r"([√∛])\s*(\d+(?:\.\d+)?|[A-Za-z]|(?=[({\\]))")
_SPACES = frozenset({"enspace", "enskip", "thinspace", "medspace", "thickspace", "space"})
_COMMAND = re.compile(r"\\([A-Za-z]+)\s?")
_SPACING = re.compile(r"\\[,;:> ]|~|\\hspace\s*\{[^{}]*\}|\\hskip\s*-?\d+\w*")
_OLD_FONT = re.compile(r"\{\s*\\(?:rm|bf|it|sf|tt)\b([^{}]*)\}")
_WIDE = re.compile(r"\\q?quad(?![A-Za-z])(?!\s*\\(?:text|mathrm))")
_ORDINAL = re.compile(r"(?<=\d)(?:\s*\^\s*\{?\s*\\(?:text|mathrm|textrm)\s*\{\s*(?:st|nd|rd|th)\s*\}\s*\}?|(?:st|nd|rd|th)(?![A-Za-z]))")
_TIMES_X = re.compile(r"(?<=\d)\s*x\s*(?=10\s*\^)")
_CHOOSE = re.compile(r"\{([^{}]*)\\choose(?![a-z])([^{}]*)\}")
_OVER = re.compile(r"\{([^{}]*)\\over(?![a-z])([^{}]*)\}")
_BRACED_SIGN = re.compile(r"(?<![A-Za-z^_}])\{([,:.;=+*/<>-])\}")
_PRIMES = re.compile(r"\^\s*\{?\s*((?:'\s*)+)\}?")
_STARS = re.compile(r"\s*(\*\*|__)(.+)\1\s*")


def normalise(text: str) -> str:
    """The same answer in plain ASCII and few commands; spaces that separate are single blanks."""
    text = _plain_characters(text)
    if stars := _STARS.fullmatch(text):
        text = stars[2]
    text = re.sub(r"\\(?:left|right)\s*\.", " ", text.replace("\\\\", "\1"))
    text = re.sub(r"\\(?=\s*$)", "", text.replace("\\!", "\0"))
    text = text.replace('"', " ").replace("`", " ")
    text = re.sub(r",\0\s*", ",", text).replace("\0", "").replace("**", "^")
    text = _BRACED_SIGN.sub(r"\1", text)
    text = text.replace("\\$", "\\dollar ").replace("$", " ").replace("\\(", "(").replace("\\)", ")")
    text = re.sub(r"\\\[(.*)\\\]", r"\1", text)
    text = re.sub(r"(?<!\\)%", r"\\%", text)
    text = _TIMES_X.sub("*", _ORDINAL.sub("", _CHOOSE.sub(r"\\binom{\1}{\2}", _WIDE.sub("\1", text.strip(" \1")))))
    text = _OVER.sub(r"\\frac{\1}{\2}", _OLD_FONT.sub(r"\\text{\1}", text))
    text = _SPACING.sub(" ", _COMMAND.sub(_command, text))
    text = text.replace("\1", r" \newline ")
    for long, short in (("<=", r"\le "), (">=", r"\ge "), ("!=", r"\ne "), ("...", r"\ldots "), ("==", "=")):
        text = text.replace(long, short)
    text = _PRIMES.sub(lambda m: m[1].replace(" ", ""), text)
    text = re.sub(r"(?<![A-Za-z\\])(sqrt|pi)(?![A-Za-z])", r"\\\1 ", text)
    text = re.sub(r"\\sqrt (?=[({\[])", r"\\sqrt", " ".join(text.split()))
    return text.rstrip(" .,;").strip()


def _plain_characters(text: str) -> str:
    if text.isascii():
        return "".join(c if c.isprintable() else " " for c in text)
    text = _RUN.sub(_script, text)
    text = _ROOT.sub(_root, text)
    out = []
    for character in text.translate(_TRANSLATION):
        if character.isascii():
            out.append(character if character.isprintable() else " ")
        elif (category := unicodedata.category(character)) == "Nd":
            out.append(str(unicodedata.digit(character)))
        elif category == "No" and "⁄" in (fraction := unicodedata.normalize("NFKC", character)):
            over, under = fraction.split("⁄")
            out.append(rf"\frac{{{over}}}{{{under or 1}}}")
        elif category.startswith("Z") or category == "Cc":
            out.append(" ")
        elif category not in ("Cf", "Mn"):
            out.append(unicodedata.normalize("NFKC", character))
    return "".join(out)


def _script(run: re.Match[str]) -> str:
    table, sign = (_RAISED, "^") if run[0][0] in _RAISED else (_LOWERED, "_")
    return f"{sign}{{{''.join(table[c] for c in run[0])}}}"


def _root(match: re.Match[str]) -> str:
    index = "[3]" if match[1] == "∛" else ""
    return rf"\sqrt{index}{{{match[2]}}}" if match[2] else rf"\sqrt{index}"


def _command(match: re.Match[str]) -> str:
    name = match[1]
    if name in _SPACES:
        return " "
    if name in DROPPED:
        return ""
    if name in PLAIN:
        return PLAIN[name]
    return f"\\{SYNONYMS.get(name, name)} " if name not in ("text", "mathrm") else match[0]
