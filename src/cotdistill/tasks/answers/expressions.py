"""Exact values of numeric expressions: signs, sums, products, powers, fractions, mixed numbers, whole roots."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt
from typing import NamedTuple

from cotdistill.tasks.answers.tokens import MAGNITUDES, MAX_DIGITS, Token

_MAX_DEPTH = 12
_MAX_BITS = 200
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Expression(NamedTuple):
    """An expression's value, where it ends, and how it was written: as one number (``plain``), with a division."""

    value: Fraction
    end: int
    plain: bool
    divided: bool


class _NoValue(Exception):
    """The text has no value, or two."""


def read_expression(tokens: Sequence[Token], start: int) -> Expression | None:
    """The longest expression that begins at ``start``; None if any part of it has no exact and unambiguous value."""
    parser = _Parser(tokens, start)
    try:
        value = parser.sum()
    except (_NoValue, ZeroDivisionError):
        return None
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > _MAX_BITS:
        return None
    return Expression(value, parser.place, not parser.calculated, parser.divided)


class _Parser:
    """One descent through an expression; a factor that touches a bracket multiplies it."""

    def __init__(self, tokens: Sequence[Token], start: int):
        self.tokens, self.start, self.place, self.depth = tokens, start, start, 0
        self.calculated = self.divided = False

    def sum(self) -> Fraction:
        sign = self._take("sign", "-", "+")
        first, operands = self._product(), 1
        value = -first if sign == "-" else first
        while (operator := self._operator("+", "-")) is not None:
            self.calculated = True
            operands += 1
            value = value + self._product() if operator == "+" else value - self._product()
            # "19 - 20" is a range as well as a difference
            if operator == "-" and operands == 2 and not self.depth and self._is_range():
                raise _NoValue
        return value

    def _is_range(self) -> bool:
        """Whether two numbers with a dash between them are all that there is."""
        goes_on = self._is("sign", "+", "-", "*", "/") or self._is("equals")
        return not goes_on and self.place - self.start == 3

    def _product(self) -> Fraction:
        value, divisions = self._power(), 0
        while (operator := self._operator("*", "/")) is not None:
            factor = self._power()
            if operator == "/":
                divisions += 1
                self.divided = True
                value /= factor
            else:
                self.calculated = True
                value *= factor
            if divisions > 1:
                raise _NoValue
        if self._is("open", "(") and self._touches() and self.tokens[self.place - 1].kind in ("number", "close"):
            if divisions:
                raise _NoValue
            self.calculated = True
            value *= self._product()
        return value

    def _power(self) -> Fraction:
        base = self._value()
        if self._take("sign", "!"):
            raise _NoValue
        if self._take("sign", "^", "**") is None:
            return base
        self.calculated = True
        negative = self._take("sign", "-") == "-"
        exponent = self._value()
        if exponent.denominator != 1 or base == 0 or self._is("sign", "^", "**"):
            raise _NoValue
        size = max(base.numerator.bit_length(), base.denominator.bit_length()) * abs(exponent)
        if size > _MAX_BITS and abs(base) != 1:
            raise _NoValue
        return base ** int(-exponent if negative else exponent)

    def _value(self) -> Fraction:
        token = self._next()
        if token.kind == "number":
            return self._number(token)
        if token.kind == "open" and token.text in _CLOSING:
            return self._inside(_CLOSING[token.text])
        if token.kind == "sign" and token.text in "+-":  # "3 * -4"
            return self._value() * (-1 if token.text == "-" else 1)
        if token.text == "\\frac":
            self.divided = True
            return self._argument() / self._argument()
        if token.text == "\\sqrt":
            return self._root()
        raise _NoValue

    def _number(self, token: Token) -> Fraction:
        """``token``'s value, with the fraction of a mixed number, a half in words and a magnitude behind it."""
        value = token.value
        if token.whole and self._is("command", "\\frac"):
            self._next()
            value += self._part(self._argument(), self._argument())
        elif token.whole and self._is_mixed():
            above, _, below = self._next(), self._next(), self._next()
            value += self._part(above.value, below.value)
        else:
            value += self._half()
        self.divided |= token.spelled and token.value.denominator > 1
        while self._is("word", *MAGNITUDES) and (self._touches() or len(self.tokens[self.place].text) > 1):
            value *= MAGNITUDES[self._next().text]
        return value

    def _half(self) -> Fraction:
        """The value of "and a half"."""
        following = self.tokens[self.place : self.place + 2]
        if len(following) < 2 or following[0].text != "and" or not following[1].spelled or following[1].value >= 1:
            return Fraction(0)
        self.place += 2
        self.divided = True
        return following[1].value

    def _is_mixed(self) -> bool:
        """Whether "1/2" follows, apart from the whole number before it."""
        three = self.tokens[self.place : self.place + 3]
        return (
            len(three) == 3
            and three[0].whole
            and not three[0].touches
            and three[1].text == "/"
            and three[2].whole
            and three[1].touches
            and three[2].touches
        )

    def _part(self, above: Fraction, below: Fraction) -> Fraction:
        self.divided = True
        if not 0 < above < below:
            raise _NoValue
        return above / below

    def _root(self) -> Fraction:
        if self._is("open", "["):
            raise _NoValue
        self.calculated = True
        inside = self._argument()
        if inside < 0:
            raise _NoValue
        above, below = isqrt(inside.numerator), isqrt(inside.denominator)
        if above * above != inside.numerator or below * below != inside.denominator:
            raise _NoValue
        return Fraction(above, below)

    def _argument(self) -> Fraction:
        """What a command takes: a group in braces or brackets, or one number."""
        token = self._next()
        if token.kind == "open" and token.text in "{(":
            return self._inside(_CLOSING[token.text])
        if token.kind != "number":
            raise _NoValue
        return token.value

    def _inside(self, closing: str) -> Fraction:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise _NoValue
        while self._is("stop", "\n"):
            self._next()
        value = self.sum()
        while self._is("stop"):
            self._next()
        if self._take("close", closing) is None:
            raise _NoValue
        self.depth -= 1
        return value

    # ---- tokens -----------------------------------------------------------------------------------------------------

    def _operator(self, *texts: str) -> str | None:
        """The next sign where it is one of ``texts`` and no dash before a word ("12 - that is all")."""
        if not self._is("sign", *texts):
            return None
        following = self.tokens[self.place + 1 : self.place + 2]
        is_word = not following or (following[0].kind == "word" and len(following[0].text) > 1)
        return None if is_word and self.tokens[self.place].text in "-/" else self._next().text

    def _is(self, kind: str, *texts: str) -> bool:
        if self.place >= len(self.tokens) or self.tokens[self.place].kind != kind:
            return False
        return not texts or self.tokens[self.place].text in texts

    def _touches(self) -> bool:
        return self.tokens[self.place].touches

    def _take(self, kind: str, *texts: str) -> str | None:
        return self._next().text if self._is(kind, *texts) else None

    def _next(self) -> Token:
        if self.place >= len(self.tokens):
            raise _NoValue
        self.place += 1
        return self.tokens[self.place - 1]


def written(value: Fraction, *, divided: bool) -> str:
    """The canonical form: whole numbers without ".0", decimals without trailing zeros, fractions in lowest terms. A
    value that was ``divided``, or does not end in decimals, is a fraction.
    """
    if value.denominator == 1 or divided:
        return str(value)
    places, rest = 0, value.denominator
    while rest % 10 == 0:
        rest //= 10
        places += 1
    for factor in (2, 5):
        count = 0
        while rest % factor == 0:
            rest //= factor
            count += 1
        places += count
    if rest != 1 or places > MAX_DIGITS:
        return str(value)
    digits = str(abs(value.numerator) * 10**places // value.denominator).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return f"{sign}{digits[:-places]}.{digits[-places:]}".rstrip("0")
