"""A rough estimate of what asking will take, given before the first request."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cotdistill.config import Price
from cotdistill.engines.costs import cost, estimated_tokens
from cotdistill.engines.engine import Prompt

_WORDS_TO_TOKENS = 1.5


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left to ask: requests, tokens in and out, and the cost in the price's currency (None: unknown)."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None

    def times(self, factor: float) -> Estimate:
        return Estimate(
            round(factor * self.requests),
            round(factor * self.input_tokens),
            round(factor * self.output_tokens),
            None if self.cost is None else factor * self.cost,
        )

    def __add__(self, other: Estimate) -> Estimate:
        return Estimate(
            self.requests + other.requests,
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            None if self.cost is None or other.cost is None else self.cost + other.cost,
        )

    def __str__(self) -> str:
        tokens = f"about {self.input_tokens} tokens in and {self.output_tokens} out"
        return f"{self.requests} requests, {tokens}, cost {money(self.cost)}"


def money(cost: float | None) -> str:
    """In words, in the price's currency."""
    return "unknown" if cost is None else f"about {cost:.2f}" if cost else "nothing"


NOTHING = Estimate(0, 0, 0, 0.0)


def estimate(prompts: Iterable[Prompt], typical_words: int, price: Price | None) -> Estimate:
    """For one draw per prompt, with completions of ``typical_words``."""
    sizes = [estimated_tokens(prompt) for prompt in prompts]
    tokens_in, tokens_out = sum(sizes), int(len(sizes) * typical_words * _WORDS_TO_TOKENS)
    return Estimate(len(sizes), tokens_in, tokens_out, None if price is None else cost(price, tokens_in, tokens_out))
