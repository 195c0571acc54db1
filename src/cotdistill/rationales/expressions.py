"""Arithmetic expressions in a text: where they begin and end among words, and their exact values.

Texts come from models: expressions, nesting and exponents are of bounded size.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import factorial

from cotdistill.rationales.tokens import Token, is_unit

_MAX_UNIT_WORDS = 3
_MAX_SIDE = 60
"""The longest expression that is read, in tokens."""
_MAX_POWER_BITS = 400
_MAX_FACTORIAL = 30
_PRECEDENCE = {"+": 1.0, "-": 1.0, "*": 2.0, "of": 2.0, "/": 2.0, "tight": 2.5, "^": 3.0}
_HEDGES = frozenset({"about", "approximately", "roughly", "around", "a", "total", "of", "only", "just", "exactly"})


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
    """The longest expression at the end of ``side``, without units; None if something unknown takes part."""
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
    """The longest expression at the start of ``side``, without units; None if something unknown takes part."""
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
        while index < len(side) and is_unit(side[index]) and index - end < _MAX_UNIT_WORDS:
            index += 1
        if index < len(side) and index == end and side[index].kind in ("word", "unknown"):
            return None  # algebra: "= 8 y"
        if index == len(side) or not _joins(side, index):
            return found
        found.append(side[index])
        index += 1


def _skip_back(side: list[Token], index: int, *, units: bool) -> int:
    end = index
    while index and end - index < _MAX_UNIT_WORDS:
        before = side[index - 1]
        if before.kind != "money" and not (units and is_unit(before)):
            break
        index -= 1
    return index


def _joins(side: list[Token], place: int) -> bool:
    """Whether an operator at ``place`` joins numbers; "of" does so only after a percentage or a fraction."""
    token = side[place]
    if token.kind != "operator" or token.text != "of":
        return token.kind == "operator"
    before = side[place - 1] if place else None
    if before is None or before.kind != "number":
        return False
    return before.percent or "/" in before.text or (place > 2 and side[place - 2].text == "/")


def _operand_start(side: list[Token], end: int) -> int | None:
    """Where the product without signs begins that ends before ``end``, "2(3 + 4)" or "5!"; None where something
    unknown touches it, as in "f(2)" or "2x"."""
    start = _factor_start(side, end)
    while start and side[start - 1].end == side[start].start:
        before = side[start - 1]
        if before.kind in ("word", "unknown"):
            return None
        if before.kind not in ("number", "close", "factorial"):
            break
        start = _factor_start(side, start)
    return start


def _factor_start(side: list[Token], end: int) -> int | None:
    """Where the number or bracket begins that ends before ``end``."""
    if end and side[end - 1].kind == "factorial":
        end -= 1
    if not end or side[end - 1].kind == "number":
        return end - 1 if end else None
    depth = 0
    for index in range(end - 1, -1, -1):
        depth += (side[index].kind == "close") - (side[index].kind == "open")
        if depth <= 0:
            return index if index < end - 1 else None
    return None


def _operand_end(side: list[Token], start: int) -> int | None:
    """Where the product without signs ends that begins at ``start``; None where something unknown touches it."""
    end = _factor_end(side, start)
    while end is not None and end < len(side) and side[end].start == side[end - 1].end:
        if side[end].kind in ("word", "unknown"):
            return None
        if side[end].kind not in ("number", "open"):
            break
        end = _factor_end(side, end)
    return end


def _factor_end(side: list[Token], start: int) -> int | None:
    """Where the number or bracket ends that begins at ``start``."""
    end = None
    if start < len(side) and side[start].kind == "number":
        end = start + 1
    depth = 0
    for index in range(start, len(side) if end is None else start):
        depth += (side[index].kind == "open") - (side[index].kind == "close")
        if depth <= 0:
            end = index + 1 if index > start else None
            break
    if end is not None and end < len(side) and side[end].kind == "factorial":
        end += 1
    return end


def _without_units(operand: list[Token]) -> list[Token] | None:
    """A number or bracket without the units behind its numbers; None if a word stands for a number."""
    kept: list[Token] = []
    for token in operand:
        if token.kind == "unknown" or (token.kind == "word" and not (kept[-1].kind == "number" and is_unit(token))):
            return None
        if token.kind not in ("word", "money"):
            kept.append(token)
    return kept


# ---- values ---------------------------------------------------------------------------------------------------------


def evaluate(expression: Sequence[Token], percent: Fraction = Fraction(1), *, tight: bool = False) -> Fraction | None:
    """The value; None for an incomplete expression, for division by zero and for huge powers.

    A percentage counts as ``percent`` times its number. With ``tight`` a product without a sign and a fraction without
    spaces take precedence over other signs: "6/2(3)" is 1, and "25 / 1/3" 75.
    """
    values: list[Fraction] = []
    waiting: list[str] = []
    operand_next = True
    for index, token in enumerate(expression):
        if not operand_next and token.kind in ("number", "open"):
            if not _wait(values, waiting, "tight" if tight else "*"):
                return None
            operand_next = True
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
        elif not operand_next and token.kind == "factorial":
            if values[-1].denominator > 1 or not 0 <= values[-1] <= _MAX_FACTORIAL:
                return None
            values.append(Fraction(factorial(int(values.pop()))))
        elif not operand_next and token.kind == "operator":
            close = token.touches and expression[index - 1].end == token.start
            sign = "tight/" if tight and close and token.text == "/" else token.text
            if not _wait(values, waiting, sign):
                return None
            operand_next = True
        else:
            return None
    while waiting:
        if waiting[-1] == "(" or not _apply(values, waiting.pop()):
            return None
    return values[0] if len(values) == 1 else None


def _wait(values: list[Fraction], waiting: list[str], sign: str) -> bool:
    """Put a sign on hold once those that precede it are applied; False if one of them has no value."""
    precedence = _precedence(sign)
    while waiting and waiting[-1] != "(" and _precedence(waiting[-1]) >= precedence + 0.1 * (sign == "^"):
        if not _apply(values, waiting.pop()):
            return False
    waiting.append(sign)
    return True


def _precedence(sign: str) -> float:
    return _PRECEDENCE["tight"] if sign.startswith("tight") else _PRECEDENCE[sign]


def _apply(values: list[Fraction], sign: str) -> bool:
    """Replace the last two values by their result; False if there is none."""
    if len(values) < 2:
        return False
    right, left = values.pop(), values.pop()
    if sign == "^":
        return _power(values, left, right)
    if sign in ("/", "tight/"):
        if not right:
            return False
        values.append(left / right)
    else:
        values.append(left + right if sign == "+" else left - right if sign == "-" else left * right)
    return True


def _power(values: list[Fraction], left: Fraction, right: Fraction) -> bool:
    bits = max(left.numerator.bit_length(), left.denominator.bit_length())
    if right.denominator > 1 or abs(right) * bits > _MAX_POWER_BITS or (not left and right < 0):
        return False
    values.append(left ** int(right))
    return True
