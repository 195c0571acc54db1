"""The one rule that tells what a model thought from what it says, for what it wrote between thinking marks."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

__all__ = ["Split", "is_mark", "join_reasoning", "marks_open", "reasoning_end", "split_reasoning", "without_marks"]

_TAGS = "think|thinking|thought|thoughts|reasoning|analysis|scratchpad|reflection"
_TURN = r"(?:<\|(?:end|eom)\|>)?(?:<\|start\|>assistant)?"
_OPENING = (
    rf"<(?:[a-z]{{1,10}}:)?(?:{_TAGS})>"
    r"|\[THINK\]|◁think▷|<\|begin_of_thought\|>|<\|START_THINKING\|>"
    r"|<\|channel>thought\n?"  # Gemma 4
    rf"|{_TURN}<\|channel\|>(?:analysis|commentary)[^<]{{0,40}}<\|message\|>"  # gpt-oss
    rf"|{_TURN} ?to=self<\|message\|>"  # Muse
)
_CLOSING = (
    rf"</(?:[a-z]{{1,10}}:)?(?:{_TAGS})>"
    r"|\[/THINK\]|◁/think▷|<\|end_of_thought\|>|<\|END_THINKING\|>"
    r"|<channel\|>"
    rf"|{_TURN}<\|channel\|>final[^<]{{0,40}}<\|message\|>"
    rf"|{_TURN} ?to=user<\|message\|>"
)
_MARK = re.compile(f"(?P<close>{_CLOSING})|{_OPENING}", re.IGNORECASE)
_MARK_AND_BREAK = re.compile(f"(?:{_CLOSING}|{_OPENING})[ \\t]*\\n?", re.IGNORECASE)
_END_OF_TURN = re.compile(r"\s*<\|(?:end|eom|return)\|>\s*\Z")

_SIGNS = "<[◁"
"""Every mark has one of these, which are found a hundred times faster than marks."""

_PARTS_OF_MARKS = ("<|channel|>", "<|message|>", "<|start|>", "<|channel>", "<channel|>")

_BARE_CHANNELS = re.compile(r"analysis(?=[A-Z\"(0-9])(.*)assistantfinal", re.DOTALL)
"""What gpt-oss's channels look like where a server leaves out special tokens."""


class Split(NamedTuple):
    """``reasoning`` without its marks (None: nothing), what is ``visible`` besides, and whether every thought ends."""

    reasoning: str | None
    visible: str
    closed: bool


def split_reasoning(text: str, marks: tuple[str, str] | None = None) -> Split:
    """What stands between thinking marks, and what does not; without marks all is visible, as it is.

    A closing mark alone ends a thought that the prompt opened. What follows an opening mark that nothing closes is
    reasoning. ``marks`` are an opening and a closing one to look for instead of those of the known models.
    """
    if marks is None and (channels := _BARE_CHANNELS.match(text)):
        return Split(channels[1].strip() or None, text[channels.end() :].strip(), True)
    if marks is None and not _may_have_marks(text):
        return Split(None, text, True)
    thoughts: list[str] = []
    said: list[str] = []
    place, thinks, found = 0, False, False
    for mark in _pattern(marks).finditer(text):
        found, passage = True, text[place : mark.start()]
        if mark["close"] and not thinks:  # the prompt opened it
            thoughts, said = [*thoughts, *said, passage], []
        else:
            (thoughts if thinks else said).append(passage)
        thinks, place = not mark["close"], mark.end()
    if not found:
        return Split(None, text, True)
    (thoughts if thinks else said).append(_END_OF_TURN.sub("", text[place:]))
    reasoning = "\n\n".join(filter(None, (thought.strip() for thought in thoughts)))
    return Split(reasoning or None, "".join(said).strip(), not thinks)


def reasoning_end(text: str, marks: tuple[str, str] | None = None) -> int:
    """Where, in characters, the last thought of :func:`split_reasoning` ends, its closing mark included; 0 if there is
    none."""
    *_, last = [None, *_pattern(marks).finditer(text)]
    if last is None:
        return 0
    return last.end() if last["close"] else len(text)


def join_reasoning(first: str | None, second: str | None) -> str | None:
    """Two pieces of reasoning as one; None if there is none."""
    return "\n\n".join(filter(None, (first, second))) or None


def marks_open(prompt: str) -> str:
    """The thinking mark that the end of a prompt leaves open for the model, or ""."""
    *_, last = [None, *_MARK.finditer(prompt)]
    return last[0] if last and not last["close"] and not prompt[last.end() :].strip() else ""


def is_mark(token: str) -> bool:
    """Whether a special token's text is a thinking mark or a part of one."""
    return token in _PARTS_OF_MARKS or _MARK.fullmatch(token) is not None


def without_marks(text: str) -> str:
    """``text`` with its thoughts and without the marks around them, nor the lines that hold nothing else."""
    return _MARK_AND_BREAK.sub("", text) if _may_have_marks(text) else text


def _may_have_marks(text: str) -> bool:
    return any(sign in text for sign in _SIGNS)


@cache
def _pattern(marks: tuple[str, str] | None) -> re.Pattern[str]:
    if marks is None:
        return _MARK
    opening, closing = map(re.escape, marks)
    return re.compile(f"(?P<close>{closing})|{opening}")
