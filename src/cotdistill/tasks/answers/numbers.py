"""Numbers: from the words that state one to its canonical form, or None if they have no reading or two.

The whole expression is read or nothing: units, words and a reason after a number are fine, but a number that is part of
something larger (a variable's coefficient, a bound, a range, one of several) is not read.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from fractions import Fraction

from cotdistill.tasks.answers.expressions import Expression, read_expression, written
from cotdistill.tasks.answers.tokens import Token, tokenise
from cotdistill.tasks.answers.typography import number_text


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LEADS = _words(
    "about approximately approx roughly around exactly precisely simply just only equal equals to a total of the is be "
    "therefore thus now nearly almost clearly probably likely definitely actually indeed then also again that"
)
"""Words before a number that say no more than that it comes."""
_BLOCKS = _words(
    "not no none never neither nor unknown unclear undefined undetermined cannot can't least most than over under above"
    " below between within beyond exceeds exceeding up either if unless except twice double triple times root log power"
    " more less fewer greater larger smaller bigger consistent inconsistent depends ln sin cos tan"
)
"""Words before a number that make it another one, a bound, or no answer."""
_REASONS = _words("because since as when where given assuming provided")
_ENDS = _REASONS | _words("which so due while whereas whenever but if unless hence thus therefore after before")
"""Words behind a number with which something else begins."""
_JOINS = _words("and or to than of out per by times & through versus vs against over plus minus")
_ALTERS = _words("squared cubed factorial pi remainder mod modulo halves thirds fifths")
_BOUND = re.compile(r"\b(?:at|or) (?:the )?(?:least|most|more|less|fewer|greater|higher|lower|above|below|so)\b")
_ABBREVIATIONS = _words("approx rs no mr mrs ms dr st ca est eq fig")
_UNITS = _words(
    "m g s h l L W V J C F K a I cm mm km kg mg lb lbs oz ft in yd mi hr hrs min mins sec secs ms mph kph am pm st nd "
    "rd th sq cc ml dl cl gb mb kb tb hz khz mhz ghz kwh wh mol pa kpa cal kcal qt pt gal pts rpm ha ppm db kv kw mw "
    "ma usd eur gbp"
)
"""Short units; a longer word behind a number is one, a shorter one a variable."""
_SCALES: tuple[dict[str, int], ...] = (
    {"week": 604800, "day": 86400, "hour": 3600, "hr": 3600, "h": 3600, "minute": 60, "min": 60, "second": 1, "sec": 1},
    {"yard": 36, "foot": 12, "feet": 12, "ft": 12, "inch": 1, "inche": 1},
    {"pound": 16, "lb": 16, "ounce": 1, "oz": 1},
)
"""Units of one quantity, each with how many of the smallest it is."""

_CANONICAL = re.compile(r"-?(?:0|[1-9][0-9]{0,49})")
_SIMPLE = re.compile(r"\$?(-?(?:0|[1-9][0-9]{0,49}))(?:\.?\s*|\.\s[^0-9]*)")
"""Most statements and most gold answers: read at once, which is what makes large data sets fast."""

Tokens = Sequence[Token]


def read_number(text: str) -> str | None:
    """The number that the first sentence of ``text`` states: at its start, after its last "=", or the only one."""
    if simple := _SIMPLE.fullmatch(text):
        return "0" if simple[1] == "-0" else simple[1]
    sides = _sides(_with_operators(_first_sentence(tokenise(number_text(text)))))
    found = _agreed(sides) if sides else None
    return written(found.value, divided=found.divided) if found else None


def gold_number(text: str, *, units: bool = True) -> str | None:
    """The number that all of ``text`` is, except for a currency, a percent sign and ``units``; else None.

    Without ``units`` it must be in digits. Float noise is read as the intended number: 0.30000000000000004 as
    0.3, a float32's 0.10000000149011612 as 0.1.
    """
    text = text.strip()
    if _CANONICAL.fullmatch(text):
        return "0" if text == "-0" else text
    tokens = tokenise(number_text(_without_noise(text)))
    if tokens and tokens[-1].kind == "stop":
        tokens.pop()
    found = read_expression(tokens, 0) if tokens else None
    if found is None or not (found.plain or any(token.text == "10" for token in tokens)):
        return None
    if not units and any(token.spelled for token in tokens):
        return None
    rest = tokens[found.end :]
    if rest and not (units and all(token.kind == "word" and _is_unit(token) for token in rest)):
        return None
    return written(found.value, divided=found.divided)


def _without_noise(text: str) -> str:
    """A decimal with more digits than a float holds, as the shorter number of which it is the float."""
    if not re.fullmatch(r"-?[0-9]{1,20}\.[0-9]{5,40}(?:[eE][-+]?[0-9]{1,2})?", text):
        return text
    if _num_digits(text) < 16:
        return text
    value = float(text)
    for short in (f"{value:.15g}", f"{value:.14g}"):
        if _num_digits(short) <= 12:
            return short
    single = f"{value:.7g}"
    return single if abs(value) < 1e38 and struct.unpack("f", struct.pack("f", float(single)))[0] == value else text


def _num_digits(number: str) -> int:
    """Significant digits."""
    return len(re.sub(r"[eE].*|[-.]", "", number).lstrip("0"))


# ---- a sentence and its sides ---------------------------------------------------------------------------------------


def _first_sentence(tokens: list[Token]) -> list[Token]:
    """The tokens up to the first full stop, question mark or line break outside of brackets."""
    depth = start = 0
    while start < len(tokens) and (tokens[start].kind == "stop" or tokens[start].text in (":", "*", "~", "≈")):
        start += 1
    for place in range(start, len(tokens)):
        token = tokens[place]
        depth = max(0, depth + (token.kind == "open") - (token.kind == "close"))
        abbreviated = token.text == "." and tokens[place - 1].text in _ABBREVIATIONS and place + 1 < len(tokens)
        if token.kind == "stop" and not depth and not abbreviated:
            return tokens[start:place]
    return tokens[start:]


def _with_operators(tokens: list[Token]) -> list[Token]:
    """``tokens`` with "plus", "times", "divided by", "x" between numbers, and "negative" before one, as signs."""
    signs = {"plus": "+", "minus": "-", "times": "*", "x": "*", "X": "*", "multiplied": "*", "divided": "/"}
    made: list[Token] = []
    for place, token in enumerate(tokens):
        following = tokens[place + 1] if place + 1 < len(tokens) else token
        if token.text == "by" and made and made[-1].text in "*/" and made[-1].kind == "sign":
            continue
        if following.text == "by" and token.text in ("multiplied", "divided") and place + 2 < len(tokens):
            following = tokens[place + 2]
        is_value = following.kind in ("number", "open") or following.text == "\\frac"
        behind_value = bool(made) and made[-1].kind in ("number", "close")
        if token.kind == "word" and token.text in signs and behind_value and is_value:
            token = Token("sign", signs[token.text], touches=token.touches)
        elif token.text in ("negative", "minus") and following.kind == "number":
            token, tokens[place + 1] = Token("sign", "-"), following._replace(touches=True)
        made.append(token)
    return made


def _sides(tokens: Tokens) -> list[list[Token]] | None:
    """The sides of the equation that a sentence is, without the reason behind it; None where it has no one reading."""
    ends = _ENDS if all(map(_leads, tokens[: _head(tokens) or 0])) else _REASONS
    sides: list[list[Token]] = [[]]
    depth, has_number = 0, False
    for place, token in enumerate(tokens):
        if depth <= 0:
            if token.kind == "relation" or _assigns_another(tokens, place, sides):
                return None
            if has_number and (token.text in ends or _begins_remark(tokens, place, ends)):
                break
            if token.kind == "equals":
                sides.append([])
                continue
        depth += (token.kind == "open") - (token.kind == "close")
        has_number |= token.kind == "number"
        sides[-1].append(token)
    return [side for side in sides if side]


def _leads(token: Token) -> bool:
    return token.text in _LEADS or token.kind == "comma" or len(token.text) == 1


def _assigns_another(tokens: Tokens, place: int, sides: list[list[Token]]) -> bool:
    """Whether a second equation begins here: "x = 2, y = 3"."""
    if len(sides) < 2 or not (tokens[place].kind == "comma" or tokens[place].text in ("and", "or")):
        return False
    named = [
        token for token in tokens[place + 1 : place + 4] if token.text not in ("and", "or") and token.kind != "comma"
    ]
    named = [token for token in named if token.kind != "command"]
    return len(named) > 1 and named[0].kind == "word" and named[1].kind == "equals"


def _begins_remark(tokens: Tokens, place: int, ends: frozenset[str]) -> bool:
    """Whether what follows here, behind a number, is a remark: a comma and words, or words in brackets."""
    token, following = tokens[place], tokens[place + 1 : place + 2]
    if not following or ends is _REASONS:
        return False
    if token.kind == "comma":
        return token.text != "&" and following[0].kind == "word" and following[0].text not in _JOINS
    is_remark = following[0].spelled or (following[0].kind == "word" and following[0].text not in _JOINS)
    return token.text == "(" and not token.touches and is_remark


def _agreed(sides: list[list[Token]]) -> Expression | None:
    """The value of the last side, with which the others agree: names have none, and calculations may be wrong."""
    *earlier, last = sides
    values = [_value(side) for side in earlier]
    final = _value(last)
    if final is None:
        return values[0] if len(values) == 1 and not any(token.kind == "number" for token in last) else None
    for side, value in zip(earlier, values, strict=True):
        if value is None and _has_variable_and_number(side):
            return None
        if value and value.value != final.value and ((value.plain and not value.divided) or not final.plain):
            return None
    return final


def _has_variable_and_number(side: Tokens) -> bool:
    """ "3x" or "x + 2" on one side: what the other side states is not an answer. Not "f(2)" or "x_1"."""
    outer: list[Token] = []
    depth = 0
    for token in side:
        depth += token.kind == "open"
        if not depth:
            outer.append(token)
        depth -= token.kind == "close"
    has_letter = any(token.kind == "word" and len(token.text) <= 2 and token.text not in _LEADS for token in outer)
    # a number that touches what stands before it is an index: "x_1"
    return has_letter and any(
        token.text == "^" or (token.kind == "number" and not (place and token.touches))
        for place, token in enumerate(outer)
    )


# ---- one side -------------------------------------------------------------------------------------------------------


def _value(side: Tokens) -> Expression | None:
    """The value that one side of an equation states, or None."""
    if len(side) > 2 and side[0].text == "(" and side[-1].text == ")" and side[1].kind == "number":
        side = side[1:-1] if all(token.kind not in ("open", "close") for token in side[1:-1]) else side
    head = _head(side)
    found = read_expression(side, head) if head is not None else None
    if head is None or found is None or (side[head].spelled and _is_word(side, found.end, "of")):
        return None
    if all(map(_leads, side[:head])):
        return _compound(side, head) or (found if _stands_alone(side[found.end :]) else None)
    rest = [token for token in side[found.end :] if token.kind == "number" and token.value != found.value]
    return found if not rest and _stands_alone(side[found.end :]) else None


def _head(side: Tokens) -> int | None:
    """Where the first expression of ``side`` begins; None where a word before it gives it another meaning."""
    for place, token in enumerate(side):
        if token.kind == "word":
            if token.text in _BLOCKS or (len(token.text) == 1 and token.text not in ("a", "I")):
                return None
        elif token.kind == "sign":
            if token.text not in "+-" or (place and token.text == "+"):
                return None
            if place + 1 < len(side) and (not place or side[place + 1].touches):
                return place
        elif token.kind == "number" or token.text in ("\\frac", "\\sqrt", "(", "[", "{"):
            return None if token.touches and place and side[place - 1].kind == "word" else place
        elif token.kind != "comma":
            return None
    return None


def _compound(side: Tokens, head: int) -> Expression | None:
    """A quantity in several units of one kind, "2 hours and 30 minutes", in the smallest of them."""
    total, place, last, scale = Fraction(0), head, 0, None
    while place + 1 < len(side) and side[place].kind == "number" and side[place + 1].kind == "word":
        unit = side[place + 1].text
        unit = unit if unit in ("h", "feet") else unit.removesuffix("s")
        scale = scale or next((scale for scale in _SCALES if unit in scale), None)
        if scale is None or unit not in scale or (last and scale[unit] >= last):
            return None
        total, last = total + side[place].value * scale[unit], scale[unit]
        place += 2
        if place == len(side):
            break
        place += side[place].text in ("and", ",")
    several = place > head + 2
    return Expression(total / last, place, False, False) if several and place == len(side) and last else None


def _stands_alone(rest: Tokens) -> bool:
    """Whether what follows an expression leaves it as it is: units, words, a dash, and no number that joins it."""
    if _BOUND.search(" ".join(token.text for token in rest if token.kind == "word")):
        return False
    joined = False
    for place, token in enumerate(rest):
        if token.kind == "word":
            joined |= token.text in _JOINS
            if token.text in _ALTERS or not _is_unit(token):
                return False
        elif token.kind == "sign":
            if not _belongs_to_unit(rest, place):
                return token.text == "-" and not token.touches and (_is_word(rest, place + 1) or len(rest) == place + 1)
        elif token.kind == "number":
            if place and rest[place - 1].text in "^{":
                continue
            return not (joined or place == 0 or token.touches or [word.text for word in rest[:place]] == ["in"])
        elif token.kind in ("comma", "other"):
            joined = True
            if token.text == ":" and not _is_word(rest, place + 1) and place + 1 < len(rest):
                return False
        elif token.kind in ("command", "relation") or (token.kind == "open" and not place):
            return False
    return True


def _is_unit(token: Token) -> bool:
    """Whether a word behind a number may be its unit and not a variable."""
    if token.text in _UNITS:
        return True
    return len(token.text) > (3 if token.touches else 1)


def _belongs_to_unit(rest: Tokens, place: int) -> bool:
    """The "/" of "km/h", the "^" of "cm^2", the "-" of "12-inch"."""
    sign, following = rest[place].text, rest[place + 1 : place + 2]
    if not following:
        return False
    if sign == "^":
        return place > 0 and rest[place - 1].kind == "word" and following[0].text in ("2", "3", "{")
    return sign in "/-" and following[0].kind == "word" and (sign == "/" or rest[place].touches)


def _is_word(rest: Tokens, place: int, word: str | None = None) -> bool:
    return place < len(rest) and rest[place].kind == "word" and word in (None, rest[place].text)
