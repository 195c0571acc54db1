"""Rows that hold a conversation: messages (OpenAI, Hugging Face), ShareGPT, prompt and completion, Alpaca's history.

The last turn of the user is the question, what comes before it stays its ``turns``, and the reply to it is the
rationale with the answer that it states. A thought is kept apart, whether it is in a field of its own or between marks.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cotdistill.errors import DataError
from cotdistill.records import Role, Turn
from cotdistill.tasks.cells import refuse_half_characters, text_of
from cotdistill.tasks.reasoning import join_reasoning, split_reasoning

Row = Mapping[str, Any]
Reason = Literal["tool_calls", "images", "audio", "no_question", "turns_out_of_order", "no_stated_answer"]
"""Why a conversation is left out."""

COLUMNS = ("messages", "conversations", "conversation")

_ROLES: dict[str, Role | Reason] = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "tool": "tool_calls", "function": "tool_calls", "ipython": "tool_calls", "observation": "tool_calls",
    "function_call": "tool_calls", "tool_call": "tool_calls", "tool_response": "tool_calls",
}  # fmt: skip
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_CALLS = ("tool_calls", "function_call", "tool_call_id")
_PARTS: dict[str, Reason] = {
    "image": "images", "image_url": "images", "input_image": "images", "video": "images", "video_url": "images",
    "audio": "audio", "input_audio": "audio", "audio_url": "audio",
    "tool_use": "tool_calls", "tool_call": "tool_calls", "tool_result": "tool_calls", "function": "tool_calls",
}  # fmt: skip
_BESIDE: dict[str, Reason] = {"tools": "tool_calls", "images": "images", "videos": "images", "audios": "audio"}
"""Columns beside the messages that say what these refer to."""


class LeftOut(DataError):
    """A conversation that cannot be used; ``reason`` is what it is counted by."""

    def __init__(self, reason: Reason, problem: str, where: str, remedy: str = "delete that row"):
        super().__init__(problem, where=where, remedy=remedy)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Conversation:
    """The turns before the question, the question, and the reply to it, None if the row ends with the question."""

    turns: tuple[Turn, ...]
    question: str
    reply: Turn | None


def is_messages(value: Any) -> bool:
    """Whether it is a list of messages, each with who says it."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(one, Mapping) and ("role" in one or "from" in one) for one in value)
    )


def conversation_of(row: Row, place: str) -> Conversation | None:
    """The conversation that a row holds; None if it is a row of another kind.

    Raises DataError for what is no conversation in any form, and LeftOut for one that we cannot use.
    """
    messages = _messages(row, place)
    if messages is None:
        return None
    for column, reason in _BESIDE.items():
        if row.get(column) not in (None, "", [], "[]"):
            raise LeftOut(reason, f"the row has {column}, and only texts can be used", place)
    return conversation([turn_of(message, place) for message in messages], place)


def conversation(said: Sequence[Turn], place: str) -> Conversation:
    """The turns with the last question set apart. Raises LeftOut if user and assistant do not take turns."""
    start = 1 if said and said[0].role == "system" else 0
    asked_last = bool(said) and said[-1].role == "user"
    before, reply = (list(said), None) if asked_last else (list(said[:-1]), said[-1] if said else None)
    if not before[start:] or not before[-1].content.strip():
        raise LeftOut("no_question", "the conversation has no question", place)
    for index, turn in enumerate(said[start:]):
        if turn.role != ("user", "assistant")[index % 2]:
            raise LeftOut("turns_out_of_order", f"turn {start + index + 1} is by the {turn.role}", place)
    return Conversation(tuple(before[:-1]), before[-1].content.strip(), reply)


def _messages(row: Row, place: str) -> list[Any] | None:
    """The row's messages, in whatever form."""
    for column in COLUMNS:
        if row.get(column) is not None:
            return _listed(row[column], column, place)
    if "prompt" in row and "completion" in row and "question" not in row:
        asked = _listed(row["prompt"], "prompt", place, "user")
        return [*asked, *_listed(row["completion"], "completion", place, "assistant")]
    if "instruction" in row and (row.get("history") or row.get("system")):
        return list(_of_alpaca(row, place))
    return None


def _listed(value: Any, column: str, place: str, role: Role | None = None) -> list[Any]:
    """A list of messages, also as JSON; with a ``role``, a text is what that one says."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        with contextlib.suppress(ValueError, RecursionError):  # a text that begins like JSON
            value = json.loads(value)
    if isinstance(value, str) and role:
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not is_messages(value):
        problem = f"{column} holds no messages"
        raise DataError(problem, where=place, remedy='write [{"role": "user", "content": "..."}, ...]')
    return value


def _of_alpaca(row: Row, place: str) -> Iterator[dict[str, Any]]:
    """LLaMA-Factory's form: a system text, and earlier pairs of question and reply."""
    if row.get("system"):
        yield {"role": "system", "content": row["system"]}
    pairs = row.get("history") or []
    if not isinstance(pairs, list) or any(not isinstance(pair, list | tuple) or len(pair) != 2 for pair in pairs):
        raise DataError("history is no list of pairs", where=place, remedy="write [[question, reply], ...]")
    for pair in pairs:
        yield {"role": "user", "content": pair[0]}
        yield {"role": "assistant", "content": pair[1]}
    asked = (text_of(row.get(name), name, place) for name in ("instruction", "input"))
    yield {"role": "user", "content": "\n\n".join(filter(None, asked))}
    if row.get("output"):
        yield {"role": "assistant", "content": row["output"]}


def turn_of(message: Mapping[str, Any], place: str) -> Turn:
    """One message of either form. Raises LeftOut for tool calls and what is no text, DataError for other faults."""
    named = message.get("role") if "role" in message else message.get("from")
    role = _ROLES.get(str(named).casefold())
    if role is None:
        raise DataError(f"unknown role {named!r:.40}", where=place, remedy="use system, user and assistant")
    called = next((key for key in _CALLS if message.get(key)), None)
    if role == "tool_calls" or called:
        raise LeftOut(
            "tool_calls", f"a message is of role {named!r}" if not called else f"a message has {called}", place
        )
    assert role in ("system", "user", "assistant")
    content = message.get("content") if "content" in message else message.get("value")
    text, thought = _text(content, place)
    apart = [message[key] for key in _THOUGHTS if isinstance(message.get(key), str) and message[key].strip()]
    for written in (text, thought or "", *apart):
        refuse_half_characters(written, "a message", place)
    if role != "assistant":
        return Turn(role, text)
    split = split_reasoning(text)
    reasoning = join_reasoning(join_reasoning(apart[0] if apart else None, thought), split.reasoning)
    return Turn(role, split.visible, reasoning)


def _text(content: Any, place: str) -> tuple[str, str | None]:
    """What is said and what is thought in a text or a list of parts; texts of parts are joined by line breaks."""
    if content is None or isinstance(content, str):
        return content or "", None
    if not isinstance(content, list):
        problem = f"a message holds {type(content).__name__} instead of text"
        raise DataError(problem, where=place, remedy="write its text")
    said: list[str] = []
    thoughts: list[str] = []
    for part in content:
        kind = str(part.get("type", "text")) if isinstance(part, Mapping) else "text"
        text = part.get(kind if kind in part else "text") if isinstance(part, Mapping) else part
        if kind in _PARTS or not isinstance(text, str):
            reason = _PARTS.get(kind, "images")
            raise LeftOut(reason, f"a message has a part of type {kind!r:.40}, and only texts can be used", place)
        (thoughts if kind in ("thinking", "reasoning") else said).append(text)
    return "\n".join(said), "\n\n".join(thoughts) or None
