"""Attention of packed texts: each sees itself and the beginning that all share, which is in their row only once.

Prompts begin alike: a chat template's system message, an instruction, examples. What a model computes there is the same
for every text, and its gradient is the sum of theirs. Pairs of tokens from two texts are not computed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from cotdistill.models.forward.attention import computing_attention_with, differ, hidden_states
from cotdistill.models.forward.attention_products import attention_by_products, suits_products
from cotdistill.models.forward.heads import PackedTexts
from cotdistill.models.generate.kv_cache import grows_in_place

NAME = "cotdistill_packed"

_SHARED, _FIRST, _SECOND = [5, 6, 7], [8, 9, 10, 11], [12, 9]
"""Token ids that any vocabulary has: how two texts begin, and how each continues."""

_BY_ROW = ("dynamic", "longrope")
"""Kinds of rotary positions that depend on the longest text of a forward pass."""

_MORE = ("position_bias", "s_aux", "softcap", "sliding_window")
"""What some families pass to their attention besides queries, keys and values."""


def attends_to_packed_texts(model: PreTrainedModel, dtype: torch.dtype) -> bool:
    """Whether ``model``, in eval mode and within ``computing_attention_with(NAME, model)``, computes texts in one row
    as if each were alone.

    So where every layer looks back over all tokens by torch's scaled dot product and nothing else. The model is asked
    itself, because no property of its class says so; ``dtype`` is what matrix products compute in.
    """
    try:
        return takes_other_attention(model) and _as_if_alone(model, dtype)
    except Exception:  # in whatever way a family of models cannot, and there are hundreds
        return False


def takes_other_attention(model: PreTrainedModel) -> bool:
    """Whether the model's attention may be replaced: every layer looks back over all tokens, and positions are the
    same in every batch. What else its attention computes it must be asked."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    if model.config._attn_implementation not in ("sdpa", NAME) or rope.get("rope_type") in _BY_ROW:
        return False
    return model._supports_attention_backend and grows_in_place(model)


def _as_if_alone(model: PreTrainedModel, dtype: torch.dtype) -> bool:
    first, second = (hidden_states(model, dtype, _SHARED + rest) for rest in (_FIRST, _SECOND))
    texts = PackedTexts(len(_SHARED), (len(_FIRST), len(_SECOND)))
    places = [*range(len(first)), *range(len(_SHARED), len(second))]
    with computing_attention_with(NAME, model):
        found = hidden_states(model, dtype, _SHARED + _FIRST + _SECOND, places, texts)
    return not differ(found, torch.cat([first, second[len(_SHARED) :]]), dtype)


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    texts: PackedTexts | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Causal attention of each text: ``[1, tokens, heads, head size]`` from query ``[1, heads, tokens, head size]`` and
    key and value ``[1, key heads, tokens, head size]``. Without ``texts``, as transformers computes it.

    Raises NotImplementedError for a family whose attention needs more.
    """
    if texts is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )  # pyright: ignore[reportReturnType]
    refuse_more(module, attention_mask, others)
    if suits_products(query, texts, dropout):
        return attention_by_products(query, key, value, scaling, texts), None
    queries, keys, values = (s.split([texts.num_shared, *texts.lengths], dim=2) for s in (query, key, value))
    attended = [_causal(queries[0], keys[0], values[0], dropout, scaling)] if texts.num_shared else []
    for own_query, own_key, own_value in zip(queries[1:], keys[1:], values[1:], strict=True):
        all_keys, all_values = torch.cat([keys[0], own_key], dim=2), torch.cat([values[0], own_value], dim=2)
        attended.append(_causal(own_query, all_keys, all_values, dropout, scaling))
    return torch.cat([states.transpose(1, 2) for states in attended], dim=1), None


def refuse_more(module: nn.Module, attention_mask: Tensor | None, others: dict[str, Any]) -> None:
    """Raise NotImplementedError for a family that gives its attention more than queries, keys and values: by another
    argument, or by numbers of each head in the mask (Doge's are trained, and start at nothing that would show)."""
    by_head = attention_mask is not None and attention_mask.shape[1] > 1
    if by_head or any(others.get(name) is not None for name in _MORE):
        raise NotImplementedError(f"{type(module).__name__} computes more than plain attention")


def _causal(query: Tensor, key: Tensor, value: Tensor, dropout: float, scaling: float | None) -> Tensor:
    """Attention of the last tokens of a text to all of it: ``[1, heads, queries, head size]``."""
    num_queries, num_before = query.shape[2], key.shape[2] - query.shape[2]
    mask = None
    if num_before:
        seen = torch.ones(num_queries, key.shape[2], dtype=torch.bool, device=query.device)
        mask = seen.tril(num_before)
    return F.scaled_dot_product_attention(
        query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling, is_causal=mask is None, enable_gqa=True
    )


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
