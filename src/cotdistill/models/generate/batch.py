"""The rows of a batch, which advance one token at a time by a model's own forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.models.generate.kv_cache import growing_cache, grows_in_place, joined, keep_rows
from cotdistill.models.generate.shared_prefix import Prefix, attending_to_prefix, compute_prefix

READ_TOKENS = {"cpu": 512}
"""Prompt tokens that are read in one forward pass, by kind of device: prompts of like length are read together, so that
little is spent on padding."""
MANY_READ_TOKENS = 8192
"""The same for every other kind."""

Choice = Callable[[Tensor, Sequence[int]], Tensor]
"""The next token ids ``[rows]`` by float32 logits ``[rows, vocabulary]`` and the number of the prompt of each row."""


@dataclass(frozen=True, slots=True)
class Way:
    """How a model is read: by what argument it takes its state of the tokens before, and what that state is.

    ``growing`` is our own cache (see ``kv_cache``), else the model makes its state itself. Rows are ``side_by_side``,
    padded on the left, or each is alone in its batch. Without an ``argument`` the whole text is reread for every token.
    """

    argument: str | None
    growing: bool = False
    side_by_side: bool = False


class Batch:
    """Left-padded rows, longest first, with their state.

    The first ``num_shared`` tokens, which all rows begin with, are held once, apart from the cache (see
    ``shared_prefix``); padding, mask and cache are about the tokens behind them.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: Sequence[Sequence[int]],
        max_new_tokens: int,
        way: Way,
        *,
        num_shared: int = 0,
        prefix: Prefix | None = None,
        read_tokens: int | None = None,
    ):
        self.model, self.way, self.num_shared, self.max_new_tokens = model, way, num_shared, max_new_tokens
        self.read_tokens = read_tokens or READ_TOKENS.get(model.device.type, MANY_READ_TOKENS)
        self.prefix = compute_prefix(model, prompts[0][:num_shared]) if num_shared and prefix is None else prefix
        self.unread: list[Sequence[int]] = [prompt[num_shared:] for prompt in prompts]
        self.length = max(map(len, self.unread))
        self.mask = self._mask_of(torch.tensor([len(own) for own in self.unread], device=model.device))
        self.positions = torch.tensor([[len(prompt)] for prompt in prompts], device=model.device)

    @torch.inference_mode()
    def next_tokens(self, choose: Choice, rows: Sequence[int]) -> list[int]:
        """The chosen next token of every row, which becomes the row's next input."""
        if self.unread:
            logits = self._read()
        else:
            # A state of fixed size has no place for a mask of the tokens before, which are in it.
            mask = self.mask[:, : self.length] if self.way.argument == "past_key_values" else None
            logits, self.state = self._forward(self.inputs, mask, self.positions, self.state)
            self.positions = self.positions + 1
        tokens = choose(logits, rows)
        self.inputs = tokens[:, None]
        self.length += 1
        return tokens.tolist()

    def add(self, prompts: Sequence[Sequence[int]], choose: Choice, rows: Sequence[int]) -> list[int]:
        """Read further prompts, whose rows come behind the others; the chosen first token of each.

        Columns that no row needs any more are dropped, so that a batch that is refilled does not grow. Only where the
        cache is our own in all layers (``grows_in_place``).
        """
        more = Batch(self.model, prompts, self.max_new_tokens, self.way, num_shared=self.num_shared, prefix=self.prefix)
        tokens = more.next_tokens(choose, rows)
        lengths = torch.cat([batch.mask[:, : batch.length].sum(dim=1) for batch in (self, more)])
        self.length = int(lengths.max())
        self.mask = self._mask_of(lengths)
        self.state = joined([self.state, more.state], self.length - 1)  # the next inputs are not in it yet
        self.inputs = torch.cat([self.inputs, more.inputs])
        self.positions = torch.cat([self.positions, more.positions])
        return tokens

    def _mask_of(self, lengths: Tensor) -> Tensor:
        """``[rows, all tokens that there may be]``, by each row's number of tokens so far; a step sees its first
        columns."""
        columns = torch.arange(self.length + self.max_new_tokens, device=lengths.device)
        return (columns >= self.length - lengths[:, None]).long()

    def _read(self) -> Tensor:
        """Read the prompts, some rows at a time; the float32 logits ``[rows, vocabulary]`` of their next tokens."""
        states: list[Any] = []
        logits = []
        for own in _of_like_length(self.unread, self._most_read_tokens()):
            padding = torch.tensor([len(own[0]) - len(tokens) for tokens in own])
            places = torch.arange(len(own[0]))
            # any id will do for padding: it is masked
            ids = torch.tensor([[0] * (len(own[0]) - len(tokens)) + list(tokens) for tokens in own])
            mask = (places >= padding[:, None]).long()
            positions = self.num_shared + (places - padding[:, None]).clamp(min=0)
            device = self.model.device
            state = growing_cache(self.model) if self.way.growing else None
            found, state = self._forward(ids.to(device), mask.to(device), positions.to(device), state)
            logits.append(found)
            states.append(state)
        self.state = joined(states)
        self.unread = []
        return torch.cat(logits)

    def _most_read_tokens(self) -> int:
        """All of them where a layer of the cache is not our own: such ones cannot be joined."""
        if not (self.way.growing and grows_in_place(self.model)):
            return sum(map(len, self.unread)) * len(self.unread)
        return self.read_tokens

    def _forward(self, inputs: Tensor, mask: Tensor | None, positions: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Float32 logits ``[rows, vocabulary]`` of the next tokens, and the state behind ``inputs``."""
        argument = self.way.argument
        assert argument is not None
        given: dict[str, Any] = {} if state is None else {argument: state}
        if self.prefix:
            given["shared_prefix"] = self.prefix
        with attending_to_prefix(self.model) if self.prefix else nullcontext():
            output = self.model(
                input_ids=inputs,
                attention_mask=mask,
                position_ids=positions,
                use_cache=True,
                logits_to_keep=1,
                **given,
            )
        return output.logits[:, -1].float(), state if self.way.growing else output[argument]

    @torch.inference_mode()
    def keep(self, places: list[int]) -> None:
        """Drop all rows but those at ``places``, which come in this order."""
        kept = torch.tensor(places, dtype=torch.long, device=self.model.device)
        keep_rows(self.state, kept)
        self.mask, self.inputs, self.positions = self.mask[kept], self.inputs[kept], self.positions[kept]


class WholeText:
    """One row that is read from its start for every token: right for any model, and slow."""

    def __init__(self, model: PreTrainedModel, prompt: Sequence[int]):
        self.model = model
        self.ids = torch.tensor([list(prompt)], device=model.device)

    @torch.inference_mode()
    def next_tokens(self, choose: Choice, rows: Sequence[int]) -> list[int]:
        """As :meth:`Batch.next_tokens`."""
        output = self.model(input_ids=self.ids, use_cache=False, logits_to_keep=1)
        tokens = choose(output.logits[:, -1].float(), rows)
        self.ids = torch.cat([self.ids, tokens[:, None]], dim=1)
        return tokens.tolist()

    def keep(self, places: list[int]) -> None:
        """The one row stays."""
        assert places == [0]


def _of_like_length(prompts: Sequence[Sequence[int]], most_tokens: int) -> Iterator[Sequence[Sequence[int]]]:
    """``prompts``, longest first, cut into pieces of ``most_tokens`` with their padding, or of one prompt."""
    start = 0
    while start < len(prompts):
        end = start + max(1, most_tokens // len(prompts[start]))
        yield prompts[start:end]
        start = end
