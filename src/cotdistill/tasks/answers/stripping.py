"""A rationale without its closing statement of the answer, with its layout kept and its marks in pairs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from textwrap import dedent
from typing import NamedTuple

from cotdistill.tasks.answers.statements import openers, opening_start
from cotdistill.tasks.answers.types import first_sentence
from cotdistill.tasks.reasoning import without_marks

_GIVES_REASON = re.compile(r"\b(?:because|since|as|so|but)\b", re.IGNORECASE)
_MAX_CLOSING = 120
"""Characters of the longest answer that closes a rationale; more is reasoning."""

_MARKS_ALONE = re.compile(r"^[ \t]*(?:\\[\[\]()]|\$\$|```|\*\*)[ \t]*(?:\n|\Z)", re.MULTILINE)
_BULLET = re.compile(r"(?:(?<=\n)|\A)[ \t]*(?:[*>-]|#{1,6})?[ \t]*\Z")
_MAX_BULLET = 40
_COMMAND = re.compile(r"\\[a-z]{1,20}\Z")

_MARK = re.compile(r"\\.|```|\$\$|\*\*|[()\[\]{}$\"“”]", re.DOTALL)
_CLOSER = {"(": ")", "[": "]", "{": "}", r"\(": r"\)", r"\[": r"\]", "“": "”"}
_CLOSER |= {mark: mark for mark in ("```", "$$", "**", "$", '"')}
_OPENER = {closer: opener for opener, closer in _CLOSER.items()}


def clean_rationale(text: str) -> str:
    """The rationale alone: no closing statements of the answer, no tags around thinking, no margin.

    Indentation relative to the margin, blank lines and spaces within lines stay as they are. Cleaning again changes
    nothing.
    """
    return split_statement(dedent(without_marks(text.replace("\r\n", "\n"))).strip())[0]


def split_statement(rationale: str) -> tuple[str, str | None]:
    """``rationale`` without its closing "(So) the answer is ...", and what that statement says, or None.

    A statement closes a rationale if nothing but the answer follows it: "the answer is 5 because ..." is part of the
    rationale. Of several in a row, all are removed and the last is returned. A bracket, quote or other mark that opens
    in the rationale and closes in the statement is closed at the end of the rationale; an empty pair is removed.
    """
    end, closing = len(rationale), None
    for start, begin in reversed(openers(rationale)):
        stated = rationale[begin:end].strip()
        if not _only_answer(stated):
            break
        closing = stated if closing is None else closing
        end = _without_bullet(rationale, opening_start(rationale, start))
    if closing is None:
        return rationale.strip(), None
    return _closed(rationale, end).strip(), closing


def _only_answer(stated: str) -> bool:
    if len(stated) > _MAX_CLOSING or _GIVES_REASON.search(stated):
        return False
    stated = _MARKS_ALONE.sub("", stated).strip(" \n:")
    return first_sentence(stated).rstrip(_ENDS) == stated.rstrip(_ENDS)


_ENDS = '.!* )]}"”`'


def _without_bullet(text: str, end: int) -> int:
    """``end`` without the blank, bullet or heading mark that the statement's line begins with."""
    start = max(0, end - _MAX_BULLET)
    line = _BULLET.search(text, start, end)
    return line.start() if line else end


class Pair(NamedTuple):
    """Two marks that belong together, by their places; ``end`` is the closing one's, or None where there is none."""

    mark: str
    start: int
    end: int | None


def pairs(text: str) -> Iterator[Pair]:
    """A mark that is the same on both sides closes the last one open. A dollar before a digit opens: "$5" or "$5$"."""
    opened: dict[str, list[int]] = {}
    for match in _MARK.finditer(text):
        mark = match[0]
        opens = mark in _CLOSER and (mark not in _OPENER or not opened.get(mark))
        if opens or (mark == "$" and text[match.end() : match.end() + 1].isdigit()):
            opened.setdefault(mark, []).append(match.start())
        elif opened.get(opener := _OPENER.get(mark, "")):
            yield Pair(opener, opened[opener].pop(), match.start())
    for mark, starts in opened.items():
        yield from (Pair(mark, start, None) for start in starts)


def _closed(text: str, end: int) -> str:
    """``text`` up to ``end``, with the marks closed there that close only behind it, and a full stop for a comma."""
    broken = [pair for pair in pairs(text) if pair.start < end and (pair.end is None or pair.end >= end)]
    kept, closers = text[:end].rstrip(), ""
    for pair in sorted(broken, key=lambda pair: pair.start, reverse=True):
        if pair.start + len(pair.mark) >= len(kept):  # nothing stands behind it
            kept = _COMMAND.sub("", kept[: pair.start]).rstrip()
        elif pair.end is not None:
            closers += "\n```" if pair.mark == "```" else _CLOSER[pair.mark]
    return f"{kept[:-1]}{closers}." if kept.endswith((",", ";")) else kept + closers
