"""Rationales as conversations for other trainers: prompt and response are those that our students are trained on.

What is written is read back as it was: our sentence on how to reply is recognised in the prompt, and the answer in its
statement (``replies.py``). Thoughts are in ``reasoning_content`` where a form has room for them, else between marks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Literal

from cotdistill.config import TrainingTarget
from cotdistill.records import Rationale, Turn
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.prompts import Target, asked_of, prompt_text, response_text

Form = Literal["messages", "prompt_completion", "sharegpt", "alpaca"]
Row = dict[str, Any]

_FROM = {"system": "system", "user": "human", "assistant": "gpt"}


def exported(
    rationales: Iterable[Rationale],
    form: Form,
    target: TrainingTarget = "rationale_then_answer",
    response: Literal["think", "plain"] | None = None,
    system: str | None = None,
) -> Iterator[Row]:
    """A row for each prompt that a student is trained on (two for ``multi_task``), with the rationale's id.

    ``response`` is the student's: it thinks, so that reasoning, or else a rationale before the answer, is apart from
    what is said; or it says all of it. By default reasoning stays where it is. ``system`` begins conversations that
    have no system message.
    """
    write = _WRITERS[form]
    for rationale in rationales:
        turns = list(rationale.question.turns or ())
        if system is not None and not (turns and turns[0].role == "system"):
            turns.insert(0, Turn("system", system))
        for asked in asked_of(rationale, target):
            prompt = Turn("user", prompt_text(rationale.question, asked))
            yield {"id": rationale.id, **write([*turns, prompt], _reply(rationale, asked, response))}


def _reply(rationale: Rationale, asked: Target, response: Literal["think", "plain"] | None) -> Turn:
    explains = asked not in ("answer", "predict")
    thought = rationale.reasoning if explains else None
    said = clean_rationale(rationale.rationale or "") if explains else ""
    if response == "plain" and thought:
        thought, said = None, f"{thought}\n{said}".rstrip()
    elif response == "think" and not thought and said and asked in ("rationale", "explain"):
        thought, said = said, ""
    return Turn("assistant", response_text(replace(rationale, rationale=said, reasoning=None), asked), thought)


def _messages(before: list[Turn], reply: Turn) -> Row:
    return {"messages": [turn.to_row() for turn in [*before, reply]]}


def _prompt_completion(before: list[Turn], reply: Turn) -> Row:
    return {"prompt": [turn.to_row() for turn in before], "completion": [reply.to_row()]}


def _sharegpt(before: list[Turn], reply: Turn) -> Row:
    return {"conversations": [{"from": _FROM[turn.role], "value": _marked(turn)} for turn in [*before, reply]]}


def _alpaca(before: list[Turn], reply: Turn) -> Row:
    """As LLaMA-Factory has it, with a system text and earlier turns where there are any."""
    *earlier, asked = before
    row: Row = {"instruction": asked.content, "input": "", "output": _marked(reply)}
    if earlier and earlier[0].role == "system":
        row["system"] = earlier.pop(0).content
    if earlier:
        pairs = zip(earlier[::2], earlier[1::2], strict=True)
        row["history"] = [[question.content, _marked(answer)] for question, answer in pairs]
    return row


def _marked(turn: Turn) -> str:
    return f"<think>\n{turn.reasoning}\n</think>\n\n{turn.content}" if turn.reasoning else turn.content


_WRITERS: dict[Form, Callable[[list[Turn], Turn], Row]] = {
    "messages": _messages,
    "prompt_completion": _prompt_completion,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
}
