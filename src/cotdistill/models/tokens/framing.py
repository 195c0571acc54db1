"""What a tokenizer's chat template writes around a question, a thought and an answer: asked of the template itself.

A marked question, answer and thought are rendered by the very function that renders every prompt, and what stands
between the marks is the template's own. No model is known by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from weakref import WeakKeyDictionary

from transformers import PreTrainedTokenizerBase

from cotdistill.errors import ModelError
from cotdistill.models.tokens.trial import CHARACTERS, SECONDS, ends
from cotdistill.tasks.reasoning import is_mark, marks_open, split_reasoning

Message = Mapping[str, str]
"""A turn of a conversation: its ``role``, its ``content`` and, of an assistant's, perhaps its ``reasoning_content``."""

_QUESTION, _THOUGHT, _ANSWER = "cotdistill-question", "cotdistill-thought", "cotdistill-answer"
_REASONING_NAMES = ("reasoning_content", "reasoning", "thinking")
"""What templates call the reasoning of a message."""

COMPLETE = "prompt_is_complete"
"""The argument that tells a student's own template (``instruction.py``) to add nothing to a question."""
_ARGUMENTS: dict[str, Any] = {COMPLETE: True}

_SPEAKS_OF_THINKING = re.compile(r"enable_thinking|<\|?/?think")
_OPENED = re.compile(r"<(?P<name>[a-z_]+)>\s*\Z")
_OPENING, _CLOSING = "<think>\n", "\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Framing:
    """What a template writes besides the texts of a conversation.

    ``opened`` is the prompt of a marked question. ``opening`` and ``closing`` stand around reasoning, behind the
    prompt; both are None if the template cannot have any there. ``empty`` stands before an answer without reasoning.
    ``prefilled`` says that the prompt itself opens the block. ``in_parts``: contents are lists of parts, as in
    templates that also take images. ``stop`` is the token that ends a turn, and ``beginning`` what the tokenizer
    itself puts before a text. ``special`` finds names of special tokens; those that are ``left_out`` of what a model
    wrote are no part of thinking marks.
    """

    opened: str
    opening: str | None
    closing: str | None
    empty: str
    prefilled: bool
    in_parts: bool
    stop: int | None
    beginning: tuple[int, ...]
    special: re.Pattern[str]
    left_out: frozenset[int]

    @property
    def thinks(self) -> bool:
        """Whether the template, left to itself, opens a block or writes an empty one before an answer."""
        if self.opening is None or self.closing is None:
            return False
        block = "".join((self.opening + self.closing).split())
        return self.prefilled or (bool(block) and "".join(self.empty.split()) == block)

    @property
    def opening_mark(self) -> str:
        """The mark that opens a block, in the prompt or behind it; "" if there is none."""
        if self.prefilled:
            return marks_open(self.opened) or self.opened.split()[-1]
        return (self.opening or "").strip()

    @property
    def marks(self) -> tuple[str, str] | None:
        """The marks that reasoning stands between, where they are others than those of the known models."""
        if self.opening is None or self.closing is None:
            return None
        marks = self.opening_mark, self.closing.strip()
        return None if split_reasoning("{}x{}y".format(*marks)) == ("x", "y", True) else marks


_KNOWN: WeakKeyDictionary[PreTrainedTokenizerBase, tuple[Any, Framing]] = WeakKeyDictionary()


def framing(tokenizer: PreTrainedTokenizerBase) -> Framing:
    """The template's frame, asked for once: of the tokenizer, only its template and its stop token may change later.

    Raises ModelError for a template that fails on a plain question, or leaves the question out.
    """
    state = tokenizer.chat_template, tokenizer.eos_token_id, tokenizer.bos_token_id, len(tokenizer)
    if tokenizer not in _KNOWN or _KNOWN[tokenizer][0] != state:
        _KNOWN[tokenizer] = state, _ask(tokenizer)
    return _KNOWN[tokenizer][1]


def render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], *, in_parts: bool, open_turn: bool) -> str:
    """The template's text of a conversation; ``open_turn`` adds the opening of the assistant's turn.

    Raises ModelError if the template fails on it.
    """
    turns: list[dict[str, Any]] = [dict(message) for message in messages]
    if in_parts:
        turns = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    try:
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=open_turn, **_ARGUMENTS)
    except MemoryError:
        raise
    except Exception as error:  # it is a program by anybody
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ModelError(
            f"its chat template fails on a plain question ({reason})",
            where=tokenizer.name_or_path,
            remedy="correct the template in its folder",
        ) from None
    return cast("str", text)


