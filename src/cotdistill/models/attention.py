"""What computes a model's attention, and whether texts that lie end to end in one row stay apart in it.

Without an attention mask, transformers takes position ids that start again at 0 for the begin of another text: flash
attention is then called with the lengths of the texts, all others get a block-diagonal mask.
"""

from __future__ import annotations

import inspect

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.config import Attention
from cotdistill.errors import ModelError
from cotdistill.models.heads import last_hidden_states

_TEXTS = ([5, 6, 7, 8, 9, 10, 11], [12, 3, 9, 4])
"""Token ids that any vocabulary has, in texts of two lengths."""

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""By which a token's hidden state may differ, by the type that is computed in: rounding stays far below, and a text
that sees another one is far above."""


def set_attention(model: PreTrainedModel, attention: Attention) -> None:
    """Let ``model`` compute with ``attention``. Raises ModelError where the model, the device or the packages do not
    have it."""
    before, reason = model.config._attn_implementation, ""
    try:
        model.set_attn_implementation(attention)
    except (ImportError, ValueError) as error:
        reason = f" ({' '.join(str(error).split())[:200]})"
    if reason or (before != attention and model.config._attn_implementation == before):
        raise ModelError(
            f"it cannot compute {attention}{reason}",
            where=f"training.attention, {model.name_or_path}",
            remedy="install what is missing, or delete training.attention",
        )


@torch.no_grad()
def check_packing(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Raise ModelError unless ``model``, in eval mode, computes texts in one row as if each were alone.

    It is asked itself, because no property of its class says so: two texts are read in either order, and what it makes
    of each must be the same. A state that runs on from one text into the next shows, as do positions that run on.
    ``dtype`` is what matrix products compute in.
    """
    if "position_ids" not in inspect.signature(type(model.base_model).forward).parameters:
        raise _unfit(model, "has no position_ids that could start again")
    first, second = (torch.tensor(text, device=model.device) for text in _TEXTS)
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        expected = _states(model, first, second).float()
        swapped = _states(model, second, first).float().roll(-len(second), dims=0)
    difference = (swapped - expected).norm(dim=-1) / expected.norm(dim=-1)
    if difference.max() > _TOLERANCE[dtype]:
        raise _unfit(model, "lets a text see the one before it in the row")


def _states(model: PreTrainedModel, *texts: Tensor) -> Tensor:
    """Last hidden states ``[tokens, hidden]`` of texts end to end in one row."""
    positions = torch.cat([torch.arange(len(text), device=text.device) for text in texts])
    return last_hidden_states(model, torch.cat(texts)[None], None, positions[None])[0]


def _unfit(model: PreTrainedModel, problem: str) -> ModelError:
    return ModelError(
        f"{type(model).__name__} {problem}",
        where=f"training.packing, {model.name_or_path}",
        remedy="set training.packing: false",
    )
