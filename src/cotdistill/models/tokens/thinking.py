"""How a student that thinks is asked and taught, and what of its output is reasoning."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from transformers import PreTrainedTokenizerBase

from cotdistill.config import Argument, Response
from cotdistill.models.tokens.framing import Framing, cannot_think, framing
from cotdistill.models.tokens.template import encode_response
from cotdistill.tasks.reasoning import marks_open, reasoning_end, split_reasoning
from cotdistill.tasks.segments import Region, Segment

_ARGUMENTS: dict[Response, tuple[dict[str, Argument], ...]] = {
    "think": ({"enable_thinking": True}, {"thinking": True}),
    "plain": ({"enable_thinking": False}, {"thinking": False}),
}
"""What templates call the switch of thinking."""

_OPENING = 16
"""Tokens at the end of a prompt in which an opening mark is looked for."""


def set_arguments(
    tokenizer: PreTrainedTokenizerBase, arguments: Mapping[str, Argument], *, default: bool = False
) -> None:
    """Put values of a template's arguments into the template itself, so that they are saved with it.

    With ``default``, whoever renders the template can still give others.
    """
    values = {name: json.dumps(value, ensure_ascii=False) for name, value in arguments.items()}
    each = "{{% if {0} is not defined %}}{{% set {0} = {1} %}}{{% endif %}}" if default else "{{% set {0} = {1} %}}"
    head = "".join(each.format(name, value) for name, value in values.items())
    templates = tokenizer.chat_template
    if not templates or not head:
        return
    if isinstance(templates, dict):
        tokenizer.chat_template = {name: f"{head}\n{text}" for name, text in templates.items()}
    else:
        tokenizer.chat_template = f"{head}\n{templates}"


def settle(tokenizer: PreTrainedTokenizerBase, response: Response | None) -> Response:
    """Give the template the default arguments with which it asks for such a response; returns which one it is.

    None is ``think`` where the template, left to itself, opens a block for thinking or writes an empty one, else
    ``plain``. To think, a switch is on where it changes anything. A plain response follows the prompt at once if a
    switch makes the template close the block in the prompt; else it begins with what the template writes before an
    answer without reasoning. Raises ModelError if the template can have no reasoning.
    """
    own, template = framing(tokenizer), tokenizer.chat_template
    response = response or ("think" if own.thinks else "plain")
    if response == "plain" and not own.empty.strip():
        return response
    for arguments in _ARGUMENTS[response]:
        set_arguments(tokenizer, arguments, default=True)
        if framing(tokenizer) != own and _fits(framing(tokenizer), response):
            return response
        tokenizer.chat_template = template
    if response == "think" and not _fits(own, response):
        raise cannot_think(tokenizer)
    return response


def _fits(frame: Framing, response: Response) -> bool:
    return frame.opening is not None if response == "think" else not frame.empty.strip()


def closing_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The tokens that close a thought. Raises ModelError if the template can have none."""
    closing = framing(tokenizer).closing
    if closing is None:
        raise cannot_think(tokenizer)
    return encode_response(tokenizer, [Segment(closing, Region.REASONING, mark=True)])[0]


class Written(NamedTuple):
    """What a model wrote: the ``text`` with all marks of its thoughts; how many of its first tokens are reasoning and
    marks; and whether every thought is ``closed``."""

    text: str
    num_reasoning_tokens: int
    closed: bool


def read_response(tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], token_ids: Sequence[int]) -> Written:
    """Tell what is thought from what is said in the tokens written after a prompt, which may have opened a thought.

    Marks that are special tokens are kept, all other special tokens left out. Marks that no known model has are written
    as ``<think>`` and ``</think>``.
    """
    frame = framing(tokenizer)
    opened = marks_open(cast("str", tokenizer.decode(list(prompt[-_OPENING:]))))
    if frame.marks and frame.prefilled:
        opened = frame.opening_mark

    def text_of(number: int) -> str:
        kept = [token_id for token_id in token_ids[:number] if token_id not in frame.left_out]
        return opened + cast("str", tokenizer.decode(kept, skip_special_tokens=False))

    text = text_of(len(token_ids))
    reasoning, visible, closed = split_reasoning(text, frame.marks)
    number = 0
    if reasoning is not None or not closed:
        end = reasoning_end(text, frame.marks)
        end += len(text[end:]) - len(text[end:].lstrip())
        number = bisect_left(range(len(token_ids) + 1), end, key=lambda number: len(text_of(number)))
    if frame.marks and number:
        text = f"<think>\n{reasoning or ''}\n" + (f"</think>\n\n{visible}" if closed else "")
    return Written(text, number, closed)
