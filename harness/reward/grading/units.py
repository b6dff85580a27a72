"""Units of measurement: ``56 cents`` is ``$0.56``, ``2 hours 30 minutes`` is ``150 min``; a number without a unit takes the other side's.

A unit is a scale and dimensions. Words that are no known unit (``apples``) are dimensions of their own; words that change what the
number says (``more than``, ``not``, ``or``) are no unit, and an answer with them is not the number.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from harness.reward.grading.tokens import Tokens
from harness.reward.grading.vocabulary import CLAIMS

_NAMES: dict[str, tuple[str, str, str]] = {}  # any spelling → (symbol, dimension, scale)


def _define(dimension: str, table: str) -> None:
    for entry in table.split(";"):
        scale, *names = entry.split()
        for name in names:
            _NAMES[name] = (names[0], dimension, scale)


_define(
    "length",
    "1/1000 mm millimeter millimetre;1/100 cm centimeter centimetre;1/10 dm decimeter decimetre;1 m meter metre;1000 km kilometer kilometre"
    ";254/10000 in inch inches;3048/10000 ft foot feet;9144/10000 yd yard;1609344/1000 mi mile;1/1000000000 nm nanometer",
)
_define("time", "1/1000 ms millisecond;1 s sec second;60 min minute;3600 h hr hour;86400 day d;604800 week;31536000 yr year;2628000 month")
_define(
    "mass", "1/1000000 mg milligram;1/1000 g gram;1 kg kilogram;1000 t tonne;45359237/100000000 lb lbs pound;45359237/1600000000 oz ounce"
)
_define("money", "1/100 cent penny pennies;1 dollar usd")
_define("euro", "1 euro eur")
_define("sterling", "1 gbp")
_define("volume", "1/1000 ml milliliter millilitre;1 l liter litre")
_define("angle", "1 degree deg")
_define("current", "1 A amp ampere")
_define("charge", "1 C coulomb")
_define("energy", "1 J joule;1000 kJ kilojoule")
_define("force", "1 N newton")
_define("power", "1 W watt;1000 kW kilowatt")
_define("pressure", "1 Pa pascal;1000 kPa kilopascal")
_define("voltage", "1 V volt")
_define("frequency", "1 Hz hertz")
_define("temperature", "1 K kelvin")
_define("amount", "1 mol mole")
_COMPOUND = {"mph": (("mi", 1), ("h", -1)), "kph": (("km", 1), ("h", -1)), "kmh": (("km", 1), ("h", -1))}
#: Words that are a number: ``3 million``.
MULTIPLIERS = {"hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
_SQUARE = {"square": 2, "sq": 2, "cubic": 3, "cu": 3}
_RAISED = {"squared": 2, "cubed": 3}
#: At most so many words name a unit.
MAX_WORDS = 5


@dataclass(frozen=True, slots=True)
class Unit:
    """scale · ∏ dimension^power; dimensions sorted by name, powers not zero."""

    scale: Fraction
    dimensions: tuple[tuple[str, int], ...]

    def times(self, other: Unit) -> Unit:
        """The product of two units."""
        powers = dict(self.dimensions)
        for name, power in other.dimensions:
            powers[name] = powers.get(name, 0) + power
        return Unit(self.scale * other.scale, tuple(sorted((n, p) for n, p in powers.items() if p)))

    def to_the(self, power: int) -> Unit:
        """A power of the unit."""
        return Unit(self.scale**power, tuple((n, p * power) for n, p in self.dimensions if power))


DEGREE = Unit(Fraction(1), (("angle", 1),))
DOLLAR = Unit(Fraction(1), (("money", 1),))
NONE = Unit(Fraction(1), ())


def named_unit(word: str) -> Unit:
    """The unit that a word names; a dimension of its own where it is not known."""
    if word in _COMPOUND:
        found = NONE
        for name, power in _COMPOUND[word]:
            found = found.times(named_unit(name).to_the(power))
        return found
    for spelling in (word, word.lower(), word.lower().removesuffix("s")):
        if spelling in _NAMES:
            _, dimension, scale = _NAMES[spelling]
            if dimension == "volume":  # a litre is a cubic decimetre
                return Unit(Fraction(scale) / 1000, (("length", 3),))
            return Unit(Fraction(scale), ((dimension, 1),))
    if word.lower() in ("unit", "units"):
        return NONE
    return Unit(Fraction(1), ((_stem(word), 1),))


def known(unit: Unit) -> bool:
    """Whether every dimension is one of measurement."""
    return all(name in _DIMENSIONS for name, _ in unit.dimensions)


_DIMENSIONS = frozenset(dimension for _, dimension, _ in _NAMES.values()) - {"volume"}


def parse_unit(tokens: Tokens) -> Unit | None:
    """The unit that all tokens together name: ``km/h``, ``cm^2``, ``square feet``, ``miles per hour``; None if they name none."""
    found, sign, prefix, words, i = NONE, 1, 1, 0, 0
    last: Unit | None = None
    while i < len(tokens):
        token = tokens[i]
        i += 1
        if token.text == "/" or token.text == "per":
            sign = -1
        elif token.text in ("*", "."):
            continue
        elif token.text == "^" and last is not None:
            power, i = _power(tokens, i)
            if power is None:
                return None
            found, last = found.times(last.to_the(power - 1)), None
        elif token.kind == "text" and token.text in _RAISED:
            if last is None:
                return None
            found, last = found.times(last.to_the(_RAISED[token.text] - 1)), None
        elif token.kind == "text" and token.text in _SQUARE:
            prefix = _SQUARE[token.text]
        elif (token.kind == "text" or (token.kind == "sym" and words)) and token.text.lower() not in CLAIMS:
            last = named_unit(token.text).to_the(sign * prefix)
            found, prefix, words = found.times(last), 1, words + 1
            last = named_unit(token.text).to_the(sign)
        elif token.text in ("{", "}"):
            continue
        else:
            return None
    return found if 1 <= words <= MAX_WORDS else None


def _power(tokens: Tokens, i: int) -> tuple[int | None, int]:
    text = ""
    braced = i < len(tokens) and tokens[i].text == "{"
    i += braced
    while i < len(tokens) and (tokens[i].text in ("-", "+") or tokens[i].kind == "num"):
        text += tokens[i].text
        i += 1
        if not braced and tokens[i - 1].kind == "num":
            break
    i += braced
    try:
        power = int(text)
    except ValueError:
        return None, i
    return (power if abs(power) <= 10 else None), i


def _stem(word: str) -> str:
    word = word.lower()
    for ending, stem in (("ies", "y"), ("ches", "ch"), ("shes", "sh"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 1 and not word.endswith("ss"):
            return word[: -len(ending)] + stem
    return word
