"""Where an output states its answer: "the answer is", "Answer:", "####", a box, a tag; and what only looks like one.

All patterns are linear or see bounded text, so a megabyte of anything is searched quickly.
"""

from __future__ import annotations

import re
from collections import deque
from itertools import islice
from typing import NamedTuple

from cotdistill.tasks.answers.typography import boxes

MAX_STATEMENTS = 8
"""How many statements are looked at, from the last backwards or the first onwards."""
_MAX_BOX_SEARCH = 20_000
"""Characters at the end, or the start, of an output among which boxes are looked for."""

_IS = r"(?:is|(?:would|should|must|will|has\s{1,3}to)\s{1,3}be|equals|becomes)\b"
_DRESS = r"[\"*_]{0,3}"
_SAID = {  # by words without which a pattern finds nothing; all see text in lower case
    "answer": rf"answer(?<![^\W_]answer)(?:\s{{1,3}}{_IS}|{_DRESS}\s{{0,2}}[:=：]{_DRESS}|[*_# \t]{{0,4}}$|>)",
    "option": rf"\b(?:correct|right|best)\s{{1,3}}option\s{{0,3}}(?:{_IS}|:)",
    "choice": rf"\b(?:correct|right|best)\s{{1,3}}choice\s{{0,3}}(?:{_IS}|:)",
    "####": r"^\#{4}(?!\#)[ \t]{0,3}(?=[^\s\#])",
    "答": r"答案\s?(?:应该|應該)?[是为為:：]{1,2}|答えは",
}
_PATTERNS = {word: re.compile(pattern, re.MULTILINE) for word, pattern in _SAID.items()}
_HEADING = re.compile(r"(?:^|\n)[#*_ \t]{0,8}(?:the )?(?:(?:final|correct) )?$")
"""Before the word "answer" that ends a line, these make the line a heading."""
_REMARKED = re.compile(r"\b(?:this|that|such|each|every|any|no|his|her|their|your|whose|which)\s{1,3}$")
"""Before "answer is", these make it a remark: "this answer is consistent with it"."""

_OPENING = re.compile(
    r"(?:\b(?:so|and so|thus|therefore|hence|finally)\b,?\s{1,3})?(?:\bthe\s{1,3})?"
    r"(?:\b(?:final|correct|right|best)\s{1,3})?$",
    re.IGNORECASE,
)
"""The words before "answer is" that belong to the statement."""
_MAX_OPENING = 60

_CONDITION = re.compile(r"(?:if|suppose|supposing|assuming|unless|had|were|were it)\b", re.IGNORECASE)
_SENTENCE_BREAK = re.compile(r"[.!?]\s|\n")

_IT = r"\W{0,4}(?:(?:that )?(?:it|this) |(?:simply|just) )?"
NO_ANSWER = re.compile(
    rf"{_IT}(?:depends|cannot|can['’]t|could not|can not|impossible|unknown|undetermined|indeterminate|unclear"
    r"|ambiguous|uncertain|undefined|unanswerable|not (?:known|determinable|possible|clear|enough|given|unique)"
    r"|there is no|no (?:answer|solution)|none of|insufficient|i (?:do not|don['’]t) know|does not exist"
    r"|doesn['’]t exist)\b",
    re.IGNORECASE,
)
"""Behind "the answer is", these say that there is none."""
NO_ANSWER_AT_ALL = re.compile(rf"{_IT}(?:depends|there is no|i (?:do not|don['’]t) know)\b", re.IGNORECASE)
"""The same where an answer is any text, and may be "unknown"."""
_DENIED = re.compile(
    r"\bthere (?:is|['’]s) (?:no|not enough|insufficient)(?: \w+)? (?:answer|information|data)\b"
    r"|\b(?:it|this|that|answer|value|result|question|number) (?:cannot|can['’]t|can not|could not) be "
    r"(?:determined|known|answered|inferred|deduced)\b|\bno (?:\w+ )?answer (?:can be|is possible|exists)\b"
    r"|\bi (?:do not|don['’]t) know the answer\b|\b(?:it|answer) (?:all )?depends\b"
)
"""A sentence that says that there is no answer."""
_DENYING = (
    "depends", "determined", "answered", "there is no", "there's no", "there’s no", "insufficient", "answer can",
    "answer exists", "answer is possible", "be known", "know the", "inferred", "deduced",
)  # fmt: skip
"""One of these is in every such sentence."""


