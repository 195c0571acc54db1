"""Which examples make up a step, and how a step is split into micro-batches and laid out in them.

Steps are fixed by seed and epoch alone, so that a resumed run sees the same ones; micro-batches are an arrangement
within a step and change nothing but speed and memory.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import accumulate
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from cotdistill.models.forward.heads import PackedTexts
from cotdistill.models.generate.shared_prefix import num_shared
from cotdistill.tasks.segments import Region
from cotdistill.training.data.examples import Example
from cotdistill.training.data.store import last_regions_of

BUCKET_STEPS = 16
"""Steps are cut from windows of this many steps sorted by length: less padding, and a nearly random order."""


def num_steps_of(epochs: float, num_examples: int, batch_size: int) -> int:
    """Steps of a training, at least one; a partial last step of an epoch counts as one."""
    of_one_epoch = math.ceil(num_examples / batch_size)
    return max(1, math.ceil(round(epochs * of_one_epoch, 6)))  # 1.1 * 50 is 55.00000000000001


def steps_of_epoch(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> list[list[int]]:
    """Example indices of each optimizer step of an epoch: every example once, lengths alike within a step."""
    generator = random.Random(f"{seed}/{epoch}")
    order = list(range(len(lengths)))
    generator.shuffle(order)
    window = BUCKET_STEPS * batch_size
    steps: list[list[int]] = []
    for start in range(0, len(order), window):
        bucket = sorted(order[start : start + window], key=lambda index: lengths[index])
        steps += [bucket[first : first + batch_size] for first in range(0, len(bucket), batch_size)]
    generator.shuffle(steps)
    return steps


def all_steps(lengths: Sequence[int], batch_size: int, *, seed: int, num_steps: int) -> Iterator[list[int]]:
    """The steps of as many epochs as ``num_steps`` needs, in order."""
    epoch, made = 0, 0
    while made < num_steps:
        for step in steps_of_epoch(lengths, batch_size, seed=seed, epoch=epoch)[: num_steps - made]:
            made += 1
            yield step
        epoch += 1


def task_groups(examples: Sequence[Example]) -> np.ndarray:
    """Where groups of examples that share a step begin: an explanation goes with the answer before it, others alone.

    Lengths differ between the two tasks of ``multi_task``, so sorting by length would otherwise separate them.
    """
    begins = np.ones(len(examples), bool)
    for index in (last_regions_of(examples) != Region.END).nonzero()[0].tolist():
        begins[index] = index == 0 or examples[index - 1].id != examples[index].id
    return begins.nonzero()[0]


def grouped_steps(
    groups: np.ndarray, lengths: Sequence[int] | np.ndarray, batch_size: int, *, seed: int, num_steps: int
) -> Iterator[list[int]]:
    """As :func:`all_steps`, of ``batch_size`` groups a step; yields the indices of their examples."""
    sizes = np.add.reduceat(lengths, groups)
    ends = np.append(groups[1:], len(lengths))
    for step in all_steps(sizes.tolist(), batch_size, seed=seed, num_steps=num_steps):
        yield [index for group in step for index in range(groups[group], ends[group])]


def batch_tokens(max_batch_tokens: int | None, device: torch.device) -> int:
    """``max_batch_tokens``, or what suits the device if it is None.

    On a CPU larger micro-batches cost memory and win little (``benchmarks/RESULTS.md``): half of that benchmark took
    SmolLM2-135M 33.4, 32.1 and 32.0 processor seconds in those of 1024, 1536 and 2048 tokens.
    """
    return max_batch_tokens or (1536 if device.type == "cpu" else 4096)


def micro_batches(
    step: Sequence[int], lengths: Sequence[int] | Mapping[int, int], max_batch_tokens: int
) -> list[list[int]]:
    """Cut a step, longest first, so that no micro-batch has more padded tokens than ``max_batch_tokens``.

    A longer example makes a micro-batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(step, key=lambda i: (-lengths[i], i)):
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_batch_tokens:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches


def packed_batches(
    step: Sequence[int], lengths: Sequence[int] | Mapping[int, int], max_batch_tokens: int
) -> list[list[int]]:
    """As :func:`micro_batches`, of examples that lie end to end: longest first, each in the first one with room."""
    batches: list[list[int]] = []
    room: list[int] = []
    for index in sorted(step, key=lambda i: (-lengths[i], i)):
        place = next((place for place, left in enumerate(room) if lengths[index] <= left), len(batches))
        if place == len(batches):
            batches.append([])
            room.append(max_batch_tokens)
        batches[place].append(index)
        room[place] -= lengths[index]
    return batches


Layout = Literal["padded", "packed", "shared"]
"""How the examples of a micro-batch lie: a row each, padded on the right; end to end in one row; or the same with the
shared beginning of their prompts laid only once."""


