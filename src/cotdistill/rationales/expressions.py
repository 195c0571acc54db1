"""Arithmetic expressions in a text: their tokens, where they begin and end among words, and their exact values.

Texts come from models, so patterns are linear, and numbers, expressions, nesting and exponents are of bounded size.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

from cotdistill.tasks.answers.types import plain

_MAX_UNIT_WORDS = 3
_MAX_SIDE = 60
"""Tokens of the longest expression that is read."""
_MAX_EXPONENT = 12
_MAX_POWER_BASE = 10**6

_TOKEN = re.compile(
    r"(?P<time>\d{1,2}:\d{2}(?!\d)|\d{1,2}/\d{1,2}/(?:19|20)\d\d(?!\d))"
    r"|(?P<mixed>\d{1,9} \d{1,9}/\d{1,9}(?![\w/]))"
    r"|(?P<number>(?:\d{1,3}(?:,\d{3}){1,4}(?![\d,])|\d{1,15})(?:\.\d{1,15})?|(?<![\w.])\.\d{1,15})"
    r"(?P<percent>\s?%)?(?P<glued>(?:(?![xX]\d)[A-Za-z]{1,20})?)"
    r"|(?P<equals>≈|==?|\b(?:equals|(?:is|are) equal to|is|makes|gives)\b)"
    r"|(?P<operator>\*\*|[-+*/×÷·∗⋅^−–]|\b(?:plus|minus|times|multiplied by|divided by|of)\b"
    r"|(?<=[\d)])[xX](?=\d)|(?<=[\d)] )[xX](?= [$(\d]))"
    r"|(?P<open>[(\[{])|(?P<close>[)\]}])"
    r"|(?P<word>[^\W\d_]\w*(?:['’]\w+)*)"
    r"|(?P<money>[$€£¢])"
    r"|(?P<skip>[ \t\"“”\\]+)"
    r"|(?P<cut>.|\n)"
)
_LATEX = {r"\times": "*", r"\cdot": "*", r"\div": "/", r"\%": "%", r"\$": "$", r"\left": "", r"\right": ""}
_SIGNS = {
    **dict.fromkeys(("×", "·", "∗", "⋅", "x", "X", "times", "multiplied by", "of"), "*"),
    **dict.fromkeys(("÷", "divided by"), "/"),
    **dict.fromkeys(("−", "–", "minus"), "-"),
    "plus": "+",
    "**": "^",
}
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2, "^": 3}
_HEDGES = frozenset({"about", "approximately", "roughly", "around", "a", "total", "of", "only", "just", "exactly"})


class Token(NamedTuple):
    """A piece of an expression with its place; an operator's ``text`` is one of + - * / ^ or "of", which multiplies."""

    kind: Literal["number", "operator", "open", "close", "equals", "word", "money"]
    text: str
    start: int
    end: int
    value: Fraction = Fraction(0)
    decimals: int = 0
    percent: bool = False
    touches: bool = False
    """No space follows."""
    before_stop: bool = False
    """A full stop follows: the decimals may be the number of a list's next item, "= 250.3. Then ..."."""


def readable(text: str) -> str:
    """``text`` with LaTeX's commands for arithmetic as plain signs; places of tokens refer to this."""
    text = plain(text)
    for command, sign in _LATEX.items():
        text = text.replace(command, sign)
    return text


def phrases(text: str) -> Iterator[list[Token]]:
    """The tokens of ``text``, cut where no expression goes on: at punctuation, line breaks and unknown signs."""
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


def _token(match: re.Match[str]) -> Token:
    text, (start, end) = match[0], match.span()
    if match["number"]:
        return _number(match)
    if match["mixed"]:
        whole, numerator, denominator = map(int, re.split("[ /]", text))
        if denominator:
            return Token("number", text, start, end, whole + Fraction(numerator, denominator))
    if match["operator"]:
        text = text if text == "of" else _SIGNS.get(text, text)
    for kind in ("equals", "operator", "open", "close", "money"):
        if match[kind]:
            return Token(kind, text, start, end, touches=not match.string[end : end + 1].isspace())
    return Token("word", text, start, end)


def _number(match: re.Match[str]) -> Token:
    digits, glued = match["number"].replace(",", ""), match["glued"]
    if len(glued) == 1 or glued in ("st", "nd", "rd", "th"):  # algebra ("2x") and ordinals are no numbers
        return Token("word", match[0], *match.span())
    decimals = len(digits.partition(".")[2])
    before_stop = match.string[match.end() : match.end() + 1] == "."
    return Token(
        "number", match[0], *match.span(), Fraction(digits), decimals, bool(match["percent"]), before_stop=before_stop
    )


# ---- where an expression begins and ends ----------------------------------------------------------------------------


def without_asides(side: list[Token]) -> list[Token]:
    """``side`` without brackets that hold no number: "20 (all trees) - 4 (left)"."""
    kept: list[Token] = []
    start = None  # of a bracket in ``kept`` that has no number so far
    for token in side:
        if token.kind == "open":
            start = len(kept)
        elif token.kind == "number":
            start = None
        kept.append(token)
        if token.kind == "close" and start is not None:
            del kept[start:]
            start = None
    return kept


def last_expression(side: list[Token]) -> list[Token] | None:
    """The longest expression with which ``side`` ends, units left out; None where something unknown takes part."""
    side = side[-_MAX_SIDE:]
    found: list[Token] = []
    index = len(side)
    while True:
        index = _skip_back(side, index, units=True)
        start = _operand_start(side, index)
        operand = None if start is None else _without_units(side[start:index])
        if start is None or operand is None:
            return _signed(found, at_start=index == 0)
        found = operand + found
        index = _skip_back(side, start, units=False)
        if not index or not _joins(side, index - 1):
            return found
        found = [side[index - 1], *found]
        index -= 1


