"""Expressions: a small grammar of LaTeX formulas, read completely or not at all.

Numbers (exact fractions, repeating decimals, e-notation, mixed numbers ``2\\frac13``), letters, sums, products with and without a sign,
fractions, powers, roots, factorials, binomials, absolute values, floors, elementary functions, numerals ``52_8``. Two things differ from
TeX as people write answers: ``\\sqrt(5)`` has the bracket as its argument, and ``x^10`` means ``x^{10}``.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from harness.reward.grading.decimals import decimal
from harness.reward.grading.tokens import CLOSING, MAX_DEPTH, Token, Tokens, Unreadable
from harness.reward.grading.vocabulary import FUNCTIONS, GREEK, MARKS

_FUNCTION_COMMANDS = frozenset("\\" + name for name in FUNCTIONS) - {r"\sqrt", r"\det"}
_SHAPES = frozenset({r"\angle", r"\triangle"})
_APPLIED = frozenset("fghPFG")
_ENDS = frozenset({")", "]", "}", ",", "=", "<", ">", "|", ";", ":", *CLOSING, r"\pmod", r"\le", r"\ge", r"\ne", r"\%"})


@dataclass(frozen=True, slots=True)
class Expr:
    """A node of a formula.

    ``num``, ``sym`` and ``const`` (pi, e, i, oo) have a value; an operation (add, mul, pow, a function's name, …) has arguments.
    """

    op: str
    args: tuple[Expr, ...] = ()
    value: Fraction | str = ""

    def symbols(self) -> frozenset[str]:
        """Names of the letters in it."""
        if self.op == "sym":
            return frozenset({str(self.value)})
        return frozenset().union(*(a.symbols() for a in self.args))

    def has(self, op: str, value: str = "") -> bool:
        """Whether a node of this kind is in it."""
        return (self.op == op and (not value or self.value == value)) or any(a.has(op, value) for a in self.args)


def number(value: int | Fraction) -> Expr:
    """A number as an expression."""
    return Expr("num", value=Fraction(value))


def parse(tokens: Tokens) -> Expr:
    """The expression that all tokens together are; Unreadable if they are none."""
    parser = _Parser(tokens)
    found = parser.sum()
    if parser.i < len(tokens):
        raise Unreadable
    return found


class _Parser:
    def __init__(self, tokens: Tokens) -> None:
        self.tokens, self.i, self.depth, self.bars = tokens, 0, 0, 0

    def peek(self) -> str:
        return self.tokens[self.i].text if self.i < len(self.tokens) else ""

    def take(self, text: str = "") -> Token:
        if self.i >= len(self.tokens) or (text and self.peek() != text):
            raise Unreadable
        self.i += 1
        return self.tokens[self.i - 1]

    def sum(self) -> Expr:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable
        terms = [self.signed()]
        while self.peek() in ("+", "-"):
            sign = self.take().text
            term = self.signed()
            terms.append(Expr("neg", (term,)) if sign == "-" else term)
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Expr("add", tuple(terms))

    def signed(self) -> Expr:
        negative = False
        while self.peek() in ("+", "-"):
            negative ^= self.take().text == "-"
        term = self.product()
        return Expr("neg", (term,)) if negative else term

    def product(self) -> Expr:
        found = self.factor()
        while True:
            operator = self.peek()
            if operator in ("*", "/", r"\bmod"):
                self.take()
                sign = self.peek() if self.peek() in ("+", "-") else ""
                if sign:
                    self.take()
                right = self.factor()
                right = Expr("neg", (right,)) if sign == "-" else right
                found = Expr({"*": "mul", "/": "div"}.get(operator, "mod"), (found, right))
            elif self.starts_factor():
                found = self.juxtaposed(found)
            else:
                return found

    def juxtaposed(self, left: Expr) -> Expr:
        """A product without a sign, or a mixed number; two numbers side by side are neither."""
        start = self.i
        token = self.tokens[start]
        right = self.factor()
        if left.op == "num":
            if (mixed := self.mixed(left, right, start)) is not None:
                return mixed
            if token.kind == "num":
                raise Unreadable
        elif token.kind == "num" and self.tokens[start - 1].kind == "num":
            raise Unreadable
        return Expr("mul", (left, right))

    def mixed(self, left: Expr, right: Expr, start: int) -> Expr | None:
        """``2\\frac13`` and ``2 1/3`` are 7/3."""
        whole = self.tokens[start - 1]
        if whole.kind != "num" or not whole.text.isdigit():
            return None
        if right.op == "num" and self.peek() == "/" and self.tokens[start].gap and self.tokens[start].text.isdigit():
            self.take()
            right = Expr("div", (right, self.factor()))
        elif self.tokens[start].text != r"\frac":
            return None
        if right.op != "div" or any(a.op != "num" for a in right.args):
            return None
        over, under = (a.value for a in right.args)
        if isinstance(over, Fraction) and isinstance(under, Fraction) and 0 < over < under and over.denominator == under.denominator == 1:
            return Expr("add", (left, right))
        return None

    def starts_factor(self) -> bool:
        if self.i >= len(self.tokens):
            return False
        token = self.tokens[self.i]
        if token.kind in ("num", "sym"):
            return True
        if token.kind == "cmd":
            return token.text not in _ENDS and token.text not in (r"\circ", r"\pm", r"\mp", r"\in", r"\cup", r"\cap", r"\setminus", r"\to")
        return token.text in ("(", "{", "[") or (token.text == "|" and self.bars == 0)

    def factor(self) -> Expr:
        base = self.primary()
        while True:
            if self.peek() == "!":
                self.take()
                base = Expr("fact", (base,))
            elif self.peek() == "^":
                self.take()
                base = Expr("deg", (base,)) if self.degree() else Expr("pow", (base, self.exponent()))
            else:
                return base

    def degree(self) -> bool:
        for form in ((r"\circ",), ("{", r"\circ", "}")):
            if tuple(t.text for t in self.tokens[self.i : self.i + len(form)]) == form:
                self.i += len(form)
                return True
        return False

    def exponent(self) -> Expr:
        if self.peek() in ("+", "-"):
            sign = self.take().text
            found = self.exponent()
            return Expr("neg", (found,)) if sign == "-" else found
        if self.peek() == "{":
            return self.group()
        base = self.primary()
        if self.peek() == "^":  # 2^3^2
            self.take()
            return Expr("pow", (base, self.exponent()))
        return base

    def group(self) -> Expr:
        self.take("{")
        found = self.sum()
        self.take("}")
        return found

    def argument(self) -> Expr:
        """What a command takes: a group, or one token."""
        if self.peek() == "{":
            return self.group()
        return self.primary()

    def primary(self) -> Expr:
        self.depth += 1
        if self.depth > 2 * MAX_DEPTH:
            raise Unreadable
        found = self.atom()
        self.depth -= 1
        return found

    def atom(self) -> Expr:
        token = self.take()
        if token.kind == "num":
            return self.numeral(token.text)
        if token.kind == "sym" or (token.kind == "text" and len(token.text) == 1):
            return self.letter(token.text)
        if token.text in ("(", "[", "{"):
            found = self.sum()
            self.take({"(": ")", "[": "]", "{": "}"}[token.text])
            return found
        if token.text == "|":
            self.bars += 1
            found = self.sum()
            self.bars -= 1
            self.take("|")
            return Expr("abs", (found,))
        if token.kind == "cmd":
            return self.command(token.text)
        raise Unreadable

    def numeral(self, text: str) -> Expr:
        if self.peek() in (r"\overline", r"\dot") and "." in text:
            self.take()
            digits = "".join(t.text for t in self.braced())
            if not digits.isdigit() or len(digits) > 50:
                raise Unreadable
            places = len(text.partition(".")[2])
            return number(decimal(text) + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places))
        if self.peek() == "_" and text.isdigit():
            self.take()
            base = "".join(t.text for t in self.braced())
            if not base.isdigit() or not 2 <= int(base[:3]) <= 36:
                raise Unreadable
            try:
                return number(int(text, int(base)))
            except ValueError:
                raise Unreadable from None
        return number(decimal(text))

    def letter(self, name: str) -> Expr:
        if name in ("e", "i") and self.peek() != "_":
            return Expr("const", value=name)
        name += self.subscript()
        while self.peek() == "'":
            name += self.take().text
        if self.peek() == "(" and (name[0] in _APPLIED or self.at_number()):
            start = self.i
            self.skip_brackets()
            name += "".join(t.text for t in self.tokens[start : self.i])
        return Expr("sym", value=name)

    def at_number(self) -> bool:
        """Whether ``(0)`` follows: the value of a function there, not a product with nought."""
        inside = self.tokens[self.i + 1 : self.i + 3]
        return len(inside) == 2 and inside[0].kind == "num" and inside[1].text == ")"

    def subscript(self) -> str:
        if self.peek() != "_":
            return ""
        self.take()
        return "_" + "".join(t.text for t in self.braced())

    def braced(self) -> Tokens:
        """The tokens of a group, or one token."""
        if self.peek() != "{":
            return (self.take(),)
        start = self.i + 1
        self.skip_brackets()
        return self.tokens[start : self.i - 1]

    def skip_brackets(self) -> None:
        opened, depth = self.peek(), 0
        closed = {"(": ")", "{": "}", "[": "]"}[opened]
        while True:
            text = self.take().text
            depth += (text == opened) - (text == closed)
            if depth == 0:
                return

    def command(self, name: str) -> Expr:
        if name == r"\frac":
            return Expr("div", (self.argument(), self.argument()))
        if name == r"\binom":
            return Expr("binom", (self.argument(), self.argument()))
        if name == r"\sqrt":
            return self.root()
        if name in _FUNCTION_COMMANDS:
            return self.function(name[1:])
        if name == r"\pi":
            return Expr("const", value="pi")
        if name == r"\infty":
            return Expr("const", value="oo")
        if name in (r"\lfloor", r"\lceil"):
            found = self.sum()
            self.take({r"\lfloor": r"\rfloor", r"\lceil": r"\rceil"}[name])
            return Expr(name[2:], (found,))
        if name in GREEK:
            return self.letter(name)
        if name in MARKS:
            inside = "".join(t.text for t in self.braced())
            return Expr("sym", value=f"{name}{inside.lstrip(chr(92))}{self.subscript()}")
        if name in _SHAPES:
            start = self.i
            while self.i < len(self.tokens) and self.tokens[self.i].kind == "sym":
                self.i += 1
            return Expr("sym", value=name + "".join(t.text for t in self.tokens[start : self.i]))
        raise Unreadable

    def root(self) -> Expr:
        index: Expr = number(2)
        if self.peek() == "[":
            self.take()
            index = self.sum()
            self.take("]")
        return Expr("root", (self.argument(), index))

    def function(self, name: str) -> Expr:
        base = power = None
        while self.peek() in ("_", "^"):
            if self.take().text == "_":
                base = parse(self.braced())
            else:
                power = self.exponent()
        inverse = power is not None and power == Expr("neg", (number(1),)) and name in ("sin", "cos", "tan")
        name = "arc" + name if inverse else name
        args = self.bracketed() if self.peek() in ("(", "{", "[") else (self.loose_argument(),)
        found = Expr(name, args) if base is None or name != "log" else Expr("div", (Expr("ln", args), Expr("ln", (base,))))
        return found if power is None or inverse else Expr("pow", (found, power))

    def bracketed(self) -> tuple[Expr, ...]:
        closed = {"(": ")", "[": "]", "{": "}"}[self.take().text]
        args = [self.sum()]
        while self.peek() == ",":
            self.take()
            args.append(self.sum())
        self.take(closed)
        return tuple(args)

    def loose_argument(self) -> Expr:
        """``\\sin 2x``: the factors that follow, up to a sign or the next function."""
        if self.peek() == "-":
            self.take()
            return Expr("neg", (self.loose_argument(),))
        found = self.factor()
        while self.starts_factor() and self.peek() not in _FUNCTION_COMMANDS and self.peek() not in ("(", "["):
            found = self.juxtaposed(found)
        return found
