"""Beam search, by Transformers' own loop."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, cast

import torch
from transformers import GenerationConfig, PreTrainedModel

from cotdistill.models.generate.abilities import can_move_rows
from cotdistill.models.generate.generation import Generated


@torch.inference_mode()
def beam_search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    *,
    num_beams: int,
    max_new_tokens: int,
    stop_token_ids: Collection[int],
) -> Iterator[Generated]:
    """The most likely continuation of each prompt among ``num_beams``, in their order: all prompts in one batch if
    the model can read them so (see ``abilities``).

    Scores are divided by length, as is Transformers' default; the model's own generation settings (penalties and the
    like) are not used, as they are not in ``generate``. ``model`` must be in eval mode.
    """
    assert not model.training
    stops = sorted(stop_token_ids)
    settings = GenerationConfig(
        num_beams=num_beams,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=stops,
        pad_token_id=stops[0],
    )
    together = can_move_rows(model)
    if not together:
        settings.use_cache = False
    size = len(prompts) if together else 1
    for start in range(0, len(prompts), size):
        for row, tokens in enumerate(_continued(model, prompts[start : start + size], settings)):
            end = next((place for place, token in enumerate(tokens) if token in stop_token_ids), None)
            yield Generated(start + row, tokens[:end], end is not None)


def _continued(model: PreTrainedModel, prompts: Sequence[Sequence[int]], settings: GenerationConfig) -> list[list[int]]:
    """The tokens behind each prompt, all of them in one batch."""
    longest = max(map(len, prompts))
    # any id will do for padding: it is masked
    ids = torch.tensor([[settings.pad_token_id] * (longest - len(prompt)) + list(prompt) for prompt in prompts])
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    mask = (torch.arange(longest) >= longest - lengths[:, None]).long()
    own: Any = model.generation_config
    model.generation_config = GenerationConfig()  # what settings leave out would be taken from the model's
    try:
        found = model.generate(ids.to(model.device), attention_mask=mask.to(model.device), generation_config=settings)  # pyright: ignore[reportCallIssue]
    finally:
        model.generation_config = own
    return cast("torch.Tensor", found)[:, longest:].tolist()
