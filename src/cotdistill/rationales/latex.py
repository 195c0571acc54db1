r"""LaTeX's arithmetic as plain signs: ``\frac{3 + 5}{2}`` as ((3 + 5)/(2)), ``2\tfrac12`` as 2 1/2, ``x^{2}`` as x^(2).

One pass over the text with a stack for its braces. An unknown command stands for an unknown value.
"""

from __future__ import annotations

import re
from math import isqrt
from typing import NamedTuple

UNKNOWN = "⍰"
"""Stands for anything without a value: a variable, a function, a sum."""


class _Argument(NamedTuple):
    """What is written around a command's next argument, and the argument after it."""

    before: str
    after: str
    following: _Argument | None = None


_FRACTION = _Argument("((", ")", _Argument("/(", "))"))
_WORDS = _Argument(" ", " ")
_TEXTS = "text mathrm textbf mathbf textit mathit textrm mbox operatorname emph boxed fbox"
_ARGUMENTS = {
    **dict.fromkeys(("frac", "dfrac", "tfrac", "cfrac"), _FRACTION),
    **dict.fromkeys(
        [
            "text",
            "mathrm",
            "textbf",
            "mathbf",
            "textit",
            "mathit",
            "textrm",
            "mbox",
            "operatorname",
            "emph",
            "boxed",
            "fbox",
        ],
        _WORDS,
    ),
    **dict.fromkeys(("begin", "end"), _Argument("\n", "\n")),
    "sqrt": _Argument("√(", ")"),
    "pmod": _Argument(" mod (", ")"),
}
_SIZES = "left right big Big bigl bigr Bigl Bigr displaystyle textstyle limits nonumber !"
_NAMES = "le leq ge geq lt gt ne neq equiv sim cong in mid not lfloor rfloor lceil rceil ldots cdots dots vdots to iff"
_ARROWS = "implies Rightarrow rightarrow Longrightarrow Leftrightarrow therefore because quad qquad hline"
_SIGNS = {
    **dict.fromkeys(("times", "cdot", "ast"), " * "),
    **dict.fromkeys(f"{_NAMES} {_ARROWS}".split(), " ; "),
    **dict.fromkeys(
        [
            "left",
            "right",
            "big",
            "Big",
            "bigl",
            "bigr",
            "Bigl",
            "Bigr",
            "displaystyle",
            "textstyle",
            "limits",
            "nonumber",
            "!",
        ],
        "",
    ),
    **dict.fromkeys((",", ";", ":", " "), " "),
    **dict.fromkeys(("[", "]", "(", ")", "{", "}", "|"), "\n"),
    **dict.fromkeys(("approx", "simeq", "doteq"), "≈"),
    **dict.fromkeys(("bmod", "mod"), " mod "),
    "degree": " degrees ",
    "div": " / ",
    "\\": "\n",
    "%": "%",
    "$": "$",
    "&": " ",
    "#": "#",
    "_": "_",
}
_DEGREES = re.compile(r"\^\s?(?:\{\s?\\circ\s?\}|\\circ\b)|°")
_DRAWING = re.compile(r"\[asy\][^\[]{0,5000}\[/asy\]")
_BOLD = re.compile(r"(?<![\w)])\*\*|\*\*(?![\w(])|`")
_SUBSCRIPT = re.compile(r"_\{[^{}]{0,60}\}")
_ALIGNED = re.compile(r"&\s?(?==|\\approx|\\[lg]e)")
_PIECE = re.compile(r"\\([A-Za-z]+)\*?|\\(.)|([{}])|([^\\{}]+)", re.DOTALL)

_UNIT_POWER = re.compile(r"(?<=[a-z]) {1,3}\^(?=[23(])")
_CONTINUED = re.compile(r"\s*\n\s*(?==(?!=))")
_SIMPLE_FRACTION = re.compile(r"\(\(\s?(-?\d{1,15})\s?\)/\(\s?(\d{1,15})\s?\)\)")
_MIXED = re.compile(r"(?<=\d)\s?\((\d{1,9}/\d{1,9})\)")
_ROOT = re.compile(r"√\s?(?:\((\d{1,15})\)|(\d{1,15}))")
_UNICODE = {
    **{mark: f"^{digit}" for digit, mark in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")},
    **dict(zip("½¼¾⅓⅔⅕⅛", (" 1/2", " 1/4", " 3/4", " 1/3", " 2/3", " 1/5", " 1/8"), strict=True)),
    **dict.fromkeys("π±∓∞θαβγΔ", UNKNOWN),
    **dict.fromkeys("\u00a0\u2009\u202f", " "),
    "\u2011": "-",
}
_TRANSLATED = str.maketrans(_UNICODE)


def readable(text: str) -> str:
    """``text`` with LaTeX's arithmetic as plain signs and without bold and code marks; places of tokens refer to it."""
    text = _BOLD.sub("", text).replace("{,}", ",").translate(_TRANSLATED)
    if "\\" in text or "_{" in text or "^{" in text:
        text = _DRAWING.sub(" ", text)
        text = _commands(_ALIGNED.sub(" ", _SUBSCRIPT.sub("_s", _DEGREES.sub(" degrees ", text))))
        text = _UNIT_POWER.sub("^", text)
        text = _MIXED.sub(r" \1", _SIMPLE_FRACTION.sub(r"(\1/\2)", text))
    return _CONTINUED.sub(" ", _ROOT.sub(_root, text.replace("°", " degrees ")))


def _commands(text: str) -> str:
    written: list[str] = []
    closing: list[tuple[str, _Argument | None]] = []  # of each open brace
    expected: _Argument | None = None
    for piece in _PIECE.finditer(text):
        command, brace, plain = piece[1] or piece[2], piece[3], piece[4]
        if plain and expected and not plain.isspace():
            plain, expected = _unbraced(plain, expected, written)
        if plain:
            written.append(plain)
        elif brace == "{":
            power = not expected and bool(written) and written[-1].endswith("^")
            argument = expected or (_Argument("(", ")") if power else _Argument("{", "}"))
            written.append(argument.before)
            closing.append((argument.after, argument.following))
            expected = None
        elif brace:
            after, expected = closing.pop() if closing else ("}", None)
            written.append(after)
        elif command:
            if command == "sqrt" and text.startswith("[", piece.end()):
                written.append(UNKNOWN)
            elif argument := _ARGUMENTS.get(command):
                expected = argument
            else:
                written.append(_SIGNS.get(command, UNKNOWN))
    return "".join(written)


def _unbraced(plain: str, expected: _Argument, written: list[str]) -> tuple[str, _Argument | None]:
    """``plain`` without the arguments of one character with which it begins, "12" of ``\\frac12``, and what is still
    expected."""
    rest, argument = plain.lstrip(), expected
    while rest and argument:
        written.append(f"{argument.before}{rest[0]}{argument.after}")
        rest, argument = rest[1:], argument.following
    return rest, argument


def _root(match: re.Match[str]) -> str:
    """The root of a square number, else as it is."""
    number = int(match[1] or match[2])
    root, before = isqrt(number), match.string[max(0, match.start() - 1) : match.start()]
    if root**2 != number:
        return f"{UNKNOWN}({number})"
    return f"({root})" if before.isalnum() or before in (")", UNKNOWN) else f"{root}"