def num_shared_tokens(examples: Collection[Example]) -> int:
    """How many tokens all prompts begin with, without the last token of each, where losses begin."""
    return num_shared([example.prompt for example in examples]) if len(examples) > 1 else 0


def batches_of_step(examples: Mapping[int, Example], layout: Layout, max_batch_tokens: int) -> list[Batch]:
    """The micro-batches of a step."""
    cut = micro_batches if layout == "padded" else packed_batches
    shared = num_shared_tokens(examples.values()) if layout == "shared" else 0
    sizes = {number: len(example) - shared for number, example in examples.items()}
    return [
        collate([examples[number] for number in numbers], layout)
        for numbers in cut(list(examples), sizes, max_batch_tokens - shared)
    ]


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples of one forward pass, in a ``layout``.

    ``examples`` are the student's, in order; ``input_ids`` is ``[rows, length]``. So is ``attention_mask``, which
    padded rows alone have, and so are the ``position_ids`` of all others: they start again with each example, at 0 or
    behind what is shared, as ``texts`` then says. ``positions`` (flat, into ``[rows * length]``), ``targets``,
    ``regions`` and ``owners`` (the number of the example) are of the tokens that carry loss, ``[num_loss_tokens]``,
    example after example. ``longest`` is an
    example's greatest length. ``teacher`` holds the same loss rows behind the prompts of a teacher who knows more; None
    where it reads the student's. What is ``sampled`` was written by the student.
    """

    examples: tuple[Example, ...]
    layout: Layout
    input_ids: Tensor
    attention_mask: Tensor | None
    position_ids: Tensor | None
    texts: PackedTexts | None
    positions: Tensor
    targets: Tensor
    regions: Tensor
    owners: Tensor
    longest: int
    teacher: Batch | None = None
    sampled: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """Those of the examples."""
        return tuple(example.key for example in self.examples)

    @property
    def inputs(self) -> dict[str, Any]:
        """The arguments of :func:`last_hidden_states`."""
        return {name: getattr(self, name) for name in ("input_ids", "attention_mask", "position_ids", "texts")}

    def to(self, device: torch.device) -> Batch:
        return self._with_each(lambda tensor: tensor.to(device, non_blocking=True))

    def pinned(self) -> Batch:
        """The same in memory that a GPU reads while it computes."""
        return self._with_each(Tensor.pin_memory)

    def _with_each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        tensors = {name: change(value) for name, value in held.items() if isinstance(value, Tensor)}
        return replace(self, **tensors, teacher=self.teacher._with_each(change) if self.teacher else None)


def collate(examples: Sequence[Example], layout: Layout = "padded") -> Batch:
    """Lay examples out and list the positions that carry loss; padding is zeros, which the attention mask hides."""
    has_context = any(example.arrays.teacher_prompt is not None for example in examples)
    teachers = [example.of_teacher() for example in examples] if has_context else []
    theirs = _laid(teachers, layout, of=examples) if has_context else None
    return _laid(examples, layout, of=examples, teacher=theirs)


def _laid(examples: Sequence[Example], layout: Layout, *, of: Sequence[Example], teacher: Batch | None = None) -> Batch:
    shared = num_shared_tokens(examples) if layout == "shared" else 0
    longest, lengths = max(map(len, examples)), [len(example) - shared for example in examples]
    shape = (len(examples), longest) if layout == "padded" else (1, shared + sum(lengths))
    starts = range(0, len(examples) * longest, longest) if layout == "padded" else accumulate(lengths, initial=shared)
    input_ids, position_ids, is_token, targets, regions, owners = np.zeros((6, math.prod(shape)), np.int64)
    counted = np.arange(longest)
    input_ids[:shared], position_ids[:shared] = examples[0].arrays.input_ids[:shared], counted[:shared]
    for number, (start, length, example) in enumerate(zip(starts, lengths, examples, strict=False)):
        own = slice(start, start + length)
        input_ids[own], targets[own], regions[own] = (column[shared:] for column in example.arrays[:3])
        position_ids[own] = counted[shared : len(example)]
        is_token[own], owners[own] = 1, number
    (positions,) = regions.nonzero()
    return Batch(
        tuple(of),
        layout,
        torch.from_numpy(input_ids).view(shape),
        torch.from_numpy(is_token).view(shape) if layout == "padded" else None,
        None if layout == "padded" else torch.from_numpy(position_ids).view(shape),
        PackedTexts(shared, tuple(lengths)) if layout == "shared" else None,
        torch.from_numpy(positions),
        torch.from_numpy(targets[positions]),
        torch.from_numpy(regions[positions]),
        torch.from_numpy(owners[positions]),
        longest,
        teacher,
    )
