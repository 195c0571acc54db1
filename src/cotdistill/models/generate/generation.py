"""Batched generation on a model's own forward pass: greedy or sampled, with a prefix that rows share computed once."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.errors import ModelError
from cotdistill.models.forward.finite import not_finite
from cotdistill.models.forward.positions import num_positions
from cotdistill.models.generate.abilities import can_share, ways_of
from cotdistill.models.generate.batch import Batch, Way, WholeText
from cotdistill.models.generate.shared_prefix import MIN_SHARED, num_shared

IsComplete = Callable[[Sequence[int]], bool]
"""Whether what was written so far ends a continuation, for example because it holds a stop string."""


@dataclass(frozen=True, slots=True)
class Generated:
    """What a model wrote after prompt ``index``, without the stop token; not ``finished`` if the limit cut it."""

    index: int
    token_ids: list[int]
    finished: bool


@dataclass(frozen=True, slots=True)
class Sampling:
    """Tokens drawn at a ``temperature``; ``seeds``, one per prompt, fix what is drawn in any batch.

    With ``top_p`` below 1, only the most probable tokens that together reach this probability are drawn from.
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
    """A continuation of every prompt, token by token, in the order in which they finish; greedy by default.

    A continuation ends before the first of ``stop_token_ids``, when ``is_complete`` says so (the tokens that completed
    it are kept), or after ``max_new_tokens`` tokens (including the stop token). Longest prompts come first: rows of a
    batch need little padding, and a lack of memory shows at once. Padding is masked, so a prompt's continuation depends
    on its batch only by rounding; a model that cannot mask it writes them one by one. ``model`` must be in
    eval mode. Raises ModelError for a prompt that is empty or does not fit the model's positions, and for logits that
    are not finite.
    """
    assert not model.training, "dropout would make the continuation random"
    _check_lengths(model, prompts, max_new_tokens)
    ends = _Ends(frozenset(stop_token_ids), is_complete)
    for way, order in ways_of(model, list(map(len, prompts)), max_new_tokens):
        size = max_batch_size if way.side_by_side else 1
        for start in range(0, len(order), size):
            indices = order[start : start + size]
            choose = _Choice(model, sampling, indices)
            batch = _batch(model, [prompts[i] for i in indices], max_new_tokens, way)
            for row, token_ids, finished in _generate_batch(batch, choose, len(indices), max_new_tokens, ends):
                yield Generated(indices[row], token_ids, finished)


def _batch(model: PreTrainedModel, prompts: list[Sequence[int]], max_new_tokens: int, way: Way) -> Batch | WholeText:
    if way.argument is None:
        return WholeText(model, prompts[0])
    shared = num_shared(prompts) if len(prompts) > 1 else 0
    if shared < MIN_SHARED or not can_share(model):
        shared = 0
    return Batch(model, prompts, max_new_tokens, way, num_shared=shared)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What ends a continuation before the limit."""

    stops: frozenset[int]
    is_complete: IsComplete | None

    def after(self, written: Sequence[int]) -> bool:
        return self.is_complete is not None and self.is_complete(written)


def _generate_batch(
    batch: Batch | WholeText, choose: _Choice, num_prompts: int, max_new_tokens: int, ends: _Ends
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

    def __init__(self, model: PreTrainedModel, sampling: Sampling | None, indices: Sequence[int]):
        self.model = model
        self.temperature = sampling.temperature if sampling else None
        self.top_p = sampling.top_p if sampling else 1.0
        self.draws = [random.Random(sampling.seeds[i]) for i in indices] if sampling else []

    def __call__(self, logits: Tensor, rows: Sequence[int]) -> Tensor:
        """Token ids ``[rows]`` from float32 ``logits [rows, vocabulary]``; ``rows`` names the prompt of each row."""
        if self.temperature is None:
            tokens = logits.argmax(dim=-1)  # a NaN is the largest of all to it
            self._check(logits.gather(-1, tokens[:, None]))
            return tokens
        probabilities = (logits / self.temperature).softmax(dim=-1)
        if self.top_p < 1:
            probabilities = _nucleus(probabilities, self.top_p)
        cumulative = probabilities.double().cumsum(dim=-1)
        self._check(cumulative[:, -1])
        points = torch.tensor([self.draws[row].random() for row in rows], dtype=torch.float64, device=logits.device)
        return torch.searchsorted(cumulative, points[:, None] * cumulative[:, -1:], right=True)[:, 0]

    def _check(self, chosen: Tensor) -> None:
        if not chosen.isfinite().all():
            raise not_finite(self.model)


def _nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """``probabilities [rows, vocabulary]`` with zeros at all tokens but the most probable ones that reach ``top_p``."""
    ordered, places = probabilities.sort(dim=-1, descending=True)
    beyond = ordered.cumsum(dim=-1) - ordered >= top_p
    return torch.zeros_like(probabilities).scatter(-1, places, ordered.masked_fill(beyond, 0.0))


def _check_lengths(model: PreTrainedModel, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    limit, num_tokens = num_positions(model), model.get_input_embeddings().weight.shape[0]  # pyright: ignore
    for index, prompt in enumerate(prompts):
        if not prompt:
            raise ModelError("the prompt has no tokens", where=f"prompt {index}", remedy="leave it out")
        if max(prompt) >= num_tokens:
            raise ModelError(
                f"token {max(prompt)} is beyond the model's {num_tokens} embeddings",
                where=f"prompt {index}",
                remedy="model and tokenizer do not belong together; check both folders",
            )
        if limit is not None and len(prompt) + max_new_tokens > limit:
            raise ModelError(
                f"{len(prompt)} tokens and {max_new_tokens} new ones exceed the model's {limit} positions",
                where=f"prompt {index}",
                remedy="lower max_new_tokens, or leave the prompt out",
            )
