"""Strings that end a model's output, besides its stop tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedTokenizerBase

from cotdistill.models.tokens.template import decode


def holds_a_stop(tokenizer: PreTrainedTokenizerBase, stops: Sequence[str]) -> Callable[[Sequence[int]], bool]:
    """Whether tokens end with or near a stop string; called after every token, it looks at the last ones only."""
    window = max(len(stop.encode()) for stop in stops) + 1  # a token is a byte at least
    return lambda token_ids: any(stop in decode(tokenizer, token_ids[-window:]) for stop in stops)
