"""Questions put into the user's own prompt files."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import Message, PromptFile
from cotdistill.records import Question


def filled(prompt: PromptFile, question: Question) -> str | tuple[Message, ...]:
    """The prompt about a question: a text, or several messages the last of which is the user's."""
    messages = prompt.filled(question.question, "\n".join(choice_lines(question.choices)), question.answer)
    return messages[0].content if len(messages) == 1 else messages


def choice_lines(choices: Sequence[str] | None) -> list[str]:
    """Choices as "(A) ..." lines."""
    return [f"({chr(ord('A') + index)}) {choice}" for index, choice in enumerate(choices or ())]
