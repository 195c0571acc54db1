"""Prompts of the user's own, in files: a text, or the messages of a conversation, with places for the question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import ValidationInfo
from pydantic_core import CoreSchema, core_schema

from cotdistill.config.base import Keyed, from_folder
from cotdistill.config.files import parse_yaml
from cotdistill.errors import nearest

__all__ = ["Message", "PromptFile"]

PLACES = ("question", "choices", "gold")
"""What a prompt may name: ``$question``, ``$choices``, ``$gold``."""

_ROLES = ("system", "user", "assistant")
_LARGEST = 2**20  # characters


class Message(NamedTuple):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class PromptFile(str, Keyed):
    """The path of a file that holds a prompt, read when it is named.

    A ``.yaml`` or ``.json`` file is a list of messages (``role`` and ``content``), the last of which is the user's; any
    other is the text of one. ``$question`` stands for the question, with its choices where the file names no
    ``$choices``, ``$gold`` for the right answer, and ``$$`` for a dollar sign.
    """

    messages: tuple[Message, ...]
    names: frozenset[str]
    """What of ``PLACES`` it names."""
    source: str
    """The text of the file."""

    @property
    def identity(self) -> dict[str, str]:
        """What stands for the file in keys: its content, wherever it lies."""
        messages = json.dumps(self.messages, ensure_ascii=True)
        return {"prompt": hashlib.sha256(messages.encode()).hexdigest()[:16]}

    @property
    def shows_gold(self) -> bool:
        return "gold" in self.names

    def filled(self, question: str, choices: str, gold: str) -> tuple[Message, ...]:
        """The messages about a question; ``choices`` has its choices as lines, if there are any."""
        if choices and "choices" not in self.names:
            question = f"{question}\n{choices}"
        values = {"question": question, "choices": choices, "gold": gold}
        return tuple(Message(role, Template(text).substitute(values)) for role, text in self.messages)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> CoreSchema:
        return core_schema.with_info_after_validator_function(_read, core_schema.str_schema())


def _read(value: str, info: ValidationInfo) -> PromptFile:
    """Raises ValueError, which names the line where there is one."""
    path = from_folder(Path(value), info)
    if not path.is_file():
        raise ValueError(f"no such file: {path}; name a file with the prompt's text, or a function: file.py:NAME")
    try:
        source = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror})") from None
    if len(source) > _LARGEST:
        raise ValueError(f"{path} has more than {_LARGEST} characters, which is no prompt")
    prompt = PromptFile(path)
    prompt.source = source
    if path.suffix.lower() in (".yaml", ".yml", ".json"):
        prompt.messages = tuple(_messages(_parsed(source, path), path))
    else:
        prompt.messages = (Message("user", source.strip()),)
    prompt.names = _checked_names(prompt.messages, path)
    return prompt


def _parsed(source: str, path: Path) -> Any:
    try:
        return json.loads(source) if path.suffix.lower() == ".json" else parse_yaml(source)
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ValueError(f"{path}{line} cannot be read ({error.problem})") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        problem = " ".join(str(error).split()) or "nested too deeply"
        raise ValueError(f"{path} cannot be read ({problem})") from None


def _messages(values: Any, path: Path) -> Iterator[Message]:
    form = "write a list of {role: system, user or assistant, content: TEXT}"
    if not isinstance(values, list) or not values:
        raise ValueError(f"{path} holds no list of messages; {form}")
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict) or value.keys() != {"role", "content"}:
            raise ValueError(f"{path}, message {number} is not a role with a content; {form}")
        role, content = value["role"], value["content"]
        if role not in _ROLES or not isinstance(content, str) or not content.strip():
            raise ValueError(f"{path}, message {number} has no usable role or content; {form}")
        if role == "system" and number > 1:
            raise ValueError(f"{path}, message {number}: a system message comes first")
        yield Message(role, content.strip())


def _checked_names(messages: tuple[Message, ...], path: Path) -> frozenset[str]:
    names = frozenset(name for each in messages for name in _placeholders(each.content, path))
    if messages[-1].role != "user":
        raise ValueError(f"{path} ends with a message of the {messages[-1].role}; the last is the user's")
    if "question" not in names:
        raise ValueError(f"{path} names no $question, so it would ask the same about every question")
    return names


def _placeholders(text: str, path: Path) -> Iterator[str]:
    for found in Template.pattern.finditer(text):
        where = f"{path}, in the line {text[: found.start()].count(chr(10)) + 1} of its text"
        if found["invalid"] is not None:
            raise ValueError(f"{where}: a dollar sign that names nothing; write $$ for a dollar")
        name = found["named"] or found["braced"]
        if name and name not in PLACES:
            raise ValueError(f"{where}: unknown ${name}; {nearest(name, PLACES)}; write $$ for a dollar")
        if name:
            yield name
