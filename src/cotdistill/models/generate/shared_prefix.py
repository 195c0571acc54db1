"""Attention to a prefix that all rows of a batch share, whose keys and values are held once, not once per row.

Rows of a few-shot batch begin with the same examples: three quarters of what attention reads at each step. Held once,
they are read once a step, in one matrix product for all rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import eager_mask

from cotdistill.models.forward.attention import computing_attention_with
from cotdistill.models.forward.packed_attention import refuse_more
from cotdistill.models.generate.kv_cache import GrowingLayer, growing_cache

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


def attending_to_prefix(model: PreTrainedModel) -> AbstractContextManager[None]:
    """Within, forward passes must be given ``shared_prefix``; their masks and caches are about the tokens behind it."""
    return computing_attention_with(NAME, model)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    shared_prefix: Prefix,
    **others: Any,
) -> tuple[Tensor, None]:
    """Softmax attention to the prefix and to each row's own tokens together.

    query ``[rows, heads, new tokens, head size]``, key and value ``[rows, key heads, own tokens, head size]``, where
    values may be of another size, attention_mask ``[rows, 1, new tokens, own tokens]`` (0, or very negative where a
    token is not seen). Raises NotImplementedError for a family whose attention needs more.
    """
    refuse_more(module, attention_mask, others)
    prefix_key, prefix_value = (states[0] for states in shared_prefix[cast("int", module.layer_idx)])
    rows, heads, length, size = query.shape
    key_heads, num_prefix, _ = prefix_key.shape
    num_queries = heads // key_heads * length  # for each key head of a row
    own = (query * scaling).reshape(rows, key_heads, num_queries, size)
    together = own.transpose(0, 1).reshape(key_heads, rows * num_queries, size)  # all rows meet the prefix at once
    to_prefix = (together @ prefix_key.transpose(1, 2)).view(key_heads, rows, num_queries, num_prefix).transpose(0, 1)
    to_own = (own @ key.transpose(2, 3)).view(rows, key_heads, -1, length, key.shape[2]) + attention_mask[:, :, None]
    scores = torch.cat([to_prefix, to_own.flatten(2, 3)], dim=3)
    weights = scores.softmax(dim=3, dtype=torch.float32).to(query.dtype)
    prefix_weights = weights[..., :num_prefix].transpose(0, 1).reshape(key_heads, rows * num_queries, num_prefix)
    of_prefix = (prefix_weights @ prefix_value).view(key_heads, rows, num_queries, -1).transpose(0, 1)
    attended = of_prefix + weights[..., num_prefix:] @ value
    return attended.reshape(rows, heads, length, -1).transpose(1, 2), None


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, eager_mask)