class Statement(NamedTuple):
    """``text`` states the answer; the statement opens at ``start`` and ``text`` ends at ``end`` of the output.

    ``conditional``: it says what would be so under a condition.
    """

    kind: str
    start: int
    end: int
    text: str
    conditional: bool = False


def find_statements(output: str, *, first: bool = False) -> list[Statement]:
    """The last ``MAX_STATEMENTS`` statements in ``output``, or with ``first`` the first ones, in their order."""
    lower = _lower(output)
    marks = [*_said(lower, first=first), *_denied(lower, first=first), *_boxed(output, first=first)]
    marks.sort(key=lambda mark: mark[1])
    chosen = marks[:MAX_STATEMENTS] if first else marks[-MAX_STATEMENTS:]
    found = []
    for place, (kind, start, begin, held) in enumerate(chosen):
        after = marks[MAX_STATEMENTS] if first and len(marks) > MAX_STATEMENTS else None
        following = chosen[place + 1] if place + 1 < len(chosen) else after
        end = following[1] if following else len(output)
        if kind == "box":
            end = begin
        text = output[begin:end] if held is None else held
        found.append(Statement(kind, start, end, text, kind == "said" and _is_conditional(output, start)))
    return found


Mark = tuple[str, int, int, str | None]
"""Kind, where it opens, where what is stated begins (of a box: where it ends), and what a box holds."""


def _lower(output: str) -> str:
    """``output`` in lower case, each character in its place."""
    return output.lower() if output.isascii() else output.replace("İ", "I").lower()


def openers(output: str, *, first: bool = False) -> list[tuple[int, int]]:
    """Where the words that state an answer begin and end: the last ones, or with ``first`` the first ones."""
    return [(start, end) for _, start, end, _ in _said(_lower(output), first=first)]


def _said(lower: str, *, first: bool) -> list[Mark]:
    marks: list[Mark] = []
    for word, pattern in _PATTERNS.items():
        if word in lower:
            matches = pattern.finditer(lower)
            near = islice(matches, 4 * MAX_STATEMENTS) if first else deque(matches, 4 * MAX_STATEMENTS)
            marks += (("said", found.start(), found.end(), None) for found in near if _opens(lower, found))
    return sorted(marks)


def _opens(lower: str, found: re.Match[str]) -> bool:
    """Whether a match opens a statement, and is not a remark ("this answer is"), end of a line, or heading of a
    step."""
    before = lower[max(0, found.start() - 30) : found.start()]
    if found[0][0] == "#":
        return _is_last_line(lower, found.end())
    if found[0][-1] == ">":
        return before.endswith("<")
    if found[0].rstrip("*_# \t") == "answer":
        return _HEADING.search(before) is not None
    return _REMARKED.search(before) is None


def _is_last_line(output: str, start: int) -> bool:
    """Whether nothing but a next question or a remark in one more paragraph follows the line at ``start``.

    A heading of a solution's step ("#### Step 2") is not an answer.
    """
    line = output[start : start + 200].partition("\n")[0]
    return not output[start + len(line) :].strip() or re.fullmatch(r"[-+$]?[0-9][0-9,./]{0,40}%?\s*", line) is not None


def _denied(lower: str, *, first: bool) -> list[Mark]:
    if first or not any(word in lower for word in _DENYING):
        return []
    return [("denial", match.start(), match.end(), None) for match in deque(_DENIED.finditer(lower), MAX_STATEMENTS)]


_BETWEEN_BOXES = re.compile(r"[\s$\\()\[\]]{0,12}(?:,|;|and|or|&)[\s$\\()\[\]andor]{0,12}")
_BEHIND_BOX = re.compile(r"\s?(?:\^|\\(?:pi|sqrt|times|cdot|frac)\b)[^$\n]{0,40}")


