"""Batched greedy generation on a model's own forward pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.errors import ModelError
from cotdistill.models.kv_cache import growing_cache

COMPACT_SHARE = 0.25
"""The share of a batch that must be finished for its rows to be dropped: dropping copies the cache of the others."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote after prompt ``index``, without the stop token; not ``finished`` where the limit cut it."""

    index: int
    token_ids: list[int]
    finished: bool


def generate_greedy(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    max_batch_size: int,
    stop_token_ids: Collection[int],
) -> Iterator[Generated]:
    """The most probable continuation of every prompt, token by token, in the order in which they are finished.

    A continuation ends before the first of ``stop_token_ids`` or after ``max_new_tokens`` tokens (the stop token
    counted). Longest prompts come first: rows of a batch need little padding, and a lack of memory shows at once.
    Padding is masked, so a prompt's continuation does not depend on its batch but for rounding. ``model`` must be in
    eval mode. Raises ModelError for a prompt that is empty or does not fit the model's positions.
    """
    assert not model.training, "dropout would make the continuation random"
    _check_lengths(model, prompts, max_new_tokens)
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    stops = frozenset(stop_token_ids)
    for start in range(0, len(order), max_batch_size):
        indices = order[start : start + max_batch_size]
        for row, token_ids, finished in _generate_batch(model, [prompts[i] for i in indices], max_new_tokens, stops):
            yield Generated(indices[row], token_ids, finished)


def _generate_batch(
    model: PreTrainedModel, prompts: list[Sequence[int]], max_new_tokens: int, stops: frozenset[int]
) -> Iterator[tuple[int, list[int], bool]]:
    """Row, tokens and whether it finished, for each of ``prompts``."""
    batch = _Batch(model, prompts, max_new_tokens)
    written: list[list[int]] = [[] for _ in prompts]
    rows = list(range(len(prompts)))  # the prompt that each row of the batch belongs to
    live = set(rows)
    for step in range(max_new_tokens):
        tokens = batch.next_tokens()
        for row, token in zip(rows, tokens, strict=True):
            if row in live and token not in stops:
                written[row].append(token)
            elif row in live:
                live.remove(row)
                yield row, written[row], True
        if not live or step + 1 == max_new_tokens:
            break
        if len(rows) - len(live) >= COMPACT_SHARE * len(rows):
            batch.keep([place for place, row in enumerate(rows) if row in live])
            rows = [row for row in rows if row in live]
    for row in sorted(live):
        yield row, written[row], False


class _Batch:
    """Left-padded rows with their key-value cache, which advance one token at a time."""

    def __init__(self, model: PreTrainedModel, prompts: list[Sequence[int]], max_new_tokens: int):
        self.model = model
        self.cache = growing_cache(model)
        longest = max(map(len, prompts))
        padding = torch.tensor([longest - len(prompt) for prompt in prompts])
        ids = [[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts]  # any id will do: it is masked
        places = torch.arange(longest + max_new_tokens)
        # [rows, all tokens that there may be]; each step sees its first columns.
        self.mask = (places >= padding[:, None]).long().to(model.device)
        self.positions = (places[:longest] - padding[:, None]).clamp(min=0).to(model.device)
        self.inputs = torch.tensor(ids, device=model.device)
        self.length = longest

    @torch.inference_mode()
    def next_tokens(self) -> list[int]:
        """The most probable next token of every row, which becomes the row's next input."""
        output = self.model(
            input_ids=self.inputs,
            attention_mask=self.mask[:, : self.length],
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        tokens: Tensor = output.logits[:, -1].float().argmax(dim=-1)
        self.inputs = tokens[:, None]
        self.positions = self.positions[:, -1:] + 1
        self.length += 1
        return tokens.tolist()

    @torch.inference_mode()
    def keep(self, places: list[int]) -> None:
        """Drop all rows but those at ``places``."""
        kept = torch.tensor(places, device=self.model.device)
        self.cache.batch_select_indices(kept)
        self.mask, self.inputs, self.positions = self.mask[kept], self.inputs[kept], self.positions[kept]


def num_positions(model: PreTrainedModel) -> int | None:
    """How many tokens, prompt and continuation together, the model has positions for; None where it has no limit."""
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def _check_lengths(model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    limit = num_positions(model)
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ModelError("the prompt has no token", where=f"prompt {index}", remedy="leave it out")
        if limit is not None and len(prompt) + max_new_tokens > limit:
            raise ModelError(
                f"{len(prompt)} tokens and {max_new_tokens} new ones exceed the model's {limit} positions",
                where=f"prompt {index}",
                remedy="lower max_new_tokens or leave it out",
            )
