"""Causal attention of packed texts by plain products in bfloat16, for CPUs.

Torch's flash attention for CPUs takes bfloat16 backward at half the speed of float32. The products themselves are the
fastest thing that such a processor does, so for texts of moderate length they win, probabilities kept in memory
(measured in ``benchmarks/RESULTS.md``). Scores and softmax are in float32, as in flash attention.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from cotdistill.models.forward.heads import PackedTexts

LONGEST = 512
"""Tokens of a text beyond which flash attention is as fast, and probabilities take much memory."""


def suits_products(query: Tensor, texts: PackedTexts, dropout: float) -> bool:
    """Whether products in bfloat16 are what computes attention and its gradients fastest for these ``texts``; without
    gradients flash attention is as fast."""
    if query.device.type != "cpu" or not query.requires_grad or dropout:
        return False
    if texts.num_shared + max(texts.lengths, default=0) > LONGEST:
        return False
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else query.dtype
    return dtype == torch.bfloat16


def attention_by_products(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, texts: PackedTexts
) -> Tensor:
    """``[1, tokens, heads, head size]`` in bfloat16 from query ``[1, heads, tokens, head size]`` and key and value
    ``[1, key heads, tokens, head size]``: each text sees what all share and itself, up to the token that asks."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    return _Attention.apply(query, key, value, scale, texts)


def _spans(texts: PackedTexts) -> Iterator[tuple[slice, int]]:
    """The tokens of each text in the row, those that all share first, and how many shared ones are before them."""
    if texts.num_shared:
        yield slice(0, texts.num_shared), 0
    start = texts.num_shared
    for length in texts.lengths:
        yield slice(start, start + length), texts.num_shared
        start += length


def _seen(states: Tensor, span: slice, shared: int) -> Tensor:
    """What a text sees of keys or values ``[key heads, tokens, size]``."""
    return torch.cat([states[:, :shared], states[:, span]], dim=1) if shared else states[:, span]


class _Attention(torch.autograd.Function):
    """Queries of the heads that share a key head are rows of one product."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, scale: float, texts: PackedTexts) -> Tensor:
        groups = query.shape[1] // key.shape[1]
        # [key heads, heads of each, tokens, size]
        queries = query[0].unflatten(0, (-1, groups)).bfloat16()
        keys, values = key[0].bfloat16(), value[0].bfloat16()
        output = torch.empty(queries.shape[2], *queries.shape[:2], values.shape[-1], dtype=torch.bfloat16)
        kept = []
        for span, shared in _spans(texts):
            own = queries[:, :, span].flatten(1, 2)  # [key heads, heads of each * tokens, size]
            probabilities = _probabilities(own, _seen(keys, span, shared), scale, shared, groups)
            attended = probabilities @ _seen(values, span, shared)
            output[span] = attended.unflatten(1, (groups, -1)).permute(2, 0, 1, 3)
            kept.append(probabilities)
        ctx.save_for_backward(queries, keys, values, output, *kept)
        ctx.scale, ctx.texts, ctx.dtypes = scale, texts, (query.dtype, key.dtype, value.dtype)
        return output.flatten(1, 2)[None]

    @staticmethod
    def backward(ctx: Any, *output_gradients: Tensor) -> tuple[Tensor | None, ...]:
        queries, keys, values, output, *kept = ctx.saved_tensors
        of_output = output_gradients[0].reshape(output.shape)
        groups = queries.shape[1]
        of_query, of_key, of_value = (
            torch.empty(states.shape, dtype=dtype)
            for states, dtype in zip((queries, keys, values), ctx.dtypes, strict=True)
        )
        for (span, shared), probabilities in zip(_spans(ctx.texts), kept, strict=True):
            own = queries[:, :, span].flatten(1, 2)
            gradient = of_output[span].permute(1, 2, 0, 3).flatten(1, 2)
            _add_seen(of_value, probabilities.transpose(1, 2) @ gradient, span, shared)
            scores = gradient @ _seen(values, span, shared).transpose(1, 2)
            scores = torch._softmax_backward_data(scores, probabilities, -1, torch.bfloat16).mul_(ctx.scale)
            of_query[:, :, span] = (scores @ _seen(keys, span, shared)).unflatten(1, (groups, -1))
            _add_seen(of_key, scores.transpose(1, 2) @ own, span, shared)
        return of_query.flatten(0, 1)[None], of_key[None], of_value[None], None, None


def _probabilities(own: Tensor, keys: Tensor, scale: float, shared: int, groups: int) -> Tensor:
    """``[key heads, heads of each * tokens, seen tokens]`` of queries, whose text begins behind ``shared`` tokens."""
    with torch.autocast("cpu", enabled=False):
        scores = (own.float() @ keys.float().transpose(1, 2)).mul_(scale)
    num_own, num_seen = own.shape[1] // groups, keys.shape[1]
    hidden = torch.ones(num_own, num_seen, dtype=torch.bool).triu(shared + 1)
    scores.unflatten(1, (groups, num_own)).masked_fill_(hidden, float("-inf"))
    return scores.softmax(dim=-1).bfloat16()


def _add_seen(total: Tensor, gradient: Tensor, span: slice, shared: int) -> None:
    """What a text adds to the gradient of what it sees; of its own tokens it is the first to say anything."""
    total[:, span] = gradient[:, shared:]
    if shared:
        total[:, :shared] += gradient[:, :shared]
