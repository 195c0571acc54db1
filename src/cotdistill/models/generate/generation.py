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
from cotdistill.models.generate.kv_cache import grows_in_place
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
    batch need little padding, and a lack of memory shows at once. Rows that have ended make room for the next prompts
    where the model's cache is our own. Padding is masked, so a prompt's continuation depends on its batch only by
    rounding; a model that cannot mask it writes them one by one. ``model`` must be in
    eval mode. Raises ModelError for a prompt that is empty or does not fit the model's positions, and for logits that
    are not finite.
    """
    assert not model.training, "dropout would make the continuation random"
    _check_lengths(model, prompts, max_new_tokens)
    ends = _Ends(frozenset(stop_token_ids), is_complete, max_new_tokens)
    for way, order in ways_of(model, list(map(len, prompts)), max_new_tokens):
        size = max_batch_size if way.side_by_side else 1
        together = len(order) if way.growing and way.side_by_side and grows_in_place(model) else size
        for start in range(0, len(order), together):
            indices = order[start : start + together]
            choose = _Choice(model, sampling, indices)
            rows = _rows(model, [prompts[i] for i in indices], size, max_new_tokens, way)
            for row, token_ids, finished in rows.continued(choose, ends):
                yield Generated(indices[row], token_ids, finished)


def _rows(model: PreTrainedModel, prompts: list[Sequence[int]], size: int, max_new_tokens: int, way: Way) -> _Rows:
    if way.argument is None:
        return _Rows(WholeText(model, prompts[0]), prompts, size)
    shared = num_shared(prompts) if len(prompts) > 1 else 0
    if shared < MIN_SHARED or not can_share(model):
        shared = 0
    return _Rows(Batch(model, prompts[:size], max_new_tokens, way, num_shared=shared), prompts, size)


@dataclass(frozen=True, slots=True)
class _Ends:
    """What ends a continuation."""

    stops: frozenset[int]
    is_complete: IsComplete | None
    max_new_tokens: int

    def finished(self, token: int, written: Sequence[int]) -> bool:
        return token in self.stops or (self.is_complete is not None and self.is_complete(written))


@dataclass(frozen=True, slots=True)
class _Rows:
    """Prompts that are written ``size`` at a time, longest first: a quarter of the rows that has ended makes room for
    the next ones."""

    batch: Batch | WholeText
    prompts: Sequence[Sequence[int]]
    size: int

    def continued(self, choose: _Choice, ends: _Ends) -> Iterator[tuple[int, list[int], bool]]:
        """Row, tokens and whether it finished, for each prompt."""
        written: list[list[int]] = [[] for _ in self.prompts]
        rows = list(range(min(self.size, len(self.prompts))))  # the prompt that each row of the batch belongs to
        begun, tokens = len(rows), self.batch.next_tokens(choose, rows)
        while True:
            ended = set[int]()
            for row, token in zip(rows[len(rows) - len(tokens) :], tokens, strict=True):
                if token not in ends.stops:
                    written[row].append(token)
                finished = ends.finished(token, written[row])
                if finished or len(written[row]) == ends.max_new_tokens:
                    ended.add(row)
                    yield row, written[row], finished
            if ended:
                places = _closed_up([row not in ended for row in rows])
                rows = [rows[place] for place in places]
                if rows or begun < len(self.prompts):
                    self.batch.keep(places)
            if begun < len(self.prompts) and len(rows) <= self.size - max(1, self.size // 4):
                more = range(begun, min(begun + self.size - len(rows), len(self.prompts)))
                rows, begun = [*rows, *more], more.stop
                assert isinstance(self.batch, Batch)
                tokens = self.batch.add([self.prompts[row] for row in more], choose, more)
            elif rows:
                tokens = self.batch.next_tokens(choose, rows)
            else:
                return


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
