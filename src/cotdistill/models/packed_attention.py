"""Attention of packed texts: each sees itself and what all of them begin with, which lies in their row only once.

Prompts begin alike: a chat template's system message, an instruction, examples. What a model computes there is the same
for every text, and its gradient is the sum of theirs. No mask is made, and no pair of tokens of two texts is computed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from cotdistill.models.attention import computing_attention_with, differ, hidden_states
from cotdistill.models.heads import PackedTexts
from cotdistill.models.kv_cache import grows_in_place

NAME = "cotdistill_packed"

_SHARED, _FIRST, _SECOND = [5, 6, 7], [8, 9, 10, 11], [12, 9]
"""Token ids that any vocabulary has: how two texts begin, and how each goes on."""


def attends_to_packed_texts(model: PreTrainedModel, dtype: torch.dtype) -> bool:
    """Whether ``model``, in eval mode and within ``computing_attention_with(NAME, model)``, computes texts in one row
    as if each were alone.

    So where every layer looks back over all tokens by torch's scaled dot product and nothing else. The model is asked
    itself, because no property of its class says so; ``dtype`` is what matrix products compute in.
    """
    backend = model._supports_attention_backend and grows_in_place(model)
    if not backend or model.config._attn_implementation != "sdpa":
        return False
    first, second = (list(range(len(_SHARED + rest))) for rest in (_FIRST, _SECOND))
    alone = hidden_states(model, dtype, _SHARED + _FIRST, first)
    other = hidden_states(model, dtype, _SHARED + _SECOND, second)
    texts = PackedTexts(len(_SHARED), (len(_FIRST), len(_SECOND)))
    with computing_attention_with(NAME, model):
        found = hidden_states(model, dtype, _SHARED + _FIRST + _SECOND, first + second[len(_SHARED) :], texts)
    return not differ(found, torch.cat([alone, other[len(_SHARED) :]]), dtype)


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
    key and value ``[1, key heads, tokens, head size]``. Without ``texts`` as transformers computes it."""
    if texts is None:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )  # pyright: ignore[reportReturnType]
    attended = [
        F.scaled_dot_product_attention(*text, dropout_p=dropout, scale=scaling, is_causal=True, enable_gqa=True)
        for text in zip(*(_each(states, texts) for states in (query, key, value)), strict=True)
    ]
    shared = attended[0][:, :, : texts.num_shared]
    rests = [states[:, :, texts.num_shared :] for states in attended]
    return torch.cat([states.transpose(1, 2) for states in (shared, *rests)], dim=1), None


def _each(states: Tensor, texts: PackedTexts) -> list[Tensor]:
    """The states ``[1, heads, tokens, head size]`` of each text, with what it shares."""
    shared, *rests = states.split([texts.num_shared, *texts.lengths], dim=2)
    return [torch.cat([shared, rest], dim=2) for rest in rests] if texts.num_shared else rests


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
