"""Batched generation on a model's own forward pass: greedy or sampled, with a prefix that rows share computed once."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from cotdistill.errors import ModelError
from cotdistill.models.generate.kv_cache import growing_cache, grows_in_place, joined
from cotdistill.models.generate.shared_prefix import (
    MIN_SHARED,
    attending_to_prefix,
    can_share,
    compute_prefix,
    num_shared,
)

READ_TOKENS = {"cpu": 512}
"""Prompt tokens that are read in one forward pass, by kind of device: prompts of like length are read together, so that
little is spent on padding."""
MANY_READ_TOKENS = 8192
"""The same for every other kind."""

IsComplete = Callable[[Sequence[int]], bool]
"""Whether what was written so far ends a continuation, for example because it holds a stop string."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote after prompt ``index``, without the stop token; not ``finished`` where the limit cut it."""

    index: int
    token_ids: list[int]
    finished: bool


@dataclass(frozen=True, slots=True)
class Sampling:
    """Tokens drawn at a ``temperature``; ``seeds``, one a prompt, fix what is drawn whatever the batch.

    With ``top_p`` below 1 only from the fewest most probable tokens that have so much of the probability.
    """

    temperature: float
    seeds: Sequence[str]
    top_p: float = 1.0


def generate(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    max_batch_size: int,
    stop_token_ids: Collection[int],
    is_complete: IsComplete | None = None,
    sampling: Sampling | None = None,
) -> Iterator[Generated]:
    """A continuation of every prompt, token by token, in the order in which they are finished; greedy by default.

    A continuation ends before the first of ``stop_token_ids``, where ``is_complete`` says so (the tokens that made it
    so are kept), or after ``max_new_tokens`` tokens (the stop token counted). Longest prompts come first: rows of a
    batch need little padding, and a lack of memory shows at once. Padding is masked, so a prompt's continuation does
    not depend on its batch but for rounding. ``model`` must be in eval mode. Raises ModelError for a prompt that is
    empty or does not fit the model's positions.
    """
    assert not model.training, "dropout would make the continuation random"
    _check_lengths(model, prompts, max_new_tokens)
    order = sorted(range(len(prompts)), key=lambda index: (-len(prompts[index]), index))
    ends = _Ends(frozenset(stop_token_ids), is_complete)
    for start in range(0, len(order), max_batch_size):
        indices = order[start : start + max_batch_size]
        choose = _Choice(sampling, indices)
        batch = _Batch(model, [prompts[i] for i in indices], max_new_tokens)
        for row, token_ids, finished in _generate_batch(batch, choose, len(indices), max_new_tokens, ends):
            yield Generated(indices[row], token_ids, finished)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What ends a continuation before the limit."""

    stops: frozenset[int]
    is_complete: IsComplete | None

    def after(self, written: Sequence[int]) -> bool:
        return self.is_complete is not None and self.is_complete(written)


def _generate_batch(
    batch: _Batch, choose: _Choice, num_prompts: int, max_new_tokens: int, ends: _Ends
) -> Iterator[tuple[int, list[int], bool]]:
    """Row, tokens and whether it finished, for each prompt of the batch."""
    written: list[list[int]] = [[] for _ in range(num_prompts)]
    rows = list(range(num_prompts))  # the prompt that each row of the batch belongs to
    live = set(rows)
    for step in range(max_new_tokens):
        tokens = batch.next_tokens(choose, rows)
        for row, token in zip(rows, tokens, strict=True):
            if row not in live:
                continue
            if token not in ends.stops:
                written[row].append(token)
            if token in ends.stops or ends.after(written[row]):
                live.remove(row)
                yield row, written[row], True
        if not live or step + 1 == max_new_tokens:
            break
        if len(live) < len(rows):
            places = _closed_up([row in live for row in rows])
            batch.keep(places)
            rows = [rows[place] for place in places]
    for row in sorted(live):
        yield row, written[row], False


def _closed_up(kept: Sequence[bool]) -> list[int]:
    """The places that are kept, with the last ones in the gaps of the others: few rows have to move."""
    num_kept = sum(kept)
    last = [place for place in range(num_kept, len(kept)) if kept[place]]
    return [place if kept[place] else last.pop() for place in range(num_kept)]


class _Choice:
    """The next token of each row: the most probable, or one drawn with the row's own random numbers."""

    def __init__(self, sampling: Sampling | None, indices: Sequence[int]):
        self.temperature = sampling.temperature if sampling else None
        self.top_p = sampling.top_p if sampling else 1.0
        self.draws = [random.Random(sampling.seeds[i]) for i in indices] if sampling else []

    def __call__(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        """Token ids ``[rows]`` from float32 ``logits [rows, vocabulary]``; ``rows`` names the prompt of each row."""
        if self.temperature is None:
            return logits.argmax(dim=-1)
        probabilities = (logits / self.temperature).softmax(dim=-1)
        if self.top_p < 1:
            probabilities = _nucleus(probabilities, self.top_p)
        cumulative = probabilities.double().cumsum(dim=-1)
        points = torch.tensor([self.draws[row].random() for row in rows], dtype=torch.float64, device=logits.device)
        return torch.searchsorted(cumulative, points[:, None] * cumulative[:, -1:], right=True)[:, 0]


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """``probabilities [rows, vocabulary]`` with zeros at all tokens but the most probable ones that reach ``top_p``."""
    ordered, places = probabilities.sort(dim=-1, descending=True)
    beyond = ordered.cumsum(dim=-1) - ordered >= top_p
    return torch.zeros_like(probabilities).scatter(-1, places, ordered.masked_fill(beyond, 0.0))


class _Batch:
    """Left-padded rows, longest first, with their key-value cache, which advance one token at a time.

    What the rows begin with in common is held once, apart from the cache (see ``shared_prefix``); padding, mask and
    cache are about the tokens behind it.
    """

    def __init__(self, model: PreTrainedModel, prompts: list[Sequence[int]], max_new_tokens: int):
        self.model = model
        shared = num_shared(prompts) if len(prompts) > 1 else 0
        if shared < MIN_SHARED or not can_share(model):
            shared = 0
        self.prefix = compute_prefix(model, prompts[0][:shared]) if shared else None
        self.num_shared = shared
        self.unread: list[Sequence[int]] = [prompt[shared:] for prompt in prompts]
        self.length = max(map(len, self.unread))
        padding = torch.tensor([self.length - len(own) for own in self.unread])
        # [rows, all tokens that there may be]; each step sees its first columns.
        self.mask = (torch.arange(self.length + max_new_tokens) >= padding[:, None]).long().to(model.device)
        self.positions = torch.tensor([[len(prompt)] for prompt in prompts], device=model.device)

    @torch.inference_mode()
    def next_tokens(self, choose: _Choice, rows: Sequence[int]) -> list[int]:
        """The chosen next token of every row, which becomes the row's next input."""
        if self.unread:
            logits = self._read()
        else:
            logits = self._forward(self.inputs, self.mask[:, : self.length], self.positions, self.cache)
            self.positions = self.positions + 1
        tokens = choose(logits, rows)
        self.inputs = tokens[:, None]
        self.length += 1
        return tokens.tolist()

    def _read(self) -> Tensor:
        """Read the prompts, some rows at a time; the float32 logits ``[rows, vocabulary]`` of their next tokens."""
        parts: list[DynamicCache] = []
        logits = []
        for own in _of_like_length(self.unread, self._most_read_tokens()):
            padding = torch.tensor([len(own[0]) - len(tokens) for tokens in own])
            places = torch.arange(len(own[0]))
            # any id will do for padding: it is masked
            ids = torch.tensor([[0] * (len(own[0]) - len(tokens)) + list(tokens) for tokens in own])
            mask = (places >= padding[:, None]).long()
            positions = self.num_shared + (places - padding[:, None]).clamp(min=0)
            parts.append(growing_cache(self.model))
            device = self.model.device
            logits.append(self._forward(ids.to(device), mask.to(device), positions.to(device), parts[-1]))
        self.cache = joined(parts)
        self.unread = []
        return torch.cat(logits)

    def _most_read_tokens(self) -> int:
        """All of them where a layer of the cache is not our own: such ones cannot be joined."""
        if not grows_in_place(self.model):
            return sum(map(len, self.unread)) * len(self.unread)
        return READ_TOKENS.get(self.model.device.type, MANY_READ_TOKENS)

    def _forward(self, inputs: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
        prefix: dict[str, Any] = {"shared_prefix": self.prefix} if self.prefix else {}
        with attending_to_prefix(self.model) if self.prefix else nullcontext():
            output = self.model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
                **prefix,
            )
        return output.logits[:, -1].float()

    @torch.inference_mode()
    def keep(self, places: list[int]) -> None:
        """Drop all rows but those at ``places``, which come in this order."""
        kept = torch.tensor(places, device=self.model.device)
        self.cache.batch_select_indices(kept)
        self.mask, self.inputs, self.positions = self.mask[kept], self.inputs[kept], self.positions[kept]


def _of_like_length(prompts: Sequence[Sequence[int]], most_tokens: int) -> Iterator[Sequence[Sequence[int]]]:
    """``prompts``, longest first, cut into pieces of ``most_tokens`` with their padding, or of one prompt."""
    start = 0
    while start < len(prompts):
        end = start + max(1, most_tokens // len(prompts[start]))
        yield prompts[start:end]
        start = end


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
