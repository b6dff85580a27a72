"""One spelling for each character and command: Unicode, fonts, spacing and synonyms are normalised before anything is read.

>>> normalise("2√3 × 10⁻³"), normalise(r"\\left(\\dfrac12,\\,½\\right).")
('2\\\\sqrt{3} * 10^{-3}', '(\\\\frac12, \\\\frac{1}{2})')
"""

from __future__ import annotations

import re
import unicodedata

_CHARACTERS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/", "⁄": "/",
    "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≡": r"\equiv ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ", "∞": r"\infty ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∖": r"\setminus ", "∅": r"\emptyset ", "→": r"\to ", "∫": r"\int ", "∑": r"\sum ",
    "°": r"^\circ ", "º": r"^\circ ", "′": "'", "’": "'", "‘": "'", "“": "", "”": "", "£": r"\text{gbp}", "…": r"\ldots ", "⋯": r"\ldots ", "∠": r"\angle ",
    "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}", "ℂ": r"\mathbb{C}", "⟨": r"\langle ", "⟩": r"\rangle ",
    "∣": "|", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ", "⌉": r"\rceil ", "∧": r" \text{and} ", "∨": r" \text{or} ", "€": r"\text{euro}",
    "π": r"\pi ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ", "δ": r"\delta ", "Δ": r"\Delta ", "ε": r"\epsilon ", "θ": r"\theta ",
    "λ": r"\lambda ", "μ": r"\mu ", "µ": r"\mu ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ", "ϕ": r"\phi ", "ω": r"\omega ",
    "Ω": r"\Omega ", "：": ":", "，": ",", "；": ";", "。": ".", "、": ",", "％": r"\%",
}  # fmt: skip
_TRANSLATION = str.maketrans(_CHARACTERS)
_RAISED = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱ", "0123456789+-()ni", strict=True))
_LOWERED = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₍₎ₙₖ", "0123456789+-()nk", strict=True))
_RUN = re.compile(f"[{''.join(map(re.escape, _RAISED))}]+|[{''.join(_LOWERED)}]+")
_ROOT = re.compile(r"([√∛])\s*(\d+(?:\.\d+)?|[A-Za-z]|(?=[({\\]))")
_SYNONYMS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le", "leqslant": "le", "leqq": "le",
    "geq": "ge", "geqslant": "ge", "geqq": "ge", "neq": "ne", "lbrace": "{", "rbrace": "}", "varnothing": "emptyset", "rightarrow": "to",
    "longrightarrow": "to", "Rightarrow": "to", "implies": "to", "dots": "ldots", "cdots": "ldots", "dotsc": "ldots", "dotsb": "ldots",
    "bar": "overline", "varepsilon": "epsilon", "varphi": "phi", "backslash": "setminus", "smallsetminus": "setminus", "infinity": "infty",
    "bigcup": "cup", "bigcap": "cap", "mod": "pmod", "mathbin": "", "widehat": "hat", "measuredangle": "angle", "lg": "log_{10}",
}  # fmt: skip
_PLAIN = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "lt": "<", "gt": ">", "colon": ":", "mid": "|", "vert": "|", "lvert": "|", "rvert": "|",
    "land": r"\text{ and }", "wedge": r"\text{ and }", "lor": r"\text{ or }", "vee": r"\text{ or }", "lbrack": "[", "rbrack": "]", "degree": r"^\circ ",
    "prime": "'", "lparen": "(", "rparen": ")", "textdollar": r"\$", "textpercent": r"\%", "percent": r"\%", "imath": "i", "jmath": "j", "ell": "l",
}  # fmt: skip
_DROPPED = frozenset(
    "displaystyle textstyle scriptstyle left right big Big bigg Bigg bigl bigr Bigl Bigr biggl biggr Biggl Biggr limits nolimits "
    "boxed fbox mathstrut strut nonumber hfill noindent".split()
)
_SPACES = frozenset("enspace enskip thinspace medspace thickspace space".split())
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
    if name in _DROPPED:
        return ""
    if name in _PLAIN:
        return _PLAIN[name]
    return f"\\{_SYNONYMS.get(name, name)} " if name not in ("text", "mathrm") else match[0]
