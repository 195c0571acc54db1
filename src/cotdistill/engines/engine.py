"""The one interface through which every model is asked: requests in, completions out."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from cotdistill.config import Price

TRUNCATED_REASONING, BROKEN_OFF, REFUSED, EMPTY = "truncated_reasoning", "broken_off", "refused", "empty_completion"

Prompt = str | Sequence[int]
"""A text, or token ids that are used as they are."""


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
    """What a model wrote for a request: ``text`` up to the first stop string, and the ``reasoning`` before it, if that
    can be told apart.

    ``finish_reason`` is "length" if the token limit cut it off, otherwise "stop" or a server's own word. Output tokens
    include the reasoning. Only models in this process give ``token_ids``.
    """

    key: str
    question: str
    draw: int
    text: str
    reasoning: str | None
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    token_ids: tuple[int, ...] = ()

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
        token_ids: Sequence[int] = (),
    ) -> Completion:
        """``text`` is cut before the first ``stop``. Beams and some servers go on after one, but what comes before it
        is complete, whatever ended the rest."""
        cut = text[: min((place for each in stop if (place := text.find(each)) >= 0), default=len(text))]
        finish = "stop" if len(cut) < len(text) else finish_reason
        asked = (request.key, request.question, request.draw)
        return cls(*asked, cut, reasoning, finish, input_tokens, output_tokens, tuple(token_ids))

    @property
    def truncated(self) -> bool:
        """Whether the token limit ended it."""
        return self.finish_reason == "length"

    @property
    def problem(self) -> str | None:
        """Why there is no usable text although it is paid for: the limit ended the reasoning, the server withheld the
        text or broke off, or the text is empty. None if there is a usable text."""
        if self.finish_reason in ("refusal", "content_filter"):
            return REFUSED
        if self.finish_reason == "error":
            return BROKEN_OFF
        if self.text.strip():
            return None
        return TRUNCATED_REASONING if self.truncated else EMPTY

    def to_row(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _LOGGED}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Completion:
        return cls(**{name: row[name] for name in _LOGGED})


_LOGGED = tuple(name for name in Completion.__dataclass_fields__ if name != "token_ids")


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


class Engine(Protocol):
    """A model that can be asked. ``price`` is what its tokens cost, if known."""

    price: Price | None

    def generate(
        self, requests: Iterable[Request], kept: Kept | None = None
    ) -> Iterator[Sequence[Completion | Failed]]:
        """The outcome of each request that is not ``kept``, in any order.

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