def _boxed(output: str, *, first: bool) -> list[Mark]:
    """Boxes; those of one sentence are one, "2 and 3", and what makes a box's content another expression is added."""
    if "box" not in output:
        return []
    offset = 0 if first else max(0, len(output) - _MAX_BOX_SEARCH)
    marks: list[Mark] = []
    for start, end, held in boxes(output[offset : offset + _MAX_BOX_SEARCH]):
        start, end = start + offset, end + offset
        if (
            marks
            and marks[-1][3] != held
            and _BETWEEN_BOXES.fullmatch(output, marks[-1][2], min(start, marks[-1][2] + 30))
        ):
            if start - marks[-1][2] <= 30:
                start, held = marks[-1][1], f"{marks.pop()[3]} and {held}"
        elif behind := _BEHIND_BOX.match(output, end):
            held += behind[0]
        if start and output[start - 1] in "-−":
            held = f"-{held}"
        marks.append(("box", start, end, held))
    return marks


def _is_conditional(output: str, start: int) -> bool:
    before = output[max(0, start - 200) : start]
    sentence = _SENTENCE_BREAK.split(before)[-1].lstrip(" *\n")
    return _CONDITION.match(re.sub(r"(?i)^(?:but|and|however|now),? ", "", sentence)) is not None


# ---- corrections ----------------------------------------------------------------------------------------------------

_CORRECTED = re.compile(
    r"\b(?:no,? wait|wait,? no|no, (?:it is|it['’]s|actually)|oops|scratch that|i mean|or rather|correction)\b"
    r"[,:.!\s-]*",
    re.IGNORECASE,
)
_INSTEAD = re.compile(
    r"\W{0,3}not\b[^.?!\n]{1,80}?[,;\s—-]\s?(?:but|it is|it['’]s|rather|instead)\b(?:\s+rather)?", re.IGNORECASE
)
_RETRACTED = re.compile(
    r"\W*(?:(?:wait|hmm+|oh|oops|sorry|actually|hold on)\b\W+)*(?:no(?=\s*(?:[,.;:!—–-]|$))|nope\b|oops\b|scratch that"
    r"|that(?:['’]s| is| was) (?:wrong|not right|incorrect)|i (?:made|was) (?:a |an )?(?:mistake|error|wrong))",
    re.IGNORECASE,
)
_DOUBTED = re.compile(r"\W*(?:wait|hmm+|hold on|actually)\b", re.IGNORECASE)
_CONFIRMED = re.compile(r"\W*(?:yes|yep|right|correct|indeed)\b", re.IGNORECASE)
_CONCLUDED = re.compile(
    r"\b(?:it|that|this|(?:the )?(?:total|result|sum|number|value))(?:['’]s|\s+(?:is|was|must be|should be|would be"
    r"|will be|equals))\s+(?:actually\s+|really\s+|in fact\s+)?",
    re.IGNORECASE,
)


class Spoken(NamedTuple):
    """What a statement says: ``texts`` to read, best first; ``certain``: where none is readable there is no answer."""

    texts: tuple[str, ...]
    certain: bool


def spoken(text: str, *, first: bool = False) -> Spoken | None:
    """What a statement comes to after its corrections ("7, no wait, 12"); None where it is only a question.

    With ``first`` what follows its sentence explains it and corrects nothing.
    """
    stated = text.lstrip(" :\n*")
    sentence, *_ = _SENTENCE_BREAK.split(stated, maxsplit=1)
    if instead := _INSTEAD.match(sentence[:300]):
        return Spoken((stated[instead.end() :],), False)
    if corrections := list(_CORRECTED.finditer(sentence[:300])):
        return Spoken((stated[corrections[-1].end() :],), True)
    after = stated[len(sentence) + 1 :][:1000]
    if first or not after:
        return Spoken((text,), False)
    if stated[len(sentence)] == "?":
        if _CONFIRMED.match(after):
            return Spoken((sentence,), False)
        return Spoken((*_conclusions(after), after), True) if _RETRACTED.match(after) else None
    if _RETRACTED.match(after):
        return Spoken(_conclusions(after), True)
    return Spoken((*_conclusions(after), text) if _DOUBTED.match(after) else (text,), False)


def _conclusions(text: str) -> tuple[str, ...]:
    """What stands behind each "it is" in ``text``, the last first."""
    return tuple(text[match.end() :] for match in reversed(list(_CONCLUDED.finditer(text))[-4:]))


def opening_start(text: str, start: int) -> int:
    """Where the statement opens whose "answer is" begins at ``start``: at its "So the final"."""
    opening = _OPENING.search(text[max(0, start - _MAX_OPENING) : start])
    return start - len(opening[0]) if opening else start
