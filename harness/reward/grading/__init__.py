"""Whether an answer in LaTeX says the same as the gold answer: rules first, math-verify for calculus.

An answer is read once, as a whole, into one of a few kinds (:mod:`.kinds`): a value with its unit, a list, a tuple, a set of reals, an
equation, a ratio, a congruence, words, … (:mod:`.reader`). Two answers are the same if their kinds allow a comparison and the
contents are equal (:mod:`.compare`). Nothing is dropped in silence: what cannot be read as a whole equals only its own spelling.

The rules use no generated parser, so verdicts do not depend on the version of ANTLR that an engine pins.
"""
