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


class TransformersEngine(LocalEngine):
    """A model in memory; ``num_beams`` above 1 means beam search. It must be in eval mode whenever it is asked."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        max_batch_size: int,
        num_beams: int = 1,
    ):
        super().__init__(tokenizer, sampling, max_batch_size=max_batch_size, num_positions=num_positions(model))
        self._model, self._num_beams = model, num_beams
        self._stop_ids = stop_token_ids(model, tokenizer)
        self._is_complete = holds_a_stop(tokenizer, sampling.stop) if sampling.stop else None

    @classmethod
    def open(cls, asked: TransformersModel, *, num_beams: int = 1) -> TransformersEngine:
        """Raises ModelError if the model cannot be loaded."""
        device, tokenizer = pick_device(), load_tokenizer(asked.model)
        model = load_model(asked.model, dtype=resolve_dtype(asked.dtype, device), device=device)
        return cls(model, tokenizer, asked.sampling, max_batch_size=asked.max_batch_size, num_beams=num_beams)

    def _complete(self, batch: Batch) -> Iterator[Completion]:
        prompts, seeds = [prompt for _, prompt in batch], [request.seed or request.key for request, _ in batch]
        for output in self._generated(prompts, seeds):
            yield Completion.of(
                batch[output.index][0],
                self._written(prompts[output.index], output.token_ids),
                "stop" if output.finished else "length",
                len(prompts[output.index]),
                len(output.token_ids),
                stop=self._sampling.stop,
                token_ids=output.token_ids,
            )

    def _generated(self, prompts: Sequence[Sequence[int]], seeds: Sequence[str]) -> Iterator[Generated]:
        settings = self._sampling
        limit, stops, temperature = settings.max_new_tokens, self._stop_ids, settings.temperature
        if self._num_beams > 1:
            return beam_search(
                self._model, prompts, num_beams=self._num_beams, max_new_tokens=limit, stop_token_ids=stops
            )
        return generate(
            self._model,
            prompts,
            max_new_tokens=limit,
            max_batch_size=len(prompts),
            stop_token_ids=stops,
            is_complete=self._is_complete,
            sampling=generation.Sampling(temperature, seeds, settings.top_p or 1.0) if temperature else None,
        )
