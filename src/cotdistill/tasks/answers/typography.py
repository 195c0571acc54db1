"""Typography: Unicode, markdown and LaTeX that stand for the same characters, in one plain form."""

from __future__ import annotations

import re
import unicodedata

_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)} | {0x3000: " ", 0x3002: ". ", 0xFF61: ". "}

_BOLD = re.compile(r"(?<!\w)\*\*|\*\*(?!\w)|`")
_LATEX_TEXT = re.compile(
    r"\\(?:text(?:bf|it|rm|sf|tt)?|math(?:bf|it|rm|sf|bb)|mbox|emph|underline)\s?\{([^{}]{0,200})\}"
)
_LATEX_FRACTION = re.compile(r"\\[dtc]?frac\s?\{([^{}]{1,50})\}\s?\{([^{}]{1,50})\}")
_LATEX_BOX = re.compile(r"\\(?:boxed|fbox)\s?\{([^{}]{1,200})\}")
_BOX = re.compile(r"\\(?:boxed|fbox)")
_MAX_BOX = 300
"""Characters of the longest answer in a box; MATH's own have up to 160."""


def fold(text: str) -> str:
    """``text`` with full-width forms ("（Ｂ）", "１２", "。") as their ASCII counterparts."""
    return text if text.isascii() else text.translate(_FULL_WIDTH)


def plain(text: str) -> str:
    """``text`` without markdown's bold and code marks and without LaTeX's boxes, fractions and text commands."""
    text = _BOLD.sub("", text)
    if "\\" not in text:
        return text
    return _LATEX_BOX.sub(r"\1", _LATEX_FRACTION.sub(r"\1/\2", _LATEX_TEXT.sub(r"\1", text)))


def boxes(text: str) -> list[tuple[int, int, str]]:
    """Every whole ``\\boxed{...}`` and ``\\fbox{...}``: where it begins and ends, and what it holds."""
    found = []
    for command in _BOX.finditer(text):
        if (held := _held(text, command.end())) is not None:
            found.append((command.start(), held[1], held[0]))
    return found


def last_box(text: str) -> tuple[str, str] | None:
    """The last whole box in ``text``, from its backslash to its brace, and what it holds; None where there is none."""
    *_, last = [None, *boxes(text)]
    return (text[last[0] : last[1]], last[2]) if last else None


def _held(text: str, opening: int) -> tuple[str, int] | None:
    """What the braces at ``opening`` hold, and where they end; None where they do not close."""
    opening += text[opening : opening + 1] == " "
    if text[opening : opening + 1] != "{":
        return None
    depth = 0
    for end in range(opening, min(len(text), opening + _MAX_BOX + 2)):
        depth += (text[end] == "{") - (text[end] == "}")
        if depth == 0:
            return text[opening + 1 : end], end + 1
    return None


# ---- numbers --------------------------------------------------------------------------------------------------------

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻"
_RAISED_RUN = re.compile(f"[{_RAISED}]+")
_LOWERED = str.maketrans(_RAISED, "0123456789+-")
_SIGNS = str.maketrans(
    dict.fromkeys("‐‑‒–—―−﹣－", "-")
    | dict.fromkeys("×·⋅∙∗•", "*")
    | dict.fromkeys("÷⁄∕", "/")
    | dict.fromkeys("≈≃≅∼", "≈")
    | dict.fromkeys("≤⩽", "≤")
    | dict.fromkeys("≥⩾", "≥")
    | dict.fromkeys("‘’ʼ′", "'")
    | {"√": "\\sqrt"}
)
_COMMANDS = {
    **dict.fromkeys(("times", "cdot", "ast"), "*"),
    **dict.fromkeys(("approx", "sim", "simeq", "cong"), "≈"),
    **dict.fromkeys(("le", "leq", "leqslant"), "≤"),
    **dict.fromkeys(("ge", "geq", "geqslant"), "≥"),
    **dict.fromkeys(("left", "right", "displaystyle", "big", "Big", "bigl", "bigr"), ""),
    **dict.fromkeys(("quad", "qquad"), " "),
    **dict.fromkeys(("dfrac", "tfrac", "cfrac"), "\\frac"),
    **dict.fromkeys(("circ", "degree"), "°"),
    "div": "/", "pm": "±", "mp": "±", "ne": "≠", "neq": "≠", "lt": "<", "gt": ">", "surd": "\\sqrt",
}  # fmt: skip
_COMMAND = re.compile(r"\\([A-Za-z]+)")
_SPACE = re.compile(r"\\[,;: ]|(?<=\d)~")
_TAG = re.compile(r"</?[A-Za-z]{1,10} ?/?>")
_DEGREES = re.compile(r"\^\s?\{?\s?°\s?\}?")
_SHORT_FRACTION = re.compile(r"\\frac\s?([0-9])\s?([0-9])")
_EMPHASIS = re.compile(r"(?<![\w)}*])\*(?=[^\s*])|(?<=[^\s*])\*(?!\s*(?:[\w(\\*{$]|\.[0-9]))")
_CURRENCY_CODE = re.compile(r"\b(?:US|AU?|CA?|NZ|HK|SG?)(?=\$)|\bRs\.?(?=\s?\d)|\b(?:USD|EUR|GBP|INR|CAD|AUD)\s?(?=\d)")


def number_text(text: str) -> str:
    """``text`` as the reader of numbers takes it: ASCII digits, signs and spaces, and only LaTeX that has a value."""
    if not text.isascii():
        text = "".join(map(_vulgar, text)).translate(_SIGNS) if _has_vulgar(text) else text.translate(_SIGNS)
        text = _RAISED_RUN.sub(lambda run: f"^{{{run[0].translate(_LOWERED)}}}", text)
        text = unicodedata.normalize("NFKC", text.translate(_FULL_WIDTH)).translate(_SIGNS)
    text = _TAG.sub(" ", _BOLD.sub("", text))
    if "\\" in text:
        text = _LATEX_TEXT.sub(r" \1 ", text.replace("\\!", "").replace("{,}", ","))
        text = _COMMAND.sub(lambda command: _COMMANDS.get(command[1], command[0]), _SPACE.sub(" ", text))
        text = _SHORT_FRACTION.sub(r"\\frac{\1}{\2}", text) if "frac" in text else text
        text = re.sub(r"\\(?=[$%#&()\[\]{}])", "", text) if "\\" in text else text
    text = _DEGREES.sub("°", text.replace("{,}", ","))
    return _CURRENCY_CODE.sub("", _EMPHASIS.sub("", text))


def _has_vulgar(text: str) -> bool:
    return any(unicodedata.decomposition(mark).startswith("<fraction>") for mark in text if not mark.isascii())


def _vulgar(mark: str) -> str:
    if mark.isascii() or not unicodedata.decomposition(mark).startswith("<fraction>"):
        return mark
    above, _, below = unicodedata.normalize("NFKC", mark).partition("⁄")
    return f"\\frac{{{above}}}{{{below}}}" if below else mark
