"""Which examples make up a step, and how a step is cut into micro-batches of similar length.

Steps are fixed by seed and epoch alone, so that a resumed run sees the same ones; micro-batches are an arrangement
within a step and change nothing but speed and memory.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from cotdistill.training.examples import Example, Region

BUCKET_STEPS = 16
"""Steps are cut from windows of so many steps sorted by length: padding falls, and the order stays nearly random."""


def num_steps_per_epoch(num_examples: int, batch_size: int) -> int:
    return math.ceil(num_examples / batch_size)


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


def task_groups(examples: Sequence[Example]) -> list[list[int]]:
    """Indices of the examples that share a step: a question's explanation goes with its answer, others alone.

    Lengths differ between the two tasks of ``multi_task``, so that sorting by length would else part them.
    """
    groups: list[list[int]] = []
    for index, example in enumerate(examples):
        explains = example.regions[-1] is Region.RATIONALE
        if explains and groups and examples[groups[-1][0]].id == example.id:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def grouped_steps(
    groups: Sequence[Sequence[int]], lengths: Sequence[int], batch_size: int, *, seed: int, num_steps: int
) -> Iterator[list[int]]:
    """As :func:`all_steps`, of ``batch_size`` groups a step; yields the indices of their examples."""
    sizes = [sum(lengths[index] for index in group) for group in groups]
    for step in all_steps(sizes, batch_size, seed=seed, num_steps=num_steps):
        yield [index for group in step for index in groups[group]]


def batch_tokens(max_batch_tokens: int | None, device: torch.device) -> int:
    """``max_batch_tokens``, or what suits the device where it is None.

    On a CPU larger micro-batches cost memory and time: SmolLM2-135M trained at 223 tokens/s and 9.2 GB in those of 4096
    tokens, at 240 and 4.5 GB in those of 1024, at 230 and 3.7 GB in those of 512 (``benchmarks/RESULTS.md``).
    """
    return max_batch_tokens or (1024 if device.type == "cpu" else 4096)


def micro_batches(
    step: Sequence[int], lengths: Sequence[int] | Mapping[int, int], max_batch_tokens: int
) -> list[list[int]]:
    """Cut a step, longest first, so that no micro-batch has more padded tokens than ``max_batch_tokens``.

    An example that alone is longer makes a micro-batch of its own.
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


@dataclass(frozen=True, slots=True)
class Batch:
    """Examples of one forward pass: a row each, padded on the right, or packed, which is end to end in one row.

    ``keys`` are those of the examples in order; ``input_ids`` is ``[rows, length]``. So is ``attention_mask``, which
    packed examples do without, and are their ``position_ids``, which start again at 0 with each. ``positions`` (flat,
    into ``[rows * length]``), ``targets`` and ``regions`` are of the tokens that carry loss, ``[num_loss_tokens]``,
    example after example. ``longest`` is an example's greatest length. ``teacher`` holds the same loss rows behind the
    prompts of a teacher who knows more; None where it reads the student's.
    """

    keys: tuple[str, ...]
    input_ids: Tensor
    attention_mask: Tensor | None
    position_ids: Tensor | None
    positions: Tensor
    targets: Tensor
    regions: Tensor
    longest: int
    teacher: Batch | None = None

    @property
    def packed(self) -> bool:
        return self.position_ids is not None

    def to(self, device: torch.device) -> Batch:
        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        return Batch(
            self.keys,
            moved(self.input_ids),
            None if self.attention_mask is None else moved(self.attention_mask),
            None if self.position_ids is None else moved(self.position_ids),
            moved(self.positions),
            moved(self.targets),
            moved(self.regions),
            self.longest,
            self.teacher.to(device) if self.teacher else None,
        )


def collate(examples: Sequence[Example], *, packed: bool = False) -> Batch:
    """Lay examples out and list the positions that carry loss; padding is zeros, which the attention mask hides."""
    lengths = [len(example) for example in examples]
    longest = max(lengths)
    shape = (1, sum(lengths)) if packed else (len(examples), longest)
    starts = [0, *accumulate(lengths)] if packed else range(0, len(examples) * longest, longest)
    input_ids, position_ids, is_token = torch.zeros(3, math.prod(shape), dtype=torch.long)
    positions, targets, regions = [], [], []
    for start, example in zip(starts, examples, strict=False):
        own = slice(start, start + len(example))
        input_ids[own] = torch.tensor(example.input_ids)
        position_ids[own] = torch.arange(len(example))
        is_token[own] = 1
        for place, (target, region) in enumerate(zip(example.targets, example.regions, strict=True), start):
            if region:
                positions.append(place)
                targets.append(target)
                regions.append(int(region))
    has_context = any(example.teacher_prompt is not None for example in examples)
    return Batch(
        tuple(example.key for example in examples),
        input_ids.view(shape),
        None if packed else is_token.view(shape),
        position_ids.view(shape) if packed else None,
        torch.tensor(positions),
        torch.tensor(targets),
        torch.tensor(regions),
        longest,
        collate([example.of_teacher() for example in examples], packed=packed) if has_context else None,
    )
