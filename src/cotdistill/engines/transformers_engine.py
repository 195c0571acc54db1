"""A teacher of transformers in this process, generating as evaluation does."""

from __future__ import annotations

from collections.abc import Sequence

from cotdistill.config import TransformersTeacher
from cotdistill.engines.asking import Answer, Request
from cotdistill.models.generate.generation import Sampling, generate, num_positions
from cotdistill.models.generate.stopping import cut_at_stop, holds_a_stop
from cotdistill.models.load.loading import load_model, load_tokenizer, pick_device, resolve_dtype
from cotdistill.models.tokens.template import decode, encode_prompt, stop_token_ids


class TransformersEngine:
    """The model of a :class:`TransformersTeacher` in memory. Raises ModelError where it cannot be loaded."""

    def __init__(self, teacher: TransformersTeacher):
        device = pick_device()
        self._teacher, self._settings = teacher, teacher.sampling
        self._tokenizer = load_tokenizer(teacher.model)
        self._model = load_model(teacher.model, dtype=resolve_dtype(teacher.dtype, device), device=device)
        self._stop_ids = stop_token_ids(self._model, self._tokenizer)
        stops = self._settings.stop
        self._is_complete = holds_a_stop(self._tokenizer, stops) if stops else None

    def fits(self, request: Request) -> bool:
        limit = num_positions(self._model)
        return limit is None or len(self._encode(request)) + self._settings.max_tokens <= limit

    def answer(self, requests: Sequence[Request]) -> list[Answer]:
        prompts = [self._encode(request) for request in requests]
        generated = generate(
            self._model,
            prompts,
            max_new_tokens=self._settings.max_tokens,
            max_batch_size=self._teacher.max_batch_size,
            stop_token_ids=self._stop_ids,
            is_complete=self._is_complete,
            sampling=self._sampling(requests),
        )
        answers: dict[int, Answer] = {}
        for output in generated:
            text = cut_at_stop(decode(self._tokenizer, output.token_ids), self._settings.stop)
            finish = "stop" if output.finished else "length"
            answers[output.index] = Answer(text, finish, len(prompts[output.index]), len(output.token_ids))
        return [answers[place] for place in range(len(requests))]

    def _encode(self, request: Request) -> list[int]:
        return encode_prompt(self._tokenizer, request.prompt)

    def _sampling(self, requests: Sequence[Request]) -> Sampling | None:
        """Drawn by the request's key, which holds seed and draw: the same in whatever batch."""
        if self._settings.temperature == 0:
            return None
        return Sampling(self._settings.temperature, [request.key for request in requests], self._settings.top_p)
