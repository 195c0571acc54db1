"""Models in this process, asked batch by batch, longest prompts first."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import cast

from transformers import PreTrainedTokenizerBase

from cotdistill.config import Price, Sampling
from cotdistill.engines.asking import PROMPT_TOO_LONG
from cotdistill.engines.engine import Begun, Completion, Failed, Kept, Request, conversation
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.models.tokens.thinking import read_response

Batch = list[tuple[Request, Sequence[int]]]
"""Requests with the token ids of their prompts."""


class LocalEngine(ABC):
    """Base of the engines in this process. ``num_positions`` is the number of tokens, prompt and completion together,
    that the model has room for (None: no limit)."""

    price: Price | None = None

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        sampling: Sampling,
        *,
        max_batch_size: int,
        num_positions: int | None,
    ):
        self._tokenizer, self._sampling = tokenizer, sampling
        self._max_batch_size, self._num_positions = max_batch_size, num_positions
        self._num_together = max_batch_size
        """How many requests are completed and kept together."""

    def generate(
        self, requests: Iterable[Request], kept: Kept | None = None, begun: Begun | None = None
    ) -> Iterator[list[Completion | Failed]]:
        """The batches follow from the requests alone, including those that are kept: if anything in a batch is missing,
        all of it is made again. A prompt that does not fit is not in any batch."""
        encoded: dict[tuple[bool, object], Sequence[int]] = {}
        fitting: Batch = []
        for request in requests:
            prompt = (request.raw, request.prompt if isinstance(request.prompt, str) else request.key)
            if prompt not in encoded:
                encoded[prompt] = self._encode(request)
            if self._fits(encoded[prompt]):
                fitting.append((request, encoded[prompt]))
            else:
                yield [Failed(request.key, PROMPT_TOO_LONG, input_tokens=len(encoded[prompt]))]
        for batch in batches(fitting, self._num_together):
            if kept is None or any(request.key not in kept for request, _ in batch):
                done: list[Completion | Failed] = []
                for completion in self._complete(batch):
                    done.append(completion)
                    if begun:
                        begun(1)
                yield done

    @abstractmethod
    def _complete(self, batch: Batch) -> Iterator[Completion]: ...

    def _completion(
        self, request: Request, prompt: Sequence[int], token_ids: Sequence[int], finish_reason: str | None
    ) -> Completion:
        written = read_response(self._tokenizer, prompt, token_ids)
        return Completion.of(
            request,
            written.text,
            finish_reason,
            len(prompt),
            len(token_ids),
            reasoning_tokens=written.num_reasoning_tokens,
            stop=self._sampling.stop,
            token_ids=token_ids,
        )

    def _fits(self, prompt: Sequence[int]) -> bool:
        return self._num_positions is None or len(prompt) + self._sampling.max_new_tokens <= self._num_positions

    def _encode(self, request: Request) -> Sequence[int]:
        messages = conversation(request.prompt)
        if messages is None:
            return cast("Sequence[int]", request.prompt)
        if request.raw:
            return self._tokenizer(messages[-1]["content"])["input_ids"]  # pyright: ignore[reportReturnType]
        return encode_prompt(self._tokenizer, messages)


def batches(encoded: Batch, size: int) -> list[Batch]:
    """Longest prompts first: padding is least, and a lack of memory shows at once. No batch has two groups."""
    found = []
    for group in dict.fromkeys(request.group for request, _ in encoded):
        members = [member for member in encoded if member[0].group == group]
        ordered = sorted(members, key=lambda member: -len(member[1]))  # equal ones in their order
        found += [ordered[start : start + size] for start in range(0, len(ordered), size)]
    return found