def cannot_think(tokenizer: PreTrainedTokenizerBase) -> ModelError:
    return ModelError(
        "its chat template cannot have reasoning in a response",
        where=tokenizer.name_or_path,
        remedy="set training.response: plain, or correct the template in its folder",
    )


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> set[int]:
    added = tokenizer.added_tokens_decoder.items()
    return {token_id for token_id, token in added if token.special} | set(tokenizer.all_special_ids)


def _ask(tokenizer: PreTrainedTokenizerBase) -> Framing:
    special = sorted(special_token_ids(tokenizer))
    names = dict(zip(special, cast("list[str]", tokenizer.convert_ids_to_tokens(special)), strict=True))
    pattern = re.compile("|".join(map(re.escape, sorted(names.values(), key=len, reverse=True))) or r"(?!)")
    eos = cast("int | None", tokenizer.eos_token_id)
    if not tokenizer.chat_template:
        first = tokenizer("x")["input_ids"][:1]  # pyright: ignore[reportIndexIssue]
        beginning = tuple(first) if first == [tokenizer.bos_token_id] else ()
        left_out = _left_out(names, _OPENING + _CLOSING)
        return Framing("", _OPENING, _CLOSING, "", False, False, eos, beginning, pattern, left_out)
    question, answer = {"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _ANSWER}
    thought = answer | dict.fromkeys(_REASONING_NAMES, _THOUGHT)
    _try_out(tokenizer, [question, thought])
    in_parts, opened = _opened(tokenizer)
    plain, whole = (
        render(tokenizer, [question, turn], in_parts=in_parts, open_turn=False) for turn in (answer, thought)
    )
    before, _, ending = plain.rpartition(_ANSWER)
    opening, closing, prefilled = _block(tokenizer, opened, before, whole)
    empty = before[len(opened) :] if before.startswith(opened) else (closing or "") if prefilled else ""
    ids = cast("list[int]", tokenizer(ending, add_special_tokens=False)["input_ids"])
    stop = next((token_id for token_id in ids if token_id in names), eos)
    left_out = _left_out(names, f"{opening}{closing}{empty}")
    return Framing(opened, opening, closing, empty, prefilled, in_parts, stop, (), pattern, left_out)


def _left_out(names: Mapping[int, str], marks: str) -> frozenset[int]:
    return frozenset(token_id for token_id, name in names.items() if not is_mark(name) and name not in marks)


def _try_out(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> None:
    """Raise ModelError for a template that never ends, or writes what no model can read."""

    def write() -> str:
        texts = [render(tokenizer, turns, in_parts=False, open_turn=True) for turns in (messages[:1], messages)]
        return max(texts, key=len)

    if not ends(write):
        raise ModelError(
            f"its chat template takes more than {SECONDS} seconds or a gigabyte for a plain question, or writes more "
            f"than {CHARACTERS:,} characters",
            where=tokenizer.name_or_path,
            remedy="correct the template in its folder",
        )


def _opened(tokenizer: PreTrainedTokenizerBase) -> tuple[bool, str]:
    """Whether contents are to be lists of parts, and the prompt of the marked question."""
    for in_parts in (False, True):
        opened = render(tokenizer, [{"role": "user", "content": _QUESTION}], in_parts=in_parts, open_turn=True)
        if _QUESTION in opened:
            return in_parts, opened
    raise ModelError(
        "its chat template leaves the question out",
        where=tokenizer.name_or_path,
        remedy="correct the template in its folder",
    )


def _block(
    tokenizer: PreTrainedTokenizerBase, opened: str, before: str, whole: str
) -> tuple[str | None, str | None, bool]:
    """What stands before and after reasoning, behind the prompt, and whether the prompt has opened the block.

    Where the template shows no reasoning: if its prompt opens a block, the block is closed by the tag that belongs to
    it (DeepSeek-R1's drops the reasoning of the past). If it does not speak of thinking at all, the commonest marks are
    as good as any, as plain text. Otherwise its marks cannot be known.
    """
    start, end = whole.find(_THOUGHT), whole.rfind(_ANSWER)
    if len(opened) <= start < end and whole.startswith(opened):
        opening = whole[len(opened) : start]
        return opening, whole[start + len(_THOUGHT) : end], not opening.strip()
    template = tokenizer.get_chat_template()
    last = _OPENED.search(opened)
    if last and opened.startswith(before) and f"</{last['name']}>" in template:
        return "", f"\n</{last['name']}>\n\n", True
    if _SPEAKS_OF_THINKING.search(template) or not before.startswith(opened):
        return None, None, False
    return before[len(opened) :] + _OPENING, _CLOSING, False
