"""What a model can do while it generates. The model itself is tested, with the functions that will be used.

Hundreds of families keep the state of the previous text in their own ways: as keys and values, as a recurrence that
padding may run through, in the model itself. Some silently accept a state that they do not know, and write other text.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.models.forward.attention import TOLERANCE
from cotdistill.models.forward.finite import not_finite
from cotdistill.models.forward.packed_attention import takes_other_attention
from cotdistill.models.forward.positions import short_texts
from cotdistill.models.generate.batch import Batch, Way

logger = logging.getLogger(__name__)

_ARGUMENTS = ("past_key_values", "cache_params", "state")
"""Names by which families take their state of the tokens before."""

_PROMPTS = ([5, 6, 7, 8, 9, 10, 11], [5, 6, 12])
_WRITTEN = ([12, 9], [9, 4, 8, 11])
"""Token ids that any vocabulary has: two prompts, and what is written behind each. The longer row ends first."""
_SHARED = 2

_SLOW = {
    True: "lets a text see its padding: its texts are written one by one",
    False: "keeps no state to continue from: its texts are written one by one and reread for every token",
}
"""Said of a model by whether it has a state that can be used."""

_ways: WeakKeyDictionary[PreTrainedModel, Way] = WeakKeyDictionary()
_sharing: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()
_moving: WeakKeyDictionary[PreTrainedModel, bool] = WeakKeyDictionary()


def way_of(model: PreTrainedModel) -> Way:
    """The fastest way to read ``model``, in eval mode, that gives the logits of whole texts without a state.

    Warns if that is a slow one. Raises ModelError for logits that are not finite.
    """
    if model not in _ways:
        expected = _whole_texts(model)
        ways = (way for way in _candidates(model) if _gives(model, way, expected))
        way = next(ways, Way(None))
        if not way.side_by_side:
            logger.warning("%s %s", type(model).__name__, _SLOW[way.argument is not None])
        _ways[model] = way
    return _ways[model]


def ways_of(model: PreTrainedModel, lengths: Sequence[int], max_new_tokens: int) -> list[tuple[Way, list[int]]]:
    """How to continue prompts of these ``lengths``, named by their places, longest first.

    A model whose rotary positions depend on the longest text beside (longrope) has texts of one kind in a batch, and
    reads those anew that become long while they are written.
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    way, limit = way_of(model), short_texts(model)
    long = [place for place in order if lengths[place] > limit]
    short = [place for place in order if lengths[place] + max_new_tokens <= limit]
    between = [place for place in order if place not in {*long, *short}]
    return [(way, places) for way, places in ((way, long), (Way(None), between), (way, short)) if places]


def can_share(model: PreTrainedModel) -> bool:
    """Whether what the rows of a batch begin with can be held once (see ``shared_prefix``)."""
    if model not in _sharing:
        way = way_of(model)
        _sharing[model] = (
            way.side_by_side
            and takes_other_attention(model)
            and _gives(model, way, _whole_texts(model), num_shared=_SHARED)
        )
    return _sharing[model]


def can_move_rows(model: PreTrainedModel) -> bool:
    """Whether rows of a batch may change places while they are written, as beams do: MiniMax's states of the texts
    before would stay where they are."""
    if model not in _moving:
        _moving[model] = way_of(model).side_by_side and _moves_rows(model)
    return _moving[model]


@torch.inference_mode()
def _moves_rows(model: PreTrainedModel) -> bool:
    texts, order, then = torch.tensor([_WRITTEN[1], _PROMPTS[0][:4]], device=model.device), [1, 0], [[12], [9]]
    try:
        state = model(input_ids=texts, use_cache=True).past_key_values
        state.reorder_cache(torch.tensor(order, device=model.device))
        next_tokens = torch.tensor(then, device=model.device)
        found = model(input_ids=next_tokens, past_key_values=state, use_cache=True).logits[:, -1].float()
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception:  # as below
        return False
    whole = torch.cat([texts[order], next_tokens], dim=1)
    return not _differ(found, model(input_ids=whole, use_cache=False).logits[:, -1].float(), model)


def _candidates(model: PreTrainedModel) -> Iterator[Way]:
    taken = inspect.signature(type(model).forward).parameters
    arguments = [argument for argument in _ARGUMENTS if argument in taken]
    for side_by_side in (True, False):
        for argument in arguments[:1]:
            yield Way(argument, growing=True, side_by_side=side_by_side)
            yield Way(argument, growing=False, side_by_side=side_by_side)


@torch.inference_mode()
def _whole_texts(model: PreTrainedModel) -> list[Tensor]:
    """For each text the logits ``[tokens written, vocabulary]`` that its tokens are chosen by."""
    found = []
    for prompt, written in zip(_PROMPTS, _WRITTEN, strict=True):
        ids = torch.tensor([[*prompt, *written[:-1]]], device=model.device)
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 :].float()
        if not logits.isfinite().all():
            raise not_finite(model)
        found.append(logits)
    return found


def _gives(model: PreTrainedModel, way: Way, expected: Sequence[Tensor], *, num_shared: int = 0) -> bool:
    """Whether the texts, read in this way, have the logits that are expected."""
    numbers = list(range(len(_PROMPTS)))
    try:
        if way.side_by_side:
            found = _written(model, way, numbers, num_shared)
        else:
            found = {number: _written(model, way, [number], 0)[number] for number in numbers}
    except (torch.OutOfMemoryError, MemoryError):
        raise
    except Exception:  # in whatever way a family of models cannot, and there are hundreds
        return False
    return not any(_differ(found[number], expected[number], model) for number in numbers)


def _written(model: PreTrainedModel, way: Way, numbers: Sequence[int], num_shared: int) -> dict[int, Tensor]:
    """The logits of the texts of these numbers, by number, while they are written in one batch."""
    found: dict[int, list[Tensor]] = {number: [] for number in numbers}

    def as_written(logits: Tensor, rows: Sequence[int]) -> Tensor:
        for row, own in zip(rows, logits, strict=True):
            found[row].append(own)
        return torch.tensor([_WRITTEN[row][len(found[row]) - 1] for row in rows], device=logits.device)

    prompts = [_PROMPTS[number] for number in numbers]
    batch = Batch(model, prompts, max(map(len, _WRITTEN)), way, num_shared=num_shared, read_tokens=1)
    rows = list(numbers)
    while rows:
        batch.next_tokens(as_written, rows)
        places = [place for place, row in enumerate(rows) if len(found[row]) < len(_WRITTEN[row])]
        if places and len(places) < len(rows):
            batch.keep(places)
        rows = [rows[place] for place in places]
    return {number: torch.stack(logits) for number, logits in found.items()}


def _differ(found: Tensor, expected: Tensor, model: PreTrainedModel) -> bool:
    """Whether logits ``[tokens, vocabulary]`` differ by more than rounding: in bfloat16 at most tokens, since rounding
    may send a single one to other experts."""
    difference = (found - expected).norm(dim=-1) / expected.norm(dim=-1)
    dtype = computing_dtype(model)
    worst = difference.max() if dtype == torch.float32 else difference.median()
    return not bool(worst <= TOLERANCE[dtype])


def computing_dtype(model: PreTrainedModel) -> torch.dtype:
    """What matrix products compute in here: the model's type, or that of autocast."""
    device = model.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else model.dtype
