"""From a model's output to a verdict: find the stated answer, read it, compare it with the gold one.

Strict where it counts: only a statement ("The answer is ...", or LaTeX's box where there is none) is read, never the
last number that happens to stand there. All patterns are linear or see bounded text, so a megabyte of anything is
judged at once.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import islice

from cotdistill.records import AnswerType, Question, Verdict
from cotdistill.tasks.answers.mathematics import last_box, same_math
from cotdistill.tasks.answers.types import boxed, comparable, read_answer

STATEMENT = re.compile(r"\banswer\s{1,3}is\b(?!\s{1,3}not\b)", re.IGNORECASE)
_NEXT_QUESTION = re.compile(r"(?:\n|[.!?] ) {0,8}(?:#{1,4} ?|\*\*)?(?:Question|Q) ?:")
MAX_STATEMENTS = 8
"""So many statements, from the last backwards or the first onwards, are looked at."""
_MAX_BOX_SEARCH = 20_000
"""Characters at the end of an output among which a box is looked for."""

_WORD = string.ascii_letters + string.digits + ".,/$-"

_OPENING = re.compile(
    r"(?:\b(?:so|and so|thus|therefore|hence|finally)\b,?\s{1,3})?(?:\bthe\s{1,3})?"
    r"(?:\b(?:final|correct|right|best)\s{1,3})?$",
    re.IGNORECASE,
)
"""The words before "answer is" that belong to the statement."""
_MAX_OPENING = 60


def extract_answer(
    output: str, answer_type: AnswerType, choices: Sequence[str] | None = None, *, first: bool = False
) -> str | None:
    """The canonical form of the answer that ``output`` states, or None.

    The last readable statement wins, which lets a model correct itself. With ``first`` it is the first one, for a model
    that answers and then explains. What it writes after starting another question is not looked at.
    """
    output = _before_next_question(output)
    if answer_type == "math" and not STATEMENT.search(output):
        return read_answer(last_box(output[-_MAX_BOX_SEARCH:]) or "", answer_type)
    for stated in _first_statements(output) if first else _statements(output):
        answer = read_answer(stated, answer_type, choices)
        if answer is not None:
            return answer
    return None


def same_answer(extracted: str | None, gold: str, answer_type: AnswerType) -> bool:
    """Whether two answers are the same: numbers by value (19, 19.0; 1/2, 0.5), LaTeX as mathematics, all others by
    their words in any case.

    ``gold`` is in canonical form, as questions hold it.
    """
    if extracted is None:
        return False
    if answer_type == "number":
        one, other = read_answer(extracted, "number"), read_answer(gold, "number")
        return one is not None and other is not None and Fraction(one) == Fraction(other)
    return same_math(extracted, gold) if answer_type == "math" else comparable(extracted) == comparable(gold)


def judge(output: str, question: Question, *, finished: bool, first: bool = False) -> tuple[str | None, Verdict]:
    """The extracted answer and the verdict. ``finished`` is False where generation stopped at the token limit.

    ``first``: the first statement counts, not the last (see :func:`extract_answer`).
    """
    if not finished:
        output = _certain_part(output, question.answer_type)
    extracted = extract_answer(output, question.answer_type, question.choices, first=first)
    if extracted is None:
        return None, "unreadable" if finished else "truncated"
    return extracted, "correct" if same_answer(extracted, question.answer, question.answer_type) else "wrong"


def statement_seam(output: str, *, first: bool = False) -> int:
    """Where, in characters, the last statement of the answer opens; with ``first``, where the first one's line ends.

    An output that states nothing is all rationale: the seam is its end, or with ``first`` its start.
    """
    statements = STATEMENT.finditer(output)
    if first:
        statement = next(statements, None)
        return (output.find("\n", statement.end()) + 1 or len(output)) if statement else 0
    starts = [statement.start() for statement in statements]
    return opening_start(output, starts[-1]) if starts else len(output)


def opening_start(text: str, start: int) -> int:
    """Where the statement opens whose "answer is" begins at ``start``."""
    opening = _OPENING.search(text[max(0, start - _MAX_OPENING) : start])
    return start - len(opening[0]) if opening else start


def _before_next_question(output: str) -> str:
    output = output.lstrip()
    start = _NEXT_QUESTION.search(output)
    return output[: start.start() + 1] if start else output


def _statements(output: str) -> Iterator[str]:
    """What follows each "answer is", up to the next one, from the last backwards; else what a last box holds."""
    starts = list(STATEMENT.finditer(output))
    end = len(output)
    for statement in reversed(starts[-MAX_STATEMENTS:]):
        yield output[statement.end() : end]
        end = statement.start()
    if not starts:
        yield from boxed(output[-_MAX_BOX_SEARCH:])[-1:]


def _first_statements(output: str) -> Iterator[str]:
    """As :func:`_statements`, from the first onwards."""
    starts = list(islice(STATEMENT.finditer(output), MAX_STATEMENTS))
    for statement in starts:
        following = STATEMENT.search(output, statement.end())
        yield output[statement.end() : following.start() if following else len(output)]
    if not starts:
        yield from boxed(output[:_MAX_BOX_SEARCH])[:1]


def _certain_part(output: str, answer_type: AnswerType) -> str:
    """The part of an output cut at the token limit that cannot change its meaning by going on.

    A last word may be half of one ("1" of "19"); a list or a text is whole only where its sentence or line ends.
    """
    if answer_type in ("list", "text", "math"):
        return output[: max(output.rfind(end) for end in (". ", "! ", "? ", "\n")) + 1]
    return output if not output[-1:].isalnum() else output.rstrip(_WORD)