def _signed(found: list[Token], *, at_start: bool) -> list[Token] | None:
    """An expression whose first minus has no left operand: a sign if it touches the number, else a bullet at the start
    ("- 5 + 3 = 8"), else a subtraction from something unknown."""
    if not found or found[0].text != "-":
        return None
    if found[0].touches:
        return found
    return found[1:] if at_start else None


def first_expression(side: list[Token]) -> list[Token] | None:
    """The longest expression with which ``side`` begins, units left out; None where something unknown takes part."""
    side = side[:_MAX_SIDE]
    index = 0
    while index < len(side) and (side[index].kind == "money" or side[index].text.lower() in _HEDGES):
        index += 1
    found = [side[index]] if index < len(side) and side[index].text == "-" else []
    index += len(found)
    while True:
        while index < len(side) and side[index].kind == "money":
            index += 1
        end = _operand_end(side, index)
        operand = None if end is None else _without_units(side[index:end])
        if end is None or operand is None:
            return found[:-1] if len(found) > 1 and found[-1].text == "-" else None  # a dash, or something unknown
        found += operand
        index = end
        while index < len(side) and _is_unit(side[index]) and index - end < _MAX_UNIT_WORDS:
            index += 1
        if index < len(side) and index == end and side[index].kind == "word":
            return None  # algebra: "= 8 y"
        if index == len(side) or not _joins(side, index):
            return found
        found.append(side[index])
        index += 1


def _skip_back(side: list[Token], index: int, *, units: bool) -> int:
    end = index
    while index and end - index < _MAX_UNIT_WORDS:
        before = side[index - 1]
        if before.kind != "money" and not (units and _is_unit(before)):
            break
        index -= 1
    return index


def _is_unit(token: Token) -> bool:
    """Whether a token may stand behind a number without changing it: single letters are algebra."""
    return token.kind == "money" or (token.kind == "word" and len(token.text) > 1 and not token.text[0].isdigit())


def _joins(side: list[Token], place: int) -> bool:
    """Whether an operator at ``place`` joins numbers; "of" does so behind a percentage or a fraction alone."""
    token = side[place]
    if token.kind != "operator" or token.text != "of":
        return token.kind == "operator"
    before = side[place - 1] if place else None
    if before is None or before.kind != "number":
        return False
    return before.percent or "/" in before.text or (place > 2 and side[place - 2].text == "/")


def _operand_start(side: list[Token], end: int) -> int | None:
    """Where the number or bracket begins that ends before ``end``."""
    if not end or side[end - 1].kind == "number":
        return end - 1 if end else None
    depth = 0
    for index in range(end - 1, -1, -1):
        depth += (side[index].kind == "close") - (side[index].kind == "open")
        if depth <= 0:
            return index if index < end - 1 else None
    return None


def _operand_end(side: list[Token], start: int) -> int | None:
    """Where the number or bracket ends that begins at ``start``."""
    if start == len(side) or side[start].kind == "number":
        return start + 1 if start < len(side) else None
    depth = 0
    for index in range(start, len(side)):
        depth += (side[index].kind == "open") - (side[index].kind == "close")
        if depth <= 0:
            return index + 1 if index > start else None
    return None


def _without_units(operand: list[Token]) -> list[Token] | None:
    """A number or bracket without the units behind its numbers; None where a word stands for a number."""
    kept: list[Token] = []
    for token in operand:
        if token.kind == "word" and kept[-1].kind != "number":
            return None
        if token.kind not in ("word", "money"):
            kept.append(token)
    return kept


# ---- values ---------------------------------------------------------------------------------------------------------


def evaluate(expression: Sequence[Token], percent: Fraction = Fraction(1)) -> Fraction | None:
    """The value, with a percentage counted as ``percent`` times its number; None for what is no whole expression, for
    division by zero and for huge powers."""
    values: list[Fraction] = []
    waiting: list[str] = []
    operand_next = True
    for token in expression:
        if operand_next and token.kind == "number":
            values.append(token.value * percent if token.percent else token.value)
            operand_next = False
        elif operand_next and token.kind == "open":
            waiting.append("(")
        elif operand_next and token.text == "-":
            values.append(Fraction(0))
            waiting.append("-")
        elif not operand_next and token.kind == "close":
            while waiting and waiting[-1] != "(":
                if not _apply(values, waiting.pop()):
                    return None
            if not waiting:
                return None
            waiting.pop()
        elif not operand_next and token.kind == "operator":
            sign = _SIGNS.get(token.text, token.text)
            while waiting and waiting[-1] != "(" and _PRECEDENCE[waiting[-1]] >= _PRECEDENCE[sign]:
                if not _apply(values, waiting.pop()):
                    return None
            waiting.append(sign)
            operand_next = True
        else:
            return None
    while waiting:
        if waiting[-1] == "(" or not _apply(values, waiting.pop()):
            return None
    return values[0] if len(values) == 1 else None


def _apply(values: list[Fraction], sign: str) -> bool:
    """Put the result of the last two values in their place; False where it cannot be had."""
    if len(values) < 2:
        return False
    right, left = values.pop(), values.pop()
    if sign == "^":
        small = right.denominator == 1 and 0 <= right <= _MAX_EXPONENT and abs(left) <= _MAX_POWER_BASE
        if not small or left.denominator > _MAX_POWER_BASE:
            return False
        values.append(left ** int(right))
    elif sign == "/":
        if not right:
            return False
        values.append(left / right)
    else:
        values.append(left + right if sign == "+" else left - right if sign == "-" else left * right)
    return True
