"""What asking costs: prices, an estimate before the first request, and a budget that is never overdrawn."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from cotdistill.config import Limits, OpenAITeacher, Price
from cotdistill.errors import ConfigError

PRICES_OF = "2026-03"
PRICES = {
    "gpt-4o": Price(input=2.5, output=10.0),
    "gpt-4o-mini": Price(input=0.15, output=0.6),
    "gpt-4.1": Price(input=2.0, output=8.0),
    "gpt-4.1-mini": Price(input=0.4, output=1.6),
    "gpt-4.1-nano": Price(input=0.1, output=0.4),
}
"""Examples: US dollars for a million tokens of OpenAI's own models, as others listed them in the month PRICES_OF. They
are not kept up to date; ``limits.price`` overrides them, and is needed for a budget on any other model."""

_CHARACTERS_PER_TOKEN = 4
_WORDS_TO_TOKENS = 1.5


def estimated_tokens(text: str) -> int:
    """About how many tokens ``text`` has for most tokenizers; English has four characters a token."""
    return len(text) // _CHARACTERS_PER_TOKEN + 1


def price_of(teacher: OpenAITeacher) -> Price | None:
    """The user's own, else the example for a model of OpenAI's own server, else unknown."""
    return teacher.limits.price or (PRICES.get(teacher.model) if teacher.base_url is None else None)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is left to ask: requests, tokens in and out, and money (None: the price is unknown)."""

    requests: int
    input_tokens: int
    output_tokens: int
    cost: float | None

    def __str__(self) -> str:
        money = "unknown cost" if self.cost is None else f"about {self.cost:.2f} in the currency of the price"
        return f"{self.requests} requests, about {self.input_tokens} tokens in and {self.output_tokens} out, {money}"


NOTHING = Estimate(0, 0, 0, 0.0)


def estimate(prompts: Iterable[str], typical_words: int, price: Price | None) -> Estimate:
    """For one draw a prompt, with answers of ``typical_words``."""
    sizes = [estimated_tokens(prompt) for prompt in prompts]
    tokens_in, tokens_out = sum(sizes), int(len(sizes) * typical_words * _WORDS_TO_TOKENS)
    return Estimate(len(sizes), tokens_in, tokens_out, None if price is None else cost(price, tokens_in, tokens_out))


def cost(price: Price, input_tokens: int, output_tokens: int) -> float:
    return (price.input * input_tokens + price.output * output_tokens) / 1e6


class Budget:
    """Tokens and money spent, and reserved by requests under way, against the limits of a teacher.

    ``spent`` counts the tokens of prompts and of answers that were paid for before. A reservation is the most that a
    request can cost, so no answer overdraws the budget. Where what is reserved is in the way, a request waits for it.
    """

    def __init__(self, limits: Limits, price: Price | None, spent: tuple[int, int] = (0, 0)):
        if limits.max_cost is not None and price is None:
            raise ConfigError(
                "max_cost needs a price", where="limits", remedy="set limits.price: {input: ..., output: ...}"
            )
        self._limits, self._price = limits, price
        self._input_tokens, self._output_tokens = spent
        self._reserved = 0
        self._freed = asyncio.Condition()

    async def reserve(self, tokens: int) -> bool:
        """Whether so many more tokens are within the budget."""
        async with self._freed:
            while not self._allows(self._reserved + tokens):
                if not self._reserved:
                    return False
                await self._freed.wait()
            self._reserved += tokens
            return True

    async def release(self, tokens: int) -> None:
        async with self._freed:
            self._reserved -= tokens
            self._freed.notify_all()

    def spend(self, input_tokens: int, output_tokens: int) -> None:
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens

    def _allows(self, more: int) -> bool:
        tokens = self._input_tokens + self._output_tokens + more
        if self._limits.max_total_tokens is not None and tokens > self._limits.max_total_tokens:
            return False
        if self._limits.max_cost is None or self._price is None:
            return True
        dearest = more * max(self._price.input, self._price.output) / 1e6
        return self.spent_money() + dearest <= self._limits.max_cost

    def spent_money(self) -> float:
        return 0.0 if self._price is None else cost(self._price, self._input_tokens, self._output_tokens)

    def __str__(self) -> str:
        tokens = f"{self._input_tokens + self._output_tokens} tokens"
        return tokens if self._price is None else f"{self.spent_money():.2f} spent, {tokens}"
