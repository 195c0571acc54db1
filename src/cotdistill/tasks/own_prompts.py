"""Questions put into the user's own prompt files."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import Message, OwnContext, PromptFile, TeacherContext
from cotdistill.records import Question, Rationale
from cotdistill.tasks.prompts import Target, hint_of, prompt_text


def filled(prompt: PromptFile, question: Question) -> str | tuple[Message, ...]:
    """The prompt about a question: a text, or several messages the last of which is the user's."""
    messages = prompt.filled(question.question, "\n".join(choice_lines(question.choices)), question.answer)
    return messages[0].content if len(messages) == 1 else messages


def teachers_prompt(rationale: Rationale, target: Target, context: TeacherContext) -> str | list[dict[str, str]]:
    """What the teacher of a signal reads where the student reads its prompt for ``target``."""
    if not isinstance(context, OwnContext):
        return prompt_text(rationale.question, target, hint_of(rationale, context))
    prompt = filled(context.prompt, rationale.question)
    return prompt if isinstance(prompt, str) else [message._asdict() for message in prompt]


def choice_lines(choices: Sequence[str] | None) -> list[str]:
    """Choices as "(A) ..." lines."""
    return [f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(choices or ())]
