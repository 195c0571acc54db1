"""How a model computes attention, and whether it keeps texts apart that lie end to end in one row.

Without an attention mask, transformers takes position ids that restart at 0 as the start of another text: flash
attention is then called with the lengths of the texts, all others get a block-diagonal mask.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.config import Attention
from cotdistill.errors import ModelError
from cotdistill.models.forward.heads import PackedTexts, body, last_hidden_states
from cotdistill.models.forward.positions import num_positions

_TEXTS = ([5, 6, 7, 8, 9, 10, 11], [12, 3, 9, 4])
"""Token ids that any vocabulary has, in texts of two lengths."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 5e-2}
"""How far a token's hidden state may differ, by computing type: rounding stays far below, a text that sees another one
is far above."""


_MANY_POSITIONS = 8192
"""Families that keep a table of their positions have no more."""


def set_attention(model: PreTrainedModel, attention: Attention) -> None:
    """Let ``model`` compute with ``attention``. Raises ModelError if the model, the device or the packages do not
    support it."""
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


@contextmanager
def computing_attention_with(name: str, *models: PreTrainedModel) -> Iterator[None]:
    """Within this context, models compute attention with what transformers has registered as ``name``."""
    before: list[tuple[PreTrainedModel, str]] = []
    try:
        for model in models:
            before.append((model, model.config._attn_implementation or "sdpa"))
            model.set_attn_implementation(name)
        yield
    finally:
        for model, implementation in reversed(before):  # one may stand there twice
            model.set_attn_implementation(implementation)


def check_packing(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Raise ModelError unless ``model``, in eval mode, computes texts in one row as if each were alone.

    The model itself is tested, because no property of its class tells: it reads two texts in one row and each alone,
    and the results must be the same. A state or positions that continue from one text into the next show up.
    ``dtype`` is what matrix products compute in.
    """
    if "position_ids" not in inspect.signature(type(body(model)).forward).parameters:
        raise _unfit(model, "has no position_ids that can restart")
    first, second = _TEXTS
    alone = [hidden_states(model, dtype, text) for text in _TEXTS]
    packed = hidden_states(model, dtype, first + second, [*range(len(first)), *range(len(second))])
    if differ(packed, torch.cat(alone), dtype):
        raise _unfit(model, "lets a text see the one before it in the row")
    _check_long_row(model, dtype)


def _check_long_row(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Families that look up what a token sees in a table of their positions (GPT-Neo) cannot read more in one row."""
    limit = num_positions(model)
    if limit is None or limit > _MANY_POSITIONS:
        return
    try:
        hidden_states(model, dtype, [5] * (limit + 1), [*range(limit), 0])
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, IndexError):
        raise _unfit(model, f"cannot read a row that is longer than its {limit} positions") from None


@torch.no_grad()
def hidden_states(
    model: PreTrainedModel,
    dtype: torch.dtype,
    token_ids: Sequence[int],
    positions: Sequence[int] | None = None,
    texts: PackedTexts | None = None,
) -> Tensor:
    """Last hidden states ``[tokens, hidden]`` of one row, in float32; ``dtype`` is what matrix products compute in."""
    ids = torch.tensor([token_ids], device=model.device)
    places = None if positions is None else torch.tensor([positions], device=model.device)
    with torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        return last_hidden_states(model, ids, None, places, texts)[0].float()


def differ(found: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether hidden states ``[tokens, hidden]`` differ by more than rounding anywhere, or are not finite."""
    difference = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    return not bool(difference.max() <= TOLERANCE[dtype])


def _unfit(model: PreTrainedModel, problem: str) -> ModelError:
    return ModelError(
        f"{type(model).__name__} {problem}",
        where=f"training.packing, {model.name_or_path}",
        remedy="set training.packing: false",
    )
