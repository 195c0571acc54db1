"""The tokens of a numeric expression: numbers in every common notation, number words, signs, brackets and words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal, NamedTuple

MAX_DIGITS = 60

Kind = Literal["number", "word", "command", "sign", "open", "close", "equals", "relation", "comma", "stop", "other"]


class Token(NamedTuple):
    """``text`` of a word is in lower case unless it is one letter; ``value`` is that of a number.

    ``touches``: no space stands before it. ``spelled``: a number in words. ``whole``: digits alone, without separators.
    """

    kind: Kind
    text: str
    value: Fraction = Fraction(0)
    touches: bool = False
    spelled: bool = False
    whole: bool = False


_NUMBER = r"""
      (?P<grouped> (?: [1-9][0-9]{0,2}(?:,[0-9]{3})+ | [1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3} )
        (?:\.[0-9]+)? (?![0-9]|,[0-9]) )
    | (?P<spaced> [1-9][0-9]{0,2}(?:\ [0-9]{3}|'[0-9]{3})+ (?:[.,][0-9]+)? (?![0-9]|[.,'/][0-9]|\ [0-9]) )
    | (?P<dotted> [0-9]{1,3}(?: (?:\.[0-9]{3})+,[0-9]+ | (?:\.[0-9]{3}){2,} ) (?![0-9]|[.,][0-9]) )
    | (?P<comma_decimal> (?: [0-9]{1,3},(?:[0-9]{1,2}|[0-9]{4,}) | 0,[0-9]+ ) (?![0-9]|[.,][0-9]) )
    | (?P<plain> (?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+) (?:[eE][-+]?[0-9]{1,3}(?!\w|\.[0-9]))? )
"""
_TOKEN = re.compile(
    rf"""
      (?P<space> [\ \t\r\f\v\xa0]+ )
    | (?P<number> {_NUMBER} )
    | (?P<word> [^\W\d_]+(?:['-][^\W\d_]+)* )
    | (?P<command> \\[A-Za-z]+ )
    | (?P<relation> [<>≤≥≠±] | ->|=>|[→⇒] )
    | (?P<sign> \*\*|[-+*/^!] )
    | (?P<open> [(\[{{] ) | (?P<close> [)\]}}] )
    | (?P<equals> == | = | ≈ | ~ )
    | (?P<comma> [,;:&] )
    | (?P<stop> [.?\n]+ )
    | (?P<skip> [%°$€£¥₹₩₽¢"“”„«»`_]+ | \\(?![A-Za-z]) )
    | (?P<other> . )
    """,
    re.VERBOSE,
)


def tokenise(text: str) -> list[Token]:
    """The tokens of ``text``, which :func:`~cotdistill.tasks.answers.typography.number_text` has made plain."""
    tokens: list[Token] = []
    touches = True
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind in ("space", "skip"):
            touches = touches and kind == "skip"
            continue
        token = _token(match, touches)
        tokens.append(token)
        touches = True
    return _spelled(tokens)


def _token(match: re.Match[str], touches: bool) -> Token:
    if match["number"] is None:
        kind, text = match.lastgroup, match[0]
        assert kind is not None
        return Token(kind, text.lower() if len(text) > 1 else text, touches=touches)  # pyright: ignore[reportArgumentType]
    text = match[0]
    if match["grouped"]:
        text = text.replace(",", "")
    elif match["spaced"]:
        text = text.replace(" ", "").replace("'", "").replace(",", ".")
    elif match["dotted"]:
        text = text.replace(".", "").replace(",", ".")
    elif match["comma_decimal"]:
        text = text.replace(",", ".")
    if len(text) > MAX_DIGITS or abs(int((re.search(r"[eE](.*)", text) or ["", "0"])[1])) > MAX_DIGITS:
        return Token("other", match[0], touches=touches)
    return Token("number", match[0], Fraction(text), touches, whole=match[0].isdigit())


# ---- numbers in words -----------------------------------------------------------------------------------------------

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: value for value, word in enumerate(_UNITS.split())} | {
    word: 10 * (index + 2) for index, word in enumerate(_TENS.split())
}
MAGNITUDES = {
    "hundred": 100, "thousand": 1000, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12, "dozens": 12,
    "lakh": 10**5, "crore": 10**7, "mn": 10**6, "mln": 10**6, "bn": 10**9, "k": 1000, "K": 1000,
}  # fmt: skip
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "eighth": 8, "eighths": 8, "tenth": 10, "tenths": 10,
}  # fmt: skip


def _spelled(tokens: list[Token]) -> list[Token]:
    """``tokens`` with each run of number words as one number."""
    made: list[Token] = []
    words = [part for token in tokens for part in _parts_of(token)]
    place = 0
    while place < len(words):
        value, end = _spelled_at(words, place)
        if value is None:
            made.append(words[place])
            place += 1
        else:
            made.append(Token("number", "", value, words[place].touches, spelled=True))
            place = end
    return made


def _parts_of(token: Token) -> list[Token]:
    """A compound of number words ("twenty-four", "three-quarters") as its words."""
    parts = token.text.split("-")
    if token.kind != "word" or len(parts) == 1 or not all(part in _SMALL or part in _PARTS for part in parts):
        return [token]
    return [Token("word", part, touches=token.touches) for part in parts]


def _spelled_at(words: Sequence[Token], place: int) -> tuple[Fraction | None, int]:
    """The number that is spelled out from ``place`` on, and where it ends; None if there is none."""
    first = words[place]
    if first.kind != "word":
        return None, place
    if first.text in ("a", "an") and _text(words, place + 1) in (*MAGNITUDES, *_PARTS):
        place += 1
        if _text(words, place) in ("quarter", "third"):
            return Fraction(1, _PARTS[_text(words, place)]), place + 1
    if _text(words, place) == "half":
        following = place + 1 + (_text(words, place + 1) in ("a", "an"))
        if _text(words, following) in MAGNITUDES:
            return Fraction(MAGNITUDES[_text(words, following)], 2), following + 1
        return Fraction(1, 2), place + 1
    if _text(words, place) not in _SMALL and words[place] is first:
        return None, place
    total, group, tens, end = 0, 0, False, place
    while end < len(words) and words[end].kind == "word":
        word = words[end].text
        if word in _SMALL and (end == place or group % 100 == 0 or (tens and 0 < _SMALL[word] < 10)):
            group, tens = group + _SMALL[word], _SMALL[word] >= 20
        elif word in MAGNITUDES and len(word) > 3:
            group, tens = (group or 1) * MAGNITUDES[word], False
            if word != "hundred":
                total, group = total + group, 0
        elif not (word == "and" and (total or group >= 100) and _text(words, end + 1) in _SMALL):
            break
        end += 1
    value = Fraction(total + group)
    if 0 < value < 20 and _text(words, end) in _PARTS:  # "two thirds"
        return value / _PARTS[_text(words, end)], end + 1
    return value, end


def _text(words: Sequence[Token], place: int) -> str:
    return words[place].text if place < len(words) and words[place].kind == "word" else ""
