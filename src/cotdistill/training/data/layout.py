"""How the examples of a training or a capture are laid out, by what is asked for and what the models can do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel

from cotdistill.models.forward.attention import check_packing, computing_attention_with
from cotdistill.models.forward.packed_attention import NAME, attends_to_packed_texts
from cotdistill.training.data.batches import Layout


@contextmanager
def laid_out(
    models: Sequence[PreTrainedModel], dtype: torch.dtype, *, packing: bool | None = None, compiled: bool = False
) -> Iterator[Layout]:
    """The layout of micro-batches that ``models``, all in eval mode and on one device, read within.

    If ``packing`` is not set, examples are packed on a CPU if every model can share the beginning of prompts.
    ``compiled`` layers cannot: they would be compiled for every batch. ``dtype`` is what matrix products compute in.

    Raises ModelError for a model that cannot be packed if that is asked for.
    """
    wanted = packing if packing is not None else models[0].device.type == "cpu"
    if wanted and not compiled and all(attends_to_packed_texts(model, dtype) for model in models):
        with computing_attention_with(NAME, *models):
            yield "shared"
    elif packing:
        for model in models:
            check_packing(model, dtype)
        yield "packed"
    else:
        yield "padded"
