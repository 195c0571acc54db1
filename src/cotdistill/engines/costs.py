"""What asking costs: prices, and a budget that what is asked stays within."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from cotdistill.config import Limits, Price, ServedModel
from cotdistill.engines.engine import Prompt, conversation
from cotdistill.errors import ConfigError

PRICES_OF = "2026-03"
PRICES = {
    "gpt-4o": Price(input=2.5, output=10.0),
    "gpt-4o-mini": Price(input=0.15, output=0.6),
    "gpt-4.1": Price(input=2.0, output=8.0),
    "gpt-4.1-mini": Price(input=0.4, output=1.6),
    "gpt-4.1-nano": Price(input=0.1, output=0.4),
}
"""Examples: US dollars per million tokens of OpenAI's own models, as third parties listed them in the month PRICES_OF.
They are not kept up to date; ``limits.price`` overrides them, and is needed for a budget on any other model."""

FREE = Price(input=0, output=0)
"""The price of what runs in this process."""

_CHARACTERS_PER_TOKEN = 4


def estimated_tokens(prompt: Prompt) -> int:
    """About how many tokens a text has for most tokenizers; English has four characters per token."""
    messages = conversation(prompt)
    if messages is None:
        return len(prompt)
    return sum(len(message["content"]) // _CHARACTERS_PER_TOKEN + 1 for message in messages)


def price_of(asked: object) -> Price | None:
    """The user's own price, else the example for a model of OpenAI's own server, else None (unknown); also None if
    nothing is paid, because the model is not behind a server."""
    if not isinstance(asked, ServedModel):
        return None
    return asked.limits.price or (PRICES.get(asked.model) if asked.base_url is None else None)


def cost(price: Price, input_tokens: int, output_tokens: int) -> float:
    return (price.input * input_tokens + price.output * output_tokens) / 1e6


def spent(price: Price | None, input_tokens: int, output_tokens: int) -> str:
    """For a line of progress."""
    tokens = f"{input_tokens + output_tokens} tokens"
    return tokens if price is None else f"{cost(price, input_tokens, output_tokens):.2f} spent, {tokens}"


class Budget:
    """Tokens and money spent, and reserved by requests under way, against the limits of an asked model.

    ``spent`` are tokens of prompts and of completions that are already paid for. A reservation is the most that a
    request is known to cost, so that what is asked stays within the budget. A server that writes more than it was
    asked for exceeds it by no more than what is in flight when that shows. If only reservations stand in the way, a
    request waits for them.
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

    async def reserve(self, most: Callable[[], int]) -> int | None:
        """How many tokens were reserved: as many as ``most`` says by then; None if they exceed the budget."""
        async with self._freed:
            while not self._allows(self._reserved + (tokens := most())):
                if not self._reserved:
                    return None
                await self._freed.wait()
            self._reserved += tokens
            return tokens

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
        return cost(self._price, self._input_tokens, self._output_tokens) + dearest <= self._limits.max_cost
