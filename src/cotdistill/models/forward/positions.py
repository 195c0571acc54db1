"""How many positions a model has, and which ones a text has.

Some families have other rotary positions in long texts (longrope). Transformers decides by the longest text of a
forward pass, so that a short text beside a long one would be read with the long one's positions: not what the student
sees when it is asked alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel


def num_positions(model: PreTrainedModel) -> int | None:
    """How many tokens, prompt and continuation together, the model has positions for; None if it has no limit.

    A model that chooses the tokens that it attends to (DeepSeek-V3.2) has as many as it chooses: with more, later ones
    change what transformers computes for earlier ones.
    """
    config = model.config.get_text_config()
    limits = (getattr(config, name, None) for name in ("max_position_embeddings", "index_topk"))
    return min((limit for limit in limits if limit is not None), default=None)


def short_texts(model: PreTrainedModel) -> float:
    """The most tokens of a text that has other rotary positions than a longer one; infinite if all have the same."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return math.inf
    return rope.get("original_max_position_embeddings") or config.original_max_position_embeddings


@contextmanager
def positions_by_text(
    model: PreTrainedModel, attention_mask: Tensor | None, position_ids: Tensor | None
) -> Iterator[None]:
    """Within this context ``model`` gives each text of a batch the rotary positions that it has alone.

    Texts are rows of ``attention_mask`` ``[rows, length]`` or, without one, begin in the row of ``position_ids``
    ``[1, tokens]`` wherever these are 0.
    """
    limit = short_texts(model)
    rotary = [module for module in model.modules() if getattr(module, "rope_type", None) == "longrope"]
    if limit == math.inf or not rotary or (attention_mask is None and position_ids is None):
        yield
        return
    if attention_mask is not None:
        is_long = attention_mask.sum(dim=1, keepdim=True) > limit
    else:
        assert position_ids is not None
        texts = (position_ids[0] == 0).cumsum(dim=0) - 1
        is_long = (texts.bincount() > limit)[texts][None]
    own = [module.forward for module in rotary]
    try:
        for module in rotary:
            module.forward = _by_text(module.forward, is_long, int(limit))
        yield
    finally:
        for module, forward in zip(rotary, own, strict=True):
            module.forward = forward


def _by_text(forward: Callable[..., Any], is_long: Tensor, limit: int) -> Callable[..., Any]:
    """``forward`` of a rotary embedding with the cosines and sines ``[rows, tokens, size]`` of each token's text."""

    def rotated(x: Tensor, position_ids: Tensor, *arguments: Any, **settings: Any) -> Any:
        long = forward(x, position_ids, *arguments, **settings)
        short = forward(x, position_ids.clamp(max=limit - 1), *arguments, **settings)
        return tuple(torch.where(is_long[..., None], *each) for each in zip(long, short, strict=True))

    return rotated
