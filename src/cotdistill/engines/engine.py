"""The one interface through which every model is asked: requests in, completions out."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cotdistill.config import Message, Price
from cotdistill.tasks.reasoning import Split, join_reasoning, split_reasoning

TRUNCATED_REASONING, BROKEN_OFF, REFUSED, EMPTY = "truncated_reasoning", "broken_off", "refused", "empty_completion"
MALFORMED = "malformed_answer"

_PROBLEMS = {"refusal": REFUSED, "content_filter": REFUSED, "error": BROKEN_OFF, MALFORMED: MALFORMED}
"""What a finish reason says about an answer that is of no use, whatever it holds."""

Prompt = str | Sequence[int] | Sequence[Message]
"""A user's turn, token ids that are used as they are, or a conversation that ends with a user's turn."""


def conversation(prompt: Prompt) -> list[dict[str, str]] | None:
    """The messages of a prompt by role and content, or None for token ids."""
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    messages = [message._asdict() for message in prompt if isinstance(message, Message)]
    return messages or None


@dataclass(frozen=True, slots=True)
class Request:
    """One draw for one question.

    ``key`` stands for all that can change the completion. A ``raw`` text is continued as it is; any other is put to the
    model as a user's turn. What is drawn at a temperature follows from ``seed`` (default: the key), whatever else is
    asked. Prompts of a ``group`` begin alike and do not share a batch with others.
    """

    key: str
    prompt: Prompt
    question: str = ""
    draw: int = 0
    raw: bool = False
    group: str = ""
    seed: str | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model wrote for a request: ``raw``, up to the first stop string, and reasoning that a server gave
    ``apart``.

    Its ``text`` is what it says, its ``reasoning`` what it thought, apart or between marks. ``finish_reason`` is
    "length" if the token limit cut it off, otherwise "stop" or a server's own word. Output tokens include the
    reasoning; they are estimated where a server has not ``counted`` them. Only models in this process give
    ``reasoning_tokens``, those of reasoning and its marks; they, and servers that are asked to, give ``token_ids``.
    """

    key: str
    question: str
    draw: int
    raw: str
    apart: str | None
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    counted: bool = True
    reasoning_tokens: int | None = None
    token_ids: tuple[int, ...] = ()
    _split: Split = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_split", split_reasoning(self.raw))

    @classmethod
    def of(
        cls,
        request: Request,
        text: str,
        finish_reason: str | None,
        input_tokens: int,
        output_tokens: int,
        *,
        stop: Sequence[str] = (),
        reasoning: str | None = None,
        counted: bool = True,
        reasoning_tokens: int | None = None,
        token_ids: Sequence[int] = (),
    ) -> Completion:
        """``text`` is cut before the first ``stop``. Beams and some servers go on after one, but what comes before it
        is complete, whatever ended the rest."""
        cut = text[: min((place for each in stop if (place := text.find(each)) >= 0), default=len(text))]
        finish = "stop" if len(cut) < len(text) else finish_reason
        asked = (request.key, request.question, request.draw)
        counts = (input_tokens, output_tokens, counted, reasoning_tokens)
        return cls(*asked, cut, reasoning, finish, *counts, tuple(token_ids))

    @property
    def text(self) -> str:
        return self._split.visible

    @property
    def reasoning(self) -> str | None:
        return join_reasoning(self.apart, self._split.reasoning)

    @property
    def closed(self) -> bool:
        """Whether every thought ends before the answer."""
        return self._split.closed and not (self.apart and self._cut_in_thought)

    @property
    def whole(self) -> str:
        """Text and reasoning in one, whichever way they came: what was given apart stands between marks."""
        if not self.apart:
            return self.raw
        return f"<think>{self.apart}" if self._cut_in_thought else f"<think>{self.apart}</think>\n\n{self.raw}"

    @property
    def truncated(self) -> bool:
        """Whether the token limit ended it."""
        return self.finish_reason == "length"

    @property
    def problem(self) -> str | None:
        """Why it is of no use although it is paid for: the limit ended the reasoning, the server withheld the text or
        broke off, what came is no text, or nothing came. None if there is a text or a reasoning that ends by itself."""
        if self.finish_reason in _PROBLEMS:
            return _PROBLEMS[self.finish_reason]
        if self._cut_in_thought:
            return TRUNCATED_REASONING
        return None if self.text.strip() or self.reasoning else EMPTY

    @property
    def _cut_in_thought(self) -> bool:
        return self.truncated and not (self._split.closed and self.text.strip())

    def to_row(self, *, with_tokens: bool = False) -> dict[str, Any]:
        """What came, as it came: the text with its marks."""
        row = {column: getattr(self, name) for name, column in _COLUMNS.items()}
        return row | ({"token_ids": self.token_ids} if with_tokens else {})

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Completion:
        """Raises KeyError or TypeError for a row that is none."""
        row = {"reasoning_tokens": None, "token_ids": ()} | row
        values = {name: row[column] for name, column in _COLUMNS.items()}
        counts = (*(values[name] for name in _COUNTS), *row["token_ids"])
        if not isinstance(values["raw"], str) or not all(isinstance(number, int) for number in counts):
            raise TypeError
        return cls(**values, token_ids=tuple(row["token_ids"]))


_COUNTS = ("draw", "input_tokens", "output_tokens")
_COLUMNS = {
    "key": "key", "question": "question", "draw": "draw", "raw": "text", "apart": "reasoning",
    "finish_reason": "finish_reason", "input_tokens": "input_tokens", "output_tokens": "output_tokens",
    "counted": "counted", "reasoning_tokens": "reasoning_tokens",
}  # fmt: skip
"""The fields that are logged, by what they are called there."""


@dataclass(frozen=True, slots=True)
class Failed:
    """A request without a completion: the ``reason`` in a word or two, and what the server ``said``, if anything."""

    key: str
    reason: str
    said: str = ""
    input_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """Tokens to be scored under ``key``."""

    key: str
    token_ids: Sequence[int]


TokenScore = tuple[float, str | None]
"""A token's natural log-probability, and its text as the server gives it."""


@dataclass(frozen=True, slots=True)
class TokenScores:
    """For each token except the first, what is known of the distribution at its position: scores by token id."""

    key: str
    places: list[dict[int, TokenScore]]
    input_tokens: int
    output_tokens: int


class Kept(Container[str], Protocol):
    """Completions that are already there, by key."""

    def num_tokens(self) -> tuple[int, int]:
        """Tokens of their prompts and of the completions themselves: they count against a budget."""
        ...

    def longest(self) -> int:
        """The output tokens of the longest of them."""
        ...


Begun = Callable[[int], None]
"""Told how many more completions of a batch are made."""


class Engine(Protocol):
    """A model that can be asked. ``price`` is what its tokens cost, if known."""

    price: Price | None

    def generate(
        self, requests: Iterable[Request], kept: Kept | None = None, begun: Begun | None = None
    ) -> Iterator[Sequence[Completion | Failed]]:
        """The outcome of each request that is not ``kept``, in any order; ``begun`` hears of those that are made while
        others that they arrive with are not.

        What arrives together must be kept together: the composition of a batch can change its rounding, so a batch that
        is not kept as a whole is made again as a whole. Raises ModelError for what concerns all requests.
        """
        ...


class ScoringEngine(Engine, Protocol):
    """An engine that also gives log-probabilities of tokens that it reads."""

    def score(
        self, sequences: Iterable[Scored], k: int, spent: tuple[int, int] = (0, 0)
    ) -> Iterator[Sequence[TokenScores | Failed]]:
        """The ``k`` likeliest tokens at each position, and the token itself; ``spent`` counts against a budget."""
        ...
