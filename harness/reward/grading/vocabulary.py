"""The words and signs that grading knows, one table per use."""

from __future__ import annotations

#: Unicode characters and what is read in their place.
CHARACTERS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "×": "*", "·": "*", "⋅": "*", "∙": "*", "∗": "*", "÷": "/", "∕": "/",
    "⁄": "/", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "≡": r"\equiv ", "≈": r"\approx ", "±": r"\pm ", "∓": r"\mp ",
    "∞": r"\infty ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∖": r"\setminus ", "∅": r"\emptyset ", "→": r"\to ", "∫": r"\int ",
    "∑": r"\sum ", "°": r"^\circ ", "º": r"^\circ ", "′": "'", "’": "'", "‘": "'", "“": "", "”": "", "£": r"\text{gbp}",
    "…": r"\ldots ", "⋯": r"\ldots ", "∠": r"\angle ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}", "⟨": r"\langle ", "⟩": r"\rangle ", "∣": "|", "⌊": r"\lfloor ", "⌋": r"\rfloor ", "⌈": r"\lceil ",
    "⌉": r"\rceil ", "∧": r" \text{and} ", "∨": r" \text{or} ", "€": r"\text{euro}", "π": r"\pi ", "α": r"\alpha ", "β": r"\beta ",
    "γ": r"\gamma ", "δ": r"\delta ", "Δ": r"\Delta ", "ε": r"\epsilon ", "θ": r"\theta ", "λ": r"\lambda ", "μ": r"\mu ",
    "µ": r"\mu ", "ρ": r"\rho ", "σ": r"\sigma ", "τ": r"\tau ", "φ": r"\phi ", "ϕ": r"\phi ", "ω": r"\omega ", "Ω": r"\Omega ",
    "：": ":", "，": ",", "；": ";", "。": ".", "、": ",", "％": r"\%",
}  # fmt: skip
#: Commands that are another command.
SYNONYMS = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "dbinom": "binom", "tbinom": "binom", "leq": "le", "leqslant": "le",
    "leqq": "le", "geq": "ge", "geqslant": "ge", "geqq": "ge", "neq": "ne", "lbrace": "{", "rbrace": "}", "varnothing": "emptyset",
    "rightarrow": "to", "longrightarrow": "to", "Rightarrow": "to", "implies": "to", "dots": "ldots", "cdots": "ldots",
    "dotsc": "ldots", "dotsb": "ldots", "bar": "overline", "varepsilon": "epsilon", "varphi": "phi", "backslash": "setminus",
    "smallsetminus": "setminus", "infinity": "infty", "bigcup": "cup", "bigcap": "cap", "mod": "pmod", "mathbin": "",
    "widehat": "hat", "measuredangle": "angle", "lg": "log_{10}",
}  # fmt: skip
#: Commands that are a sign.
PLAIN = {
    "cdot": "*", "times": "*", "ast": "*", "div": "/", "lt": "<", "gt": ">", "colon": ":", "mid": "|", "vert": "|", "lvert": "|",
    "rvert": "|", "land": r"\text{ and }", "wedge": r"\text{ and }", "lor": r"\text{ or }", "vee": r"\text{ or }", "lbrack": "[",
    "rbrack": "]", "degree": r"^\circ ", "prime": "'", "lparen": "(", "rparen": ")", "textdollar": r"\$", "textpercent": r"\%",
    "percent": r"\%", "imath": "i", "jmath": "j", "ell": "l",
}  # fmt: skip
#: Commands that say nothing about the answer.
DROPPED = frozenset(
    {
        "Big", "Bigg", "Biggl", "Biggr", "Bigl", "Bigr", "big", "bigg", "biggl", "biggr", "bigl", "bigr", "boxed", "displaystyle", "fbox",
        "hfill", "left", "limits", "mathstrut", "noindent", "nolimits", "nonumber", "right", "scriptstyle", "strut", "textstyle",
    }
)  # fmt: skip
#: Names of functions, with or without a backslash.
FUNCTIONS = frozenset(
    {
        "arccos", "arcsin", "arctan", "cos", "cosh", "cot", "csc", "det", "exp", "gcd", "lcm", "ln", "log", "max", "min", "sec", "sin",
        "sinh", "sqrt", "tan", "tanh",
    }
)  # fmt: skip
#: Commands that are letters.
GREEK = frozenset(
    {
        r"\Delta", r"\Gamma", r"\Lambda", r"\Omega", r"\Phi", r"\Pi", r"\Psi", r"\Sigma", r"\Theta", r"\Upsilon", r"\Xi", r"\aleph",
        r"\alpha", r"\beta", r"\chi", r"\delta", r"\epsilon", r"\eta", r"\gamma", r"\hbar", r"\iota", r"\kappa", r"\lambda", r"\mu",
        r"\nabla", r"\nu", r"\omega", r"\partial", r"\phi", r"\psi", r"\rho", r"\sigma", r"\tau", r"\theta", r"\upsilon", r"\xi",
        r"\zeta",
    }
)  # fmt: skip
#: Commands that make a name of what follows.
MARKS = frozenset(
    {
        r"\dot", r"\hat", r"\mathbb", r"\mathcal", r"\mathfrak", r"\overline", r"\overrightarrow", r"\tilde", r"\underline", r"\vec",
    }
)  # fmt: skip
#: Runs of two or three letters that are words; longer ones always are, unless they are all capitals.
SHORT_WORDS = frozenset(
    {
        "DNE", "all", "and", "apr", "aug", "dec", "feb", "for", "fri", "if", "is", "jan", "jul", "jun", "mar", "may", "mod", "mon", "no",
        "not", "nov", "oct", "odd", "of", "one", "or", "per", "red", "sat", "sep", "six", "sun", "ten", "the", "thu", "to", "tue", "two",
        "wed", "yes",
    }
)  # fmt: skip
#: Words in capitals; other runs of capitals are names of points.
CAPITAL_WORDS = frozenset(
    {
        "DNE", "EVEN", "FALSE", "NO", "NONE", "ODD", "TRUE", "YES",
    }
)  # fmt: skip
#: Abbreviations that are words after a number only: ``5cm``, but ``mi`` is a product.
SHORT_UNITS = frozenset(
    {
        "cm", "ft", "hr", "kg", "km", "lb", "mL", "mg", "mi", "min", "ml", "mm", "mph", "oz", "sec", "yd",
    }
)  # fmt: skip
#: Words that say something about the number instead of naming what is counted.
CLAIMS = frozenset(
    {
        "about", "all", "almost", "and", "any", "approximately", "are", "at", "base", "be", "between", "but", "by", "choose", "divided",
        "double", "each", "either", "even", "every", "exactly", "except", "factorial", "false", "fewer", "fifth", "fifths", "for",
        "fourth", "fourths", "from", "greater", "half", "halves", "hundredth", "hundredths", "if", "infinity", "is", "larger", "least",
        "less", "maybe", "millionths", "minus", "mod", "modulo", "more", "most", "multiplied", "nearly", "negative", "neither", "no",
        "none", "nor", "not", "odd", "only", "or", "over", "plus", "positive", "possibly", "power", "remainder", "root", "roughly",
        "smaller", "tenth", "tenths", "than", "third", "thirds", "thousandth", "thousandths", "times", "to", "true", "twice", "undefined",
        "under", "unless", "when", "where", "with", "without",
    }
)  # fmt: skip
#: Words before an answer that say no more than that it is one.
FILLER = frozenset(
    {
        "answer", "are", "equal", "equals", "final", "get", "hence", "is", "it", "of", "result", "so", "solution", "the", "therefore",
        "thus", "to", "value", "we",
    }
)  # fmt: skip
#: Small numbers in words.
NUMBER_WORDS = {
    "zero": 0, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12,
}  # fmt: skip
#: Words for what has a sign.
SAME_WORDS = {
    ("all", "real", "numbers"): r"\mathbb{R}", ("all", "reals"): r"\mathbb{R}", ("real", "numbers"): r"\mathbb{R}",
    ("empty", "set"): r"\emptyset", ("no", "solution"): r"\emptyset", ("no", "solutions"): r"\emptyset",
    ("no", "real", "solutions"): r"\emptyset", ("infinity",): r"\infty",
}  # fmt: skip
#: Bases of numerals in words.
BASE_WORDS = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12,
    "sixteen": 16,
}  # fmt: skip
