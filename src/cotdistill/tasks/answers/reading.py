"""From a completion to a verdict: find the stated answer, read it, compare it with the gold answer.

Strict where it counts: only a statement ("The answer is ...", "Answer:", a box) is read, never the last number that
happens to occur, and reasoning between thinking marks is ignored.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from itertools import islice

from cotdistill.records import AnswerType, Question, Verdict
from cotdistill.tasks.answers.mathematics import same_math
from cotdistill.tasks.answers.statements import (
    NO_ANSWER,
    NO_ANSWER_AT_ALL,
    Statement,
    find_statements,
    openers,
    opening_start,
    spoken,
)
from cotdistill.tasks.answers.types import comparable, first_sentence, read_answer
from cotdistill.tasks.reasoning import split_reasoning

_NEXT_QUESTION = re.compile(r"(?:\n|[.!?] ) {0,8}(?:#{1,4} ?|\*\*)?(?:Question|Q) ?:")
_MAX_QUESTIONS = 8

Read = Callable[[str], str | None]


def extract_answer(
    output: str, answer_type: AnswerType, choices: Sequence[str] | None = None, *, first: bool = False
) -> str | None:
    """The canonical form of the answer that ``output`` states, or None.

    The last statement wins, which lets a model correct itself. A remark ("the answer is clear") does not count; a
    statement that cannot be read, or says that there is no answer, gives None. With ``first``, the first readable
    statement wins, for a model that answers and then explains. Reasoning between marks is skipped, and so is whatever
    follows if a model states its answer and then starts another question.
    """
    _, text, closed = split_reasoning(output)
    if not closed:
        return None
    read = partial(read_answer, answer_type=answer_type, choices=choices)
    if first:
        return _first_stated(find_statements(text, first=True), read)
    found = find_statements(_before_next_question(text.lstrip(), answer_type, read))
    if not found and text != output and "\n" not in text.strip():
        return read(text.strip())
    return _last_stated(found, answer_type, read)


def _first_stated(found: Sequence[Statement], read: Read) -> str | None:
    answers = (_read_statement(statement, read, first=True)[0] for statement in found)
    return next((answer for answer in answers if answer is not None), None)


def _last_stated(found: Sequence[Statement], answer_type: AnswerType, read: Read) -> str | None:
    """The answer of the last statement that is not a remark; a conditional one must agree with the one before it."""
    hypothetical: str | None = None
    remark: str | None = None
    for statement in reversed(found):
        if statement.kind == "denial":
            return None
        answer, final = _read_statement(statement, read)
        if answer is not None and _is_remark(statement, answer_type):
            remark = remark or answer
            continue
        denies = NO_ANSWER_AT_ALL if answer_type in ("text", "list", "math") else NO_ANSWER
        if denies.match(statement.text) and (answer is None or denies is NO_ANSWER_AT_ALL):
            return None
        if answer is None:
            if final or _states_something(statement, answer_type):
                return None
        elif hypothetical is not None:
            return answer if answer == hypothetical else None
        elif not statement.conditional:
            return answer
        else:
            hypothetical = answer
    return hypothetical if hypothetical is not None else remark


def _read_statement(statement: Statement, read: Read, *, first: bool = False) -> tuple[str | None, bool]:
    """What a statement says, and whether it is final where that cannot be read: a retraction, or an unreadable box."""
    if statement.kind == "box":
        return read(statement.text), True
    if not statement.text.strip("$\\[( \n*:=_"):
        return None, False
    said = spoken(statement.text, first=first)
    if said is None:
        return None, False
    answer = next((answer for answer in map(read, said.texts) if answer is not None), None)
    if answer is None and said.certain and (denied := read(statement.text)) in ("No", "False"):
        return denied, True  # "The answer is no. No, it cannot."
    return answer, said.certain


_REMARK = re.compile(
    r"\W{0,4}(?:in (?:its |the |a )?(?:simpl|lowest|correct|right|standard|reduced|accordance|line|agreement)\w*"
    r"|(?:given|based|consistent|verified|confirmed|simplified|rounded|expressed|written|derived|obtained|shown) \w"
    r"|(?:in)?correct\b|consistent\b|right\b|wrong\b|clear\b|obvious\b|reasonable\b)",
    re.IGNORECASE,
)


def _is_remark(statement: Statement, answer_type: AnswerType) -> bool:
    """Whether a text says something about the answer and is not itself one, as far as it can be told."""
    return statement.kind == "said" and answer_type in ("text", "list", "math") and bool(_REMARK.match(statement.text))


_MENTIONED = {"number": re.compile(r"[0-9]|\\(?:frac|sqrt|pi)|√|π"), "letter": re.compile(r"\([A-Z]\)|^\W*[B-HJ-Z]\b")}


def _states_something(statement: Statement, answer_type: AnswerType) -> bool:
    """Whether a statement that cannot be read states an answer nevertheless, "2x + 1" or "(A) or (B)"."""
    mentioned = _MENTIONED.get(answer_type)
    sentence = first_sentence(statement.text)
    if mentioned is None or _REMARK.match(sentence) or re.match(r"\W*not\b", sentence):
        return False
    return spoken(statement.text) is not None and mentioned.search(sentence) is not None


def same_answer(extracted: str | None, gold: str, answer_type: AnswerType, tolerance: float = 0.0) -> bool:
    """Whether two answers are the same: numbers by value (19, 19.0; 1/2, 0.5), or if they differ by less than
    ``tolerance``; LaTeX as mathematics; all others by their words, ignoring case.

    ``gold`` is in canonical form, as questions hold it.
    """
    if extracted is None:
        return False
    if extracted == gold:
        return True
    if answer_type == "number":
        one, other = read_answer(extracted, "number"), read_answer(gold, "number")
        if one is None or other is None:
            return False
        return Fraction(one) == Fraction(other) or abs(Fraction(one) - Fraction(other)) < tolerance
    return same_math(extracted, gold) if answer_type == "math" else comparable(extracted) == comparable(gold)


def judge(output: str, question: Question, *, finished: bool, first: bool = False) -> tuple[str | None, Verdict]:
    """The stated answer and the verdict. ``finished`` is False if generation stopped at the token limit.

    ``first``: the first statement counts, not the last (see :func:`extract_answer`).
    """
    if not finished:
        output = _certain_part(output, question.answer_type, first=first)
    extracted = extract_answer(output, question.answer_type, question.choices, first=first)
    if extracted is None:
        return None, "unreadable" if finished else "truncated"
    tolerance = question.meta.get("tolerance", 0.0)
    if same_answer(extracted, question.answer, question.answer_type, tolerance) or _is_gold_line(
        output, question, first=first
    ):
        return extracted, "correct"
    return extracted, "wrong"


def _is_gold_line(output: str, question: Question, *, first: bool) -> bool:
    """Whether the whole line of a statement is the gold answer, which may hold full stops ("Mt. Everest")."""
    if question.answer_type not in ("text", "list", "math"):
        return False
    text = split_reasoning(output).visible.lstrip()
    text = _before_next_question(text, question.answer_type, lambda stated: stated.strip())
    ends = [end for _, end in openers(text, first=first)]
    if not ends:
        return False
    line = text[ends[0 if first else -1] :].lstrip(" :\n").partition("\n")[0].strip()
    return any(comparable(written) == comparable(question.answer) for written in (line, line.removesuffix(".")))


def statement_seam(output: str, *, first: bool = False) -> int:
    """The position, in characters, where the last statement of the answer begins; with ``first``, where the first one's
    line ends.

    An output that states nothing is all rationale: the position is its end, or with ``first`` its start.
    """
    found = openers(output, first=first)
    if first:
        return (output.find("\n", found[0][1]) + 1 or len(output)) if found else 0
    return opening_start(output, found[-1][0]) if found else len(output)


def _before_next_question(output: str, answer_type: AnswerType, read: Read) -> str:
    """``output`` up to the question that a model begins once it has stated an answer to the one that it was asked."""
    if "Question" not in output and "Q" not in output:
        return output
    for question in islice(_NEXT_QUESTION.finditer(output), _MAX_QUESTIONS):
        before = output[: question.start() + 1]
        if _last_stated(find_statements(before), answer_type, read) is not None:
            return before
    return output


_SURE_END = re.compile(r"[.!?][\"')\]*$]{0,3}(?=\s)|\n|</answer>|。")


def _certain_part(output: str, answer_type: AnswerType, *, first: bool) -> str:
    """The part of an output cut at the token limit that cannot change its meaning by going on; empty where a statement
    is under way behind it, "The answer is 3," of 3,000.

    A statement is whole where its sentence, its line or its box ends.
    """
    ends = [match.end() for match in deque(_SURE_END.finditer(output), 1)]
    ends += [statement.end for statement in find_statements(output)[-1:] if statement.kind == "box"]
    if output.endswith(".") and answer_type not in ("list", "text", "math"):
        ends.append(len(output))
    certain = output[: max(ends, default=0)]
    is_under_way = not first and any(start >= len(certain) or end > len(certain) for start, end in openers(output)[-1:])
    return "" if is_under_way else certain
