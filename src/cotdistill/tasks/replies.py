"""What a reply holds: the answer that it states, what it says before, and what it thought."""

from __future__ import annotations

import re
from typing import NamedTuple

from cotdistill.records import AnswerType, Turn
from cotdistill.tasks.answers.stripping import split_statement
from cotdistill.tasks.answers.typography import last_box
from cotdistill.tasks.prompts import ANSWER_NAMES, instruction

_OWN = re.compile(r"(?:(?P<rationale>.*)\n)?The answer is (?P<answer>[^\n]+)\.", re.DOTALL)
"""What our students are taught to write."""
_GSM8K = re.compile(r"(?:(?P<rationale>.*)\n)?[ \t]*####[ \t]*(?P<answer>[^\n]*\S)\s*", re.DOTALL)
"""A solution, then #### and the answer: the form of GSM8K (arXiv 2110.14168)."""
_CALCULATOR = re.compile(r"<<[^<>]*>>")
"""GSM8K's annotations ``<<48/2=24>>``."""
_MAX_WORDS = 8
"""Of a reply that is an answer and nothing else."""
_CHOICE = re.compile(r"\(([A-Z])\) (.*)")


class Reply(NamedTuple):
    answer: str | None
    rationale: str | None
    reasoning: str | None


def read_reply(reply: Turn) -> Reply:
    """The answer that a reply states (None: none), the rationale before it, and its reasoning.

    A reply of a few words is an answer. Where nothing is said beside the answer, the reasoning is the rationale.
    """
    answer, rationale = _stated(reply.content)
    if not rationale:
        return Reply(answer, reply.reasoning, None)
    return Reply(answer, rationale, reply.reasoning)


def _stated(text: str) -> tuple[str | None, str | None]:
    if (own := _OWN.fullmatch(text)) is not None:
        return own["answer"], own["rationale"] or None
    rationale, closing = split_statement(text)
    if closing is not None:
        box = last_box(closing)
        return (box[1] if box and box[1] else _plain(closing)), rationale or None
    answer, solution = split_solution(text)
    if solution is not None or answer != text:
        return answer, solution
    if text and "\n" not in text.strip() and len(text.split()) <= _MAX_WORDS:
        return text.strip(), None
    return None, text.strip() or None


def _plain(closing: str) -> str:
    """What a statement says, without its full stop and the stars around it."""
    return closing.strip().removesuffix("**").removesuffix(".").removesuffix("**").removeprefix("**").strip()


def split_solution(answer: str) -> tuple[str, str | None]:
    """``(answer, rationale)`` of a gold answer that is a solution: the answer after ``####`` or in the last box."""
    if (found := _GSM8K.fullmatch(answer)) is not None:
        return found["answer"], _CALCULATOR.sub("", found["rationale"] or "").strip() or None
    if box := last_box(answer):
        whole, held = box
        return held or answer, None if answer.strip("$ .") == whole else answer
    return answer, None


class Asked(NamedTuple):
    """A question as it was before we asked it of a model; ``answer_type`` is the type that our words ask for."""

    question: str
    choices: tuple[str, ...] | None
    answer_type: AnswerType | None


def read_prompt(text: str) -> Asked:
    """A prompt without our sentence on how to reply and, where that asks for a letter, without the lines of choices.

    Other texts stay as they are. So what ``export`` writes is read back as it was.
    """
    head, _, last = text.rpartition("\n")
    answer_type = _INSTRUCTIONS.get(last)
    if answer_type is None or not head:
        return Asked(text, None, None)
    lines = head.split("\n")
    choices: list[str] = []
    while answer_type == "letter" and len(lines) > 1 and (found := _CHOICE.fullmatch(lines[-1])):
        choices.insert(0, found[2])
        del lines[-1]
        if found[1] == "A":
            return Asked("\n".join(lines), tuple(choices), answer_type)
    return Asked(head, None, answer_type)


_INSTRUCTIONS: dict[str, AnswerType] = {
    instruction(answer_type, target): answer_type
    for answer_type in ANSWER_NAMES
    for target in ("rationale", "answer", "answer_then_rationale")
}
