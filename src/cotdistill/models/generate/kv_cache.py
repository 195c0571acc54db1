"""A key-value cache that grows in place.

Transformers' own dynamic cache copies all keys and values of every layer for every new token. Here a layer keeps room
for more tokens than it holds and copies only when that is full: 6 to 15 % less time for a decoding step of SmolLM2 on
a CPU (16 rows of 200 tokens, bfloat16 and float32).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

ROOM = 64
"""Tokens that a layer makes room for at a time."""


class GrowingLayer(DynamicLayer):
    """Keys and values ``[rows, heads, num_tokens, head size]``: views of the filled part of larger buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.num_tokens = 0
        self.buffers: tuple[Tensor, Tensor] | None = None

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Append states ``[rows, heads, new tokens, head size]``; returns all of them."""
        if self.buffers is None:
            self.lazy_initialization(key_states, value_states)
        start, self.num_tokens = self.num_tokens, self.num_tokens + key_states.shape[-2]
        if self.buffers is None or self.num_tokens > self.buffers[0].shape[-2]:
            self.buffers = (self._grown(0, key_states), self._grown(1, value_states))
        for buffer, states in zip(self.buffers, (key_states, value_states), strict=True):
            buffer[:, :, start : self.num_tokens] = states
        return self._filled()

    def get_seq_length(self) -> int:
        return self.num_tokens

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows only, in this order. Only rows that move are copied."""
        if self.buffers is None:
            return
        moved = (indices != torch.arange(len(indices), device=indices.device)).nonzero()[:, 0]
        for buffer in self.buffers:
            buffer[moved, :, : self.num_tokens] = buffer[indices[moved], :, : self.num_tokens]
        keys, values = self.buffers
        self.buffers = (keys[: len(indices)], values[: len(indices)])
        self._filled()

    def _grown(self, which: int, states: Tensor) -> Tensor:
        rows, heads, _, head_size = states.shape
        grown = states.new_empty(rows, heads, self.num_tokens + ROOM, head_size)
        if self.buffers is not None:
            old = self.buffers[which]
            grown[:, :, : old.shape[-2]] = old
        return grown

    def _filled(self) -> tuple[Tensor, Tensor]:
        assert self.buffers is not None
        keys, values = (buffer[:, :, : self.num_tokens] for buffer in self.buffers)
        self.keys, self.values = keys, values
        return keys, values


def growing_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache for ``model``; layers of other kinds (sliding window, recurrent) stay as Transformers has them."""
    cache = DynamicCache(config=model.config)
    cache.layers = [GrowingLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def grows_in_place(model: PreTrainedModel) -> bool:
    """Whether all layers of the model's cache are :class:`GrowingLayer`."""
    return all(type(layer) is GrowingLayer for layer in growing_cache(model).layers)


def keep_rows(cache: Any, indices: Tensor) -> None:
    """Keep these rows of a model's ``cache`` only, in this order."""
    if type(cache) is not DynamicCache:
        cache.batch_select_indices(indices)
        return
    for layer in cache.layers:
        if isinstance(layer, GrowingLayer):
            layer.batch_select_indices(indices)
        else:  # of a recurrent layer too, which has no other name for it
            layer.reorder_cache(cast("torch.LongTensor", indices))


def joined(caches: Sequence[Any], length: int | None = None) -> Any:
    """One cache of the rows of all ``caches``, each padded on its left to the longest, or cut and padded there to
    ``length`` tokens. Several must be of :class:`GrowingLayer` alone; they are used up."""
    whole = caches[0]
    for index, layer in enumerate(whole.layers if len(caches) > 1 else ()):
        assert isinstance(layer, GrowingLayer)
        parts = [cast("GrowingLayer", cache.layers[index]) for cache in caches]
        columns = max(part.num_tokens for part in parts) if length is None else length
        keys, values = (_aligned([_states(part)[which] for part in parts], columns) for which in (0, 1))
        layer.num_tokens, layer.buffers = 0, None
        for part in parts[1:]:
            part.buffers = None
        layer.update(keys, values)
    return whole


def _states(layer: GrowingLayer) -> tuple[Tensor, Tensor]:
    assert layer.keys is not None
    assert layer.values is not None
    return layer.keys, layer.values


def _aligned(parts: Sequence[Tensor], length: int) -> Tensor:
    """The last tokens, ``[all rows, heads, length, head size]``, with zeros on the left of shorter ones: they are
    masked, and must be finite."""
    return torch.cat([nn.functional.pad(part, (0, 0, length - part.shape[2], 0)) for part in parts])
