"""What a generator is: a problem that is drawn, asked, answered, and solved in structured steps.

A solver states each fact once, in a :class:`Step` or a :class:`Solution`; :mod:`.rendering` alone decides which of the
facts a granularity shows and how a format words them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from random import Random
from typing import ClassVar, NamedTuple

from cotdistill.records import AnswerType


class Wording(NamedTuple):
    """One statement, in words and in symbols. Neither ends in a full stop."""

    words: str
    symbols: str


class Step(NamedTuple):
    """One step of a solution. ``question``, ``given`` and ``reason`` are sentences; the others have no full stop."""

    question: str
    """The sub-question that the step answers."""
    given: str
    """What the step starts from."""
    reason: str
    """The rule that it applies."""
    action: str
    """What is done, in a few words."""
    working: str
    """How the result comes about."""
    result: str
    """The state after the step."""
    symbols: str
    """Action and result as a formula."""
    check: str
    """A second look at the result."""


class Solution(NamedTuple):
    """A solved problem: ``restated``, ``plan`` and ``question`` are sentences; the others have no full stop."""

    restated: str
    """The question in other words, with what it gives."""
    plan: str
    start: Wording
    """The state before the first step."""
    sketch: Wording
    """The way to the answer without its intermediate states."""
    steps: tuple[Step, ...]
    question: str
    """The last sub-question, whose answer is the answer."""
    conclusion: Wording
    """What the last state says about the question."""
    check: str
    answer: str
    """The answer as the steps derive it; a choice's letter is in brackets."""


@dataclass(frozen=True, slots=True)
class Problem(ABC):
    """A problem of one kind. Everything about it follows from the seed of ``random`` and the difficulty."""

    answer_type: ClassVar[AnswerType]

    @classmethod
    @abstractmethod
    def draw(cls, random: Random, difficulty: int) -> Problem:
        """A random problem; ``difficulty`` is 1 (two or three steps) to 4 (BIG-Bench-Hard's size)."""

    @abstractmethod
    def question(self) -> str:
        """The text that is asked, without choices."""

    def choices(self) -> tuple[str, ...] | None:
        """The options of a multiple-choice question, without letters."""
        return None

    @abstractmethod
    def answer(self) -> str:
        """The answer in canonical form."""

    @abstractmethod
    def solve(self) -> Solution:
        """The correct solution in steps."""


def letter(index: int) -> str:
    """The letter of a choice: A for index 0."""
    return chr(ord("A") + index)
