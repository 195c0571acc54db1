"""A transformers model in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from cotdistill.config import Sampling, TransformersModel
from cotdistill.engines.engine import Completion
from cotdistill.engines.local import Batch, LocalEngine
from cotdistill.models.forward.positions import num_positions
from cotdistill.models.generate import generation
from cotdistill.models.generate.beams import beam_search
from cotdistill.models.generate.generation import Generated, generate
from cotdistill.models.generate.stopping import holds_a_stop
from cotdistill.models.load.loading import load_model, load_tokenizer, pick_device, resolve_dtype
from cotdistill.models.tokens.template import stop_token_ids
from cotdistill.models.tokens.thinking import closing_ids, read_response

REFILLS = 4
"""Batches whose requests are completed together: rows that end make room for the next ones, so that only the last rows
of so many run half empty. What is lost when a run is killed grows with it."""


class TransformersEngine(LocalEngine):
    """A model in memory; ``num_beams`` above 1 means beam search. It must be in eval mode whenever it is asked.

    A thought that is still open after ``max_reasoning_tokens`` is closed as the chat template closes it, and what
    follows is written in the rest of the tokens.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        max_batch_size: int,
        num_beams: int = 1,
        max_reasoning_tokens: int | None = None,
    ):
        super().__init__(tokenizer, sampling, max_batch_size=max_batch_size, num_positions=num_positions(model))
        self._model, self._num_beams = model, num_beams
        if num_beams == 1:
            self._num_together = REFILLS * max_batch_size
        self._max_reasoning = max_reasoning_tokens
        self._closing = [] if max_reasoning_tokens is None else closing_ids(tokenizer)
        self._stop_ids = stop_token_ids(model, tokenizer)
        self._is_complete = holds_a_stop(tokenizer, sampling.stop) if sampling.stop else None

    @classmethod
    def open(
        cls, asked: TransformersModel, *, num_beams: int = 1, max_reasoning_tokens: int | None = None
    ) -> TransformersEngine:
        """Raises ModelError if the model cannot be loaded."""
        device, tokenizer = pick_device(), load_tokenizer(asked.model)
        model = load_model(asked.model, dtype=resolve_dtype(asked.dtype, device), device=device)
        return cls(
            model,
            tokenizer,
            asked.sampling,
            max_batch_size=asked.max_batch_size,
            num_beams=num_beams,
            max_reasoning_tokens=max_reasoning_tokens,
        )

    def _complete(self, batch: Batch) -> Iterator[Completion]:
        prompts, seeds = [prompt for _, prompt in batch], [request.seed or request.key for request, _ in batch]
        bounded = self._max_reasoning is not None
        for output in self._closed_in_time(prompts, seeds) if bounded else self._generated(prompts, seeds):
            request, prompt = batch[output.index]
            yield self._completion(request, prompt, output.token_ids, "stop" if output.finished else "length")

    def _closed_in_time(self, prompts: Sequence[Sequence[int]], seeds: Sequence[str]) -> Iterator[Generated]:
        """In two goes: what is not finished within the reasoning's limit goes on behind it, thoughts closed."""
        limit = self._max_reasoning or 0
        rest = self._sampling.max_new_tokens - limit - len(self._closing)
        begun = (
            sorted(self._generated(prompts, seeds, limit), key=lambda one: one.index)
            if limit
            else [Generated(index, [], False) for index in range(len(prompts))]
        )
        yield from (one for one in begun if one.finished)
        left = [one for one in begun if not one.finished]
        for one in left:
            if not read_response(self._tokenizer, prompts[one.index], one.token_ids).closed:
                one.token_ids.extend(self._closing)
        if left:
            again = [[*prompts[one.index], *one.token_ids] for one in left]
            for more in self._generated(again, [f"{seeds[one.index]}/answer" for one in left], rest):
                one = left[more.index]
                yield Generated(one.index, one.token_ids + more.token_ids, more.finished)

    def _generated(
        self, prompts: Sequence[Sequence[int]], seeds: Sequence[str], limit: int | None = None
    ) -> Iterator[Generated]:
        settings = self._sampling
        limit, stops, temperature = limit or settings.max_new_tokens, self._stop_ids, settings.temperature
        if self._num_beams > 1:
            return beam_search(
                self._model, prompts, num_beams=self._num_beams, max_new_tokens=limit, stop_token_ids=stops
            )
        return generate(
            self._model,
            prompts,
            max_new_tokens=limit,
            max_batch_size=self._max_batch_size,
            stop_token_ids=stops,
            is_complete=self._is_complete,
            sampling=generation.Sampling(temperature, seeds, settings.top_p or 1.0) if temperature else None,
        )
