"""What a teacher is asked: an instruction for the granularity, one for the format, one worked example, the question.

All texts are in ``prompts/``. The examples are our own, one per task family; they hold the facts of a solution, which
the renderer of the procedural tasks writes at every granularity and in every format, so that example and instruction
agree.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

from cotdistill.config import AnnotationConfig, Message, Part, PromptFile
from cotdistill.errors import ConfigError
from cotdistill.records import AnswerType, Format, Question
from cotdistill.storage.hashes import content_key
from cotdistill.tasks.own_prompts import choice_lines, filled
from cotdistill.tasks.procedural.problem import Solution, Step, Wording
from cotdistill.tasks.procedural.rendering import check_written, render
from cotdistill.tasks.prompts import answer_name, in_conversation

PROMPTS = Path(__file__).with_name("prompts")

FAMILIES: dict[AnswerType, str] = {
    "number": "arithmetic",
    "letter": "multiple_choice",
    "yes_no": "yes_no",
    "true_false": "yes_no",
    "list": "symbolic",
    "text": "symbolic",
    "math": "arithmetic",
}
_TRUTH = {"Yes": "True", "No": "False"}


def teacher_prompt(question: Question, granularity: int | None, format: Format, *, answer_conditioned: bool) -> str:
    """The whole prompt. It contains the gold answer only with ``answer_conditioned``.

    Raises ConfigError for a format or a granularity that teachers cannot write.
    """
    level = check_written(granularity, format)
    example_question, example_rationale = _example(question.answer_type, level, format)
    known = Template(_text("answer_known")).substitute(answer=question.answer) if answer_conditioned else ""
    return Template(_text("teacher")).substitute(
        granularity=_text(f"granularity_{level}"),
        format=_text(f"format_{format}"),
        answer_form=answer_name(question.answer_type),
        example_question=example_question,
        example_rationale=example_rationale,
        known_answer=known,
        question=asked_text(question.question, question.choices),
    )


def prompt_of(question: Question, annotation: AnnotationConfig) -> str | tuple[Message, ...]:
    """What a teacher is asked about a question, by the user's own function or file, else by our prompt.

    It stands behind what was said before the question; a file's own system message goes before the conversation's.
    """
    own, conditioned = annotation.prompt, annotation.answer_conditioned
    if own is None:
        asked = teacher_prompt(question, annotation.granularity, annotation.format, answer_conditioned=conditioned)
    else:
        asked = filled(own, question) if isinstance(own, PromptFile) else _by_function(own, question, annotation)
    return in_conversation(question, asked)


def _by_function(part: Part, question: Question, annotation: AnnotationConfig) -> str:
    """The function gets the gold answer only if that may be in the prompt.

    Raises ConfigError if it returns anything but text.
    """
    gold = question.answer if annotation.answer_conditioned else None
    prompt = part.call(question, annotation.granularity, annotation.format, gold)
    if not isinstance(prompt, str) or not prompt.strip():
        problem = f"{part.name} returns {'an empty prompt' if isinstance(prompt, str) else type(prompt).__name__}"
        raise ConfigError(f"{problem} for question {question.id!r}", where=part, remedy="return the prompt's text")
    return prompt


def prompts_fingerprint() -> str:
    """A key of all prompt texts, which changes with any of them."""
    files = sorted(file for file in PROMPTS.rglob("*") if file.is_file())
    return content_key([[str(file.relative_to(PROMPTS)), file.read_text(encoding="utf-8")] for file in files])


@cache
def _example(answer_type: AnswerType, granularity: int, format: Format) -> tuple[str, str]:
    """Question and rationale of the family's example, with its closing statement of the answer."""
    path = PROMPTS / "examples" / f"{FAMILIES[answer_type]}.json"
    facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    answer: str = facts["answer"]
    if answer_type == "true_false":
        answer = _TRUTH[answer]
    solution = Solution(
        restated=facts["restated"],
        plan=facts["plan"],
        start=Wording(*facts["start"]),
        sketch=Wording(*facts["sketch"]),
        steps=tuple(Step(**step) for step in facts["steps"]),
        question=facts["last_question"],
        conclusion=Wording(*facts["conclusion"]),
        check=facts["check"],
        answer=answer,
    )
    closing = f"The answer is {answer.strip('()')}."
    return asked_text(facts["question"], facts["choices"]), f"{render(solution, granularity, format)}\n{closing}"


def asked_text(question: str, choices: Sequence[str] | None) -> str:
    """A question with its choices."""
    return "\n".join([question, *choice_lines(choices)])


@cache
def _text(name: str) -> str:
    return (PROMPTS / f"{name}.txt").read_text(encoding="utf-8").rstrip("\n")
