"""Questions put into the user's own prompt files."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import Message, OwnContext, PromptFile, TeacherContext
from cotdistill.records import Question, Rationale
from cotdistill.tasks.prompts import Target, hint_of, in_conversation, prompt_of


def filled(prompt: PromptFile, question: Question) -> str | tuple[Message, ...]:
    """The prompt about a question: a text, or several messages the last of which is the user's."""
    messages = prompt.filled(question.question, "\n".join(choice_lines(question.choices)), question.answer)
    return messages[0].content if len(messages) == 1 else messages


def teachers_prompt(rationale: Rationale, target: Target, context: TeacherContext) -> str | tuple[Message, ...]:
    """What the teacher of a signal reads where the student reads its prompt for ``target``."""
    if target == "turn":  # of which a gold answer, or a prompt about the question, says nothing
        return prompt_of(rationale.question, target)
    if not isinstance(context, OwnContext):
        return prompt_of(rationale.question, target, hint_of(rationale, context))
    return in_conversation(rationale.question, filled(context.prompt, rationale.question))


def choice_lines(choices: Sequence[str] | None) -> list[str]:
    """Choices as "(A) ..." lines."""
    return [f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(choices or ())]
