"""Texts of users and models made harmless where they are shown, and kept readable."""

from __future__ import annotations

import re
import unicodedata

_HIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_SHAPING = "\u200c\u200d"
"""Format characters that several scripts are written with."""


def one_line(text: str) -> str:
    """``text`` without line breaks, control characters and characters that reorder others."""
    return " ".join("".join(" " if unicodedata.category(c) in _HIDDEN else c for c in text).split())


def block(text: str, width: int = 2000) -> str:
    """``text`` with its lines, every hidden character shown as U+FFFD, and without its middle if longer than ``width``.

    No line begins or ends anything but itself: whatever else breaks a line becomes a line break.
    """
    if len(text) > width:
        text = f"{text[: width // 2]} [...] {text[-(width // 2) :]}"
    lines = re.split(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]", text)
    return "\n".join("".join(map(_seen, line.expandtabs(4))).rstrip() for line in lines).strip("\n")


def _seen(character: str) -> str:
    hidden = unicodedata.category(character) in _HIDDEN and character not in _SHAPING
    return "\ufffd" if hidden else character


def short(text: str, width: int = 40) -> str:
    """``text`` on one line without its middle where it is longer than ``width``: names often differ at their ends."""
    line = one_line(text)
    kept = width - 3
    return line if len(line) <= width else f"{line[: kept - kept // 2]}...{line[-(kept // 2) :]}"


def markdown_text(text: str) -> str:
    """``text`` on one line, escaped: Markdown shows it as it is, in a table cell too, and no HTML comes through."""
    return escape_markdown(one_line(text))


def escape_markdown(line: str) -> str:
    line = line.replace("&", "&amp;").replace(">", "&gt;")
    line = re.sub(r"<(?! )", "&lt;", line)  # before a space it opens no tag, as in "p < 0.05"
    line = re.sub(r"([\\`*\[\]|~#])", r"\\\1", line)
    return re.sub(r"(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9])", r"\\_", line)  # within a word it is no markup


def markdown_block(text: str) -> str:
    """``text`` as an indented block of code, in which nothing is markup."""
    return "".join(f"    {line}\n" for line in block(text).split("\n"))
