"""The one template: what a model is asked, and what it is taught to reply, in training and in evaluation alike."""

from __future__ import annotations

import re
from typing import Literal

from cotdistill.records import AnswerType, Question, Rationale
from cotdistill.tasks.answers import split_statement

Target = Literal["rationale", "answer"]
"""What a prompt asks for: reasoning and then the answer, or the answer alone."""

_ANSWER_NAMES: dict[AnswerType, str] = {
    "number": "the number",
    "letter": "the letter of the right choice",
    "yes_no": "Yes or No",
    "true_false": "True or False",
    "list": "the items in order, separated by spaces",
    "text": "the result",
}

_SPACES = re.compile(r"[^\S\n]+")
_LINE_BREAKS = re.compile(r"\s*\n\s*")


def answer_name(answer_type: AnswerType) -> str:
    """What an answer of this type is, in the words of an instruction."""
    return _ANSWER_NAMES[answer_type]


def prompt_text(question: Question, target: Target) -> str:
    """The question, its choices as "(A) ..." lines, and one sentence that says what to reply."""
    choices = [f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(question.choices or ())]
    return "\n".join([question.question, *choices, _instruction(question.answer_type, target)])


def _instruction(answer_type: AnswerType, target: Target) -> str:
    if target == "answer":
        return f'Reply with "The answer is" and {_ANSWER_NAMES[answer_type]}, nothing else.'
    return f'Think step by step, then finish with "The answer is" and {_ANSWER_NAMES[answer_type]}.'


def response_parts(rationale: Rationale) -> tuple[str, str]:
    """The reasoning with the line break behind it ("" where there is none), and the statement of the gold answer."""
    reasoning = clean_rationale(rationale.rationale or "")
    return f"{reasoning}\n" if reasoning else "", answer_statement(rationale.question)


def answer_statement(question: Question) -> str:
    return f"The answer is {question.answer}."


def clean_rationale(text: str) -> str:
    """Reasoning alone: without closing statements of the answer, with single spaces and no empty lines."""
    return _LINE_BREAKS.sub("\n", _SPACES.sub(" ", split_statement(text)[0])).strip()
