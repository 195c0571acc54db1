"""The tokens of arithmetic in a text: numbers with their units, operators, brackets, words.

Texts come from models, so patterns are linear, and numbers are of bounded size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from math import factorial
from typing import Literal, NamedTuple

from cotdistill.rationales.latex import UNKNOWN

_TOKEN = re.compile(
    rf"(?P<unknown>{UNKNOWN}|\d[\d.,]{{0,20}}(?:{UNKNOWN}|_\w)|√)"
    r"|(?P<time>\d{1,4}:\d{1,4}(?!\d)|\d{1,2}/\d{1,2}/(?:19|20)\d\d(?!\d))"
    r"|(?P<mixed>\d{1,9} \d{1,2}/\d{1,3}(?![\w/]))"
    r"|(?P<number>(?:\d{1,3}(?:(?:,\d{3}){1,4}(?!\d|,\d)|(?: \d{3}){1,4}(?! ?\d|,\d))|\d{1,15})(?:\.\d{1,15})?"
    r"|(?<![\w.])\.\d{1,15})"
    r"(?P<percent>\s?%)?(?P<glued>(?:(?![xX]\d)(?:[-/](?=[A-Za-z]{3}))?[A-Za-z]{1,20}(?:/[A-Za-z]{1,9})?(?:\^\(?[23]\)?(?![\w.]))?)?)"
    r"|(?P<equals>≈|==?|\b(?:equals|(?:is|are) equal to|is|makes|gives)\b)"
    r"|(?P<operator>\*\*|[-+*/×÷·∗⋅^−–]|\b(?:plus|minus|times|multiplied by|divided by|of)\b"
    r"|(?<=[\d)])[xX](?=\d)|(?<=[\d)] )[xX](?= [$(\d]))"
    r"|(?P<factorial>(?<=[\d)])!(?!=)(?=\s?[-+*/×·÷^)(=\d]))"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<word>[^\W\d_]\w*(?:['’]\w+)*(?:/[A-Za-z]{2,9})?(?:\^\(?[23]\)?(?![\w.]))?)"
    r"|(?P<money>[$€£¢])"
    r"|(?P<skip>[ \t\"“”]+)"
    r"|(?P<cut>.|\n)"
)
_SIGNS = {
    **dict.fromkeys(("×", "·", "∗", "⋅", "x", "X", "times", "multiplied by"), "*"),
    **dict.fromkeys(("÷", "divided by"), "/"),
    **dict.fromkeys(("−", "–", "minus"), "-"),
    "plus": "+",
    "**": "^",
}
_SHORT_UNITS_WORDS = (
    "kg mg lb lbs oz cm mm km ft in yd yds mi sq cu ml cl dl hr hrs min mins sec secs ms mph kph kmh am pm pts "
    "pcs bps to so if at is as or by on we he it my no an the per all his her men eggs cents km/h ft/s m/s"
)
_SHORT_UNITS = frozenset(_SHORT_UNITS_WORDS.split())
_MAX_FACTORIAL = 20
_VOWEL = re.compile("[aeiouy]")


class Token(NamedTuple):
    """A piece of an expression with its place; an operator's ``text`` is one of + - * / ^ or "of", which multiplies.

    A word that begins with a number ("6th", "12m", "24k") has its value. ``others`` are further readings of a number
    at the edge of an expression: "3.2" before a space may end a sentence and number the next.
    """

    kind: Literal["number", "operator", "open", "close", "equals", "word", "money", "unknown", "factorial"]
    text: str
    start: int
    end: int
    value: Fraction = Fraction(0)
    decimals: int = 0
    percent: bool = False
    touches: bool = False
    """Whether no space follows."""
    others: tuple[Fraction, ...] = ()


def phrases(text: str) -> Iterator[list[Token]]:
    """The tokens of ``text``, split where no expression continues: at punctuation, line breaks and unknown signs."""
    phrase: list[Token] = []
    for match in _TOKEN.finditer(text):
        if match.lastgroup == "cut":
            if phrase:
                yield phrase
            phrase = []
        elif match.lastgroup != "skip":
            phrase.append(_token(match))
    if phrase:
        yield phrase


def is_unit(token: Token) -> bool:
    """Whether a token may follow a number without changing it; letters that do not form a word are algebra."""
    return token.kind == "money" or (token.kind == "word" and not token.value and _makes_a_word(token.text))


def _makes_a_word(letters: str) -> bool:
    word = letters.lstrip("-/").partition("^")[0]
    if word.lower() in _SHORT_UNITS:
        return True
    return len(word) > 2 and not word.isupper() and (not word.isascii() or _VOWEL.search(word) is not None)


def _token(match: re.Match[str]) -> Token:
    text, (start, end) = match[0], match.span()
    if match["number"]:
        return _number(match)
    if match["mixed"]:
        whole, numerator, denominator = map(int, re.split("[ /]", text))
        if denominator:
            part = Fraction(numerator, denominator)
            return Token("number", text, start, end, whole + part)
    if match["operator"]:
        text = _SIGNS.get(text, text)
    for kind in ("equals", "operator", "open", "close", "money", "factorial", "unknown"):
        if match[kind]:
            return Token(kind, text, start, end, touches=not match.string[end : end + 1].isspace())
    return Token("word", text, start, end)


def _number(match: re.Match[str]) -> Token:
    digits, glued = re.sub("[, ]", "", match["number"]), match["glued"]
    value, place = Fraction(digits), match.span()
    if glued and (len(glued) == 1 or glued in ("st", "nd", "rd", "th") or not _makes_a_word(glued)):
        thousands = (1000 * value,) if glued in ("k", "K") else ()
        return Token("word", match[0], *place, value, others=thousands)
    decimals = len(digits.partition(".")[2])
    return Token("number", match[0], *place, value, decimals, bool(match["percent"]), others=_others(match, value))


_DECIMALS_BEHIND = re.compile(r",(\d{1,2})(?!\d)")
_WHOLE_BEFORE = re.compile(r"(?<!\d)(\d{1,9}),$")


def _others(match: re.Match[str], value: Fraction) -> tuple[Fraction, ...]:
    """ "17 000" as 17 or 0 beside something else, "3.2." as 3 and a list's number, "3,5" as 3.5, "3!" as 6."""
    found: list[Fraction] = []
    text, start, end = match.string, match.start(), match.end()
    if " " in match["number"]:
        first, *_, last = map(Fraction, match["number"].split())
        found += [first, last] if last else [first]
    if text[end : end + 1] == "." and value.denominator > 1:
        found.append(Fraction(int(value)))
    if value.denominator == 1 and (behind := _DECIMALS_BEHIND.match(text, end)):
        found.append(Fraction(f"{value}.{behind[1]}"))
    if match["number"].isdigit() and (before := _WHOLE_BEFORE.search(text[max(0, start - 10) : start])):
        found.append(Fraction(f"{before[1]}.{match['number']}"))
    if text[end : end + 1] == "!" and value.denominator == 1 and value <= _MAX_FACTORIAL:
        found.append(Fraction(factorial(int(value))))
    return tuple(found)
