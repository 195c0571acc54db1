"""Attention to a prefix that all rows of a batch share, whose keys and values are held once and not once a row.

Rows of a few-shot batch begin with the same examples: three quarters of what attention reads at each step. Held once,
they are read once a step, in one matrix product for all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import eager_mask

from cotdistill.models.kv_cache import GrowingLayer, growing_cache

NAME = "cotdistill_shared_prefix"
MIN_SHARED = 32
"""Tokens that a batch must share for the prefix to be held apart."""

Prefix = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, each ``[1, key heads, prefix tokens, head size]``."""


def num_shared(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with; at least one of every prompt is left over."""
    ordered = sorted(map(list, prompts))
    first, last = ordered[0], ordered[-1]  # what these two share, all between them share
    limit = min(map(len, prompts)) - 1
    return next((i for i in range(limit) if first[i] != last[i]), limit)


def can_share(model: PreTrainedModel) -> bool:
    """Whether the model's attention can be replaced and looks back over all tokens in every layer."""
    whole = all(type(layer) is GrowingLayer for layer in growing_cache(model).layers)
    return whole and model._supports_attention_backend and model.config._attn_implementation == "sdpa"


@torch.inference_mode()
def compute_prefix(model: PreTrainedModel, token_ids: Sequence[int]) -> Prefix:
    """The prefix's keys and values, by one forward pass of one row."""
    cache = growing_cache(model)
    ids = torch.tensor([list(token_ids)], device=model.device)
    model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
    prefix: Prefix = []
    for layer in cache.layers:
        assert isinstance(layer, GrowingLayer)
        assert layer.keys is not None
        assert layer.values is not None
        prefix.append((layer.keys.contiguous(), layer.values.contiguous()))
    return prefix


@contextmanager
def attending_to_prefix(model: PreTrainedModel) -> Iterator[None]:
    """Within, forward passes must be given ``shared_prefix``; their masks and caches are about the tokens behind it."""
    before = model.config._attn_implementation or "sdpa"
    model.set_attn_implementation(NAME)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    shared_prefix: Prefix,
    **unused: Any,
) -> tuple[Tensor, None]:
    """Softmax attention to the prefix and to each row's own tokens together.

    query ``[rows, heads, new tokens, head size]``, key and value ``[rows, key heads, own tokens, head size]``,
    attention_mask ``[rows, 1, new tokens, own tokens]`` (0, or very negative where a token is not seen).
    """
    prefix_key, prefix_value = shared_prefix[cast("int", module.layer_idx)]
    if query.shape[2] > 1:  # reading prompts happens once: here the prefix may be repeated for the time of one layer
        rows, _, length, _ = query.shape
        key, value = (
            torch.cat([prefix.expand(rows, -1, -1, -1), own], dim=2)
            for prefix, own in ((prefix_key, key), (prefix_value, value))
        )
        seen = attention_mask.new_zeros(rows, 1, length, prefix_key.shape[2])
        mask = torch.cat([seen, attention_mask], dim=3)
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, is_causal=False)
    return _attend_with_one_token(query, key, value, attention_mask, scaling, prefix_key[0], prefix_value[0]), None


def _attend_with_one_token(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float, prefix_key: Tensor, prefix_value: Tensor
) -> Tensor:
    """One new token a row; ``[rows, 1, heads, head size]``. All rows' queries meet the prefix in one product a head."""
    rows, heads, _, size = query.shape
    key_heads, num_prefix, _ = prefix_key.shape
    group = heads // key_heads
    own = (query * scaling).view(rows, key_heads, group, size)
    together = own.transpose(0, 1).reshape(key_heads, rows * group, size)
    to_prefix = (together @ prefix_key.transpose(1, 2)).view(key_heads, rows, group, num_prefix).transpose(0, 1)
    to_own = own @ key.transpose(2, 3) + mask
    weights = torch.cat([to_prefix, to_own], dim=3).softmax(dim=3, dtype=torch.float32).to(query.dtype)
    prefix_weights = weights[..., :num_prefix].transpose(0, 1).reshape(key_heads, rows * group, num_prefix)
    of_prefix = (prefix_weights @ prefix_value).view(key_heads, rows, group, size).transpose(0, 1)
    return (of_prefix + weights[..., num_prefix:] @ value).reshape(rows, 1, heads, size)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, eager_mask)
