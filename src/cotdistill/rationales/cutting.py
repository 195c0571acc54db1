"""Where a text can be cut: behind a whole sentence, never within LaTeX, code, a list, a table or a pair of marks."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

from cotdistill.tasks.answers.stripping import pairs
from cotdistill.tasks.answers.types import is_abbreviated

Span = tuple[int, int]

_SENTENCE_END = re.compile(r"(?:[.!?…]+[\"'”’)\]*_`]*(?=\s))|[。！？]+[”’」』）]*")
_LINE_END = re.compile(r"\S(?=[ \t]*\n)")
_GOES_ON = frozenset(",;:=+-*/<>&(\\")
"""A line that ends in one of these is no whole sentence."""
_NUMBER = r"\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,4})[.)]"
_ITEM = re.compile(rf"[ \t]*(?:[-*+•–]|{_NUMBER})[ \t]+\S")
_ROW = re.compile(r"[ \t]*\|")
_LIST_NUMBER = re.compile(rf"[ \t]*{_NUMBER}")
_BLOCKS = re.compile(r"\\begin\{(?P<name>[^{}\n]{1,40})\}.*?\\end\{(?P=name)\}|`[^`\n]+`", re.DOTALL)
_WHOLE = ("```", "$$", r"\[")
"""Marks whose pairs go over blank lines; all others end with their paragraph."""


def cut(text: str, most: int) -> str | None:
    """The longest beginning of ``text`` that ends with a whole sentence and has at most ``most`` characters, or None.

    A list or a table is kept or left out as a whole, unless nothing stands before it: then it is cut between two of its
    items or rows.
    """
    sentences = _ends(text)
    for ends in (_outside(sentences, _lists(text)), sentences):
        if fitting := bisect_right(ends, most):
            return text[: ends[fitting - 1]]
    return None


def first_share(text: str, share: float) -> str:
    """The first ``share`` of the sentences of ``text``, rounded up; all of a text of one sentence."""
    ends = [*_ends(text), len(text.rstrip())]
    return text[: ends[math.ceil(round(share * len(ends), 6)) - 1]]


def _ends(text: str) -> list[int]:
    """Where a sentence, an item or a row ends outside LaTeX, code and pairs of marks; the end of the text is none."""
    ends = {end.end() for end in _SENTENCE_END.finditer(text) if not _goes_on(text, end)} | set(_line_ends(text))
    last = len(text.rstrip())
    return _outside(sorted(end for end in ends if end < last), [*_blocks(text), *_paired(text)])


def _goes_on(text: str, end: re.Match[str]) -> bool:
    """Whether these marks do not end the sentence that they stand in."""
    line_start = text.rfind("\n", 0, end.start()) + 1
    if end[0] == "." and _LIST_NUMBER.fullmatch(text, line_start, end.end()):
        return True
    following = text[end.end() : end.end() + 40].split(maxsplit=1)
    if not following or "\n\n" in text[end.end() : end.end() + 40].partition(following[0])[0]:
        return False
    line_end = text.find("\n", end.end())
    line = text[line_start : line_end if line_end >= 0 else len(text)]
    is_abbreviation = end[0] == "." and is_abbreviated(line, end.start() - line_start)
    return is_abbreviation or following[0][0].islower()


def _line_ends(text: str) -> Iterator[int]:
    """Ends of lines that were broken on purpose: at a blank line, or where the next line's first word had had room."""
    width = max(map(len, text.splitlines()), default=0)
    for end in _LINE_END.finditer(text):
        start = text.rfind("\n", 0, end.start()) + 1
        if end[0] in _GOES_ON:
            continue
        behind = text[end.end() :][:200]
        following = behind.lstrip()
        first = following.split(maxsplit=1)[:1] or [""]
        is_blank = behind[: len(behind) - len(following)].count("\n") > 1
        has_room = end.end() - start + 1 + len(first[0]) <= width and not first[0][:1].islower()
        if is_blank or has_room or _ITEM.match(following) or _ROW.match(following):
            yield end.end()


def _blocks(text: str) -> Iterator[Span]:
    return (block.span() for block in _BLOCKS.finditer(text))


def _paired(text: str) -> Iterator[Span]:
    """From a mark to the one that closes it; a fence that nothing closes goes on to the end."""
    for pair in pairs(text):
        end = pair.end if pair.end is not None or pair.mark not in _WHOLE else len(text)
        if end is not None and (pair.mark in _WHOLE or "\n\n" not in text[pair.start : end]):
            yield pair.start, end + 1


def _lists(text: str) -> Iterator[Span]:
    """Lists of two items or more and tables, from the first to the last line; what is indented goes on with an item."""
    start, last, items, place = None, 0, 0, 0
    for line in text.splitlines(keepends=True):
        is_item = bool(_ITEM.match(line) or _ROW.match(line))
        if is_item:
            start, items, last = (place if start is None else start), items + 1, place + len(line.rstrip())
        elif start is not None and line.strip():
            if line[0] in " \t":
                last = place + len(line.rstrip())
            else:
                if items > 1:
                    yield start, last
                start, items = None, 0
        place += len(line)
    if start is not None and items > 1:
        yield start, last


def _outside(ends: list[int], spans: Iterable[Span]) -> list[int]:
    """Those of the ascending ``ends`` that no span holds inside itself."""
    held: set[int] = set()
    for start, end in spans:
        held.update(ends[bisect_right(ends, start) : bisect_left(ends, end)])
    return [end for end in ends if end not in held]
