"""The equations in a text and whether they hold: "16 eggs - 3 eggs = 13 eggs", "$1,250 / 5 = $250", "20% of 50 is 10".

An equation with an unknown on either side ("x + 5", "the rest - 5") is undecided, never false.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product

from cotdistill.rationales.expressions import evaluate, first_expression, last_expression, without_asides
from cotdistill.rationales.tokens import Token, is_unit, phrases

_VALUE_WORDS = (
    "half third quarter fourth fifth sixth tenth twice double triple thrice square squared cube cubed root "
    "percent hundred thousand million billion dozen dozens cents cent remainder rounded rounding round "
    "approximately about roughly nearest whole leftover left mod factorial log ln sin cos tan sqrt average mean median "
    "am pm o'clock"
)
_CHANGES_VALUE = frozenset(_VALUE_WORDS.split())
"""Words beside an equation that can make it true although its numbers alone do not."""
_MEASURES_WORDS = (
    "second sec minute min hour hr day week month year inch in foot feet ft yard yd mile km cm mm meter metre "
    "gram kg kilogram ounce oz pound lb liter litre ml gallon quart pint cup cent dollar dime nickel penny "
    "pennies"
)
_MEASURES = frozenset(_MEASURES_WORDS.split())
_PERCENT = Fraction(1, 100)
_MIN_ROUNDED_DECIMALS = 2
"""A number with this many decimals may have been rounded before it was used."""


@dataclass(frozen=True, slots=True)
class Equation:
    """One "left = right" of a text, with its place there.

    ``holds`` is None if that cannot be decided; ``result`` is the value of the right side; ``solved`` is False if the
    right side is the calculation, as in "5 = 1 + 4".
    """

    text: str
    start: int
    end: int
    holds: bool | None
    result: Fraction | None
    solved: bool


def find_equations(text: str) -> list[Equation]:
    """Every equation of ``text`` (see ``latex.readable``) with an operation on at least one of its sides."""
    return [equation for phrase in phrases(text) for equation in _equations(phrase, text)]


def _equations(phrase: list[Token], text: str) -> Iterator[Equation]:
    """The equations between the neighbouring sides of a chain "a = b = c"."""
    signs = [index for index, token in enumerate(phrase) if token.kind == "equals"]
    sides = [phrase[a + 1 : b] for a, b in pairwise([-1, *signs, len(phrase)])]
    for (before, behind), sign in zip(pairwise(sides), signs, strict=True):
        before, behind = without_asides(before), without_asides(behind)
        left, right = last_expression(before), first_expression(behind)
        if not left or not right:
            continue
        result_again = len(signs) > 1 and _alone(left, before) and _alone(right, behind)  # "2 * 5 = 10 = 11"
        if not (_calculates(left) or _calculates(right) or result_again):
            continue
        in_words = phrase[sign].text[0].isalpha()
        if in_words and not (_calculates(left) and behind[0].kind in ("number", "money")):
            continue  # "is" is an equals sign between a calculation and a number only
        if not _calculates(left) and not _alone(left, before):
            continue  # "sacks in 26 days = 80 * 26" defines sacks
        holds = _holds(left, right)
        if holds is False and (phrase[sign].text == "≈" or _doubtful(before, behind, left)):
            holds = None
        start, end = left[0].start, right[-1].end
        yield Equation(text[start:end], start, end, holds, evaluate(right), solved=_calculates(left))


def _calculates(side: Sequence[Token]) -> bool:
    return any(token.kind == "operator" for token in side[1:])


def _alone(left: list[Token], before: list[Token]) -> bool:
    return left[0].text[-1].isdigit() and len(left) == sum(token.kind != "money" for token in before)


def _doubtful(before: list[Token], behind: list[Token], left: list[Token]) -> bool:
    """Whether words next to the numbers take part: "half of 6 + 2 = 5", "10 / 3 = 3 remainder 1"."""
    if any(token.text.lower() in _CHANGES_VALUE or token.text == "¢" for token in (*before, *behind)):
        return True
    place = before.index(left[0])
    if place > 0 and before[place - 1].kind in ("operator", "number", "close", "unknown", "factorial"):
        return True
    return _converts(before, behind) or _is_share(left, behind)


def _converts(before: list[Token], behind: list[Token]) -> bool:
    """Whether both sides name measures, and different ones: "60 minutes * 2 = 2 hours"."""
    ours, theirs = _measures(before), _measures(behind)
    return len(ours) > 1 or bool(ours and theirs - ours)


def _measures(side: list[Token]) -> set[str]:
    words = {token.text.lower().lstrip("-/") for token in side if is_unit(token)}
    words |= {token.text.lstrip("0123456789.,- ").lower() for token in side if token.kind == "number"}
    return {word.removesuffix("s") for word in words if word.removesuffix("s") in _MEASURES}


def _is_share(left: list[Token], behind: list[Token]) -> bool:
    """Whether the left side is a proper fraction and the right one larger: "2/3 = 40" says what two thirds are."""
    fraction = [token for token in left if token.kind not in ("open", "close")]
    if len(fraction) != 3 or fraction[1].text != "/" or not fraction[0].value < fraction[2].value:
        return False
    return any(token.kind == "number" and token.value > 1 for token in behind[:3])


def _holds(left: list[Token], right: list[Token]) -> bool | None:
    """Whether both sides are equal in some reading, up to the rounding that they show.

    In a running sum "5 + 3 = 8 + 2 = 10" a side equals the beginning of the next.
    """
    compared = False
    for (one, a), (other, b) in product(_readings(left), _readings(right)):
        compared = True
        if _starts_with(other, a) or a == b or abs(a - b) < _tolerance(one, other, max(abs(a), abs(b))):
            return True
    return False if compared else None


def _readings(side: list[Token]) -> list[tuple[list[Token], Fraction]]:
    """The possible readings of a side, each with its value: percentages as numbers or as fractions, products without
    signs before others or not, numbers at its edges in each of their readings."""
    sides = [side]
    for place in (0, len(side) - 1):
        sides += [
            [*side[:place], side[place]._replace(value=value), *side[place + 1 :]] for value in side[place].others
        ]
    percents = (Fraction(1), _PERCENT) if any(token.percent for token in side) else (Fraction(1),)
    found: dict[Fraction, list[Token]] = {}
    for one, percent, tight in product(sides, percents, (False, True)):
        if (value := evaluate(one, percent, tight=tight)) is not None:
            found.setdefault(value, one)
    return [(one, value) for value, one in found.items()]


def _starts_with(right: list[Token], value: Fraction) -> bool:
    """Whether ``right`` begins with ``value``, perhaps followed by the number of a list's next item: "250.3."."""
    first, sign = (right[1], -1) if right[0].text == "-" else (right[0], 1)
    return first.kind == "number" and sign * value in (first.value, *first.others)


def _tolerance(left: list[Token], right: list[Token], size: Fraction) -> Fraction:
    """How much two sides must differ to be unequal: one unit in the last decimal of a result, and what rounded operands
    may have lost."""
    allowed = Fraction(0)
    for side in (left, right):
        if not _calculates(side) and side[-1].decimals:
            allowed += Fraction(1, 10 ** side[-1].decimals)
        for token in side:
            if _calculates(side) and token.decimals >= _MIN_ROUNDED_DECIMALS and token.value:
                allowed += size * Fraction(1, 2 * 10**token.decimals) / abs(token.value)
    return allowed
