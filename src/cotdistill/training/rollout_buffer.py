"""The samples of on-policy steps, those of several steps drawn together and written down.

A buffer of ``k`` steps is drawn at the first of every ``k`` on-policy steps, from the student as it is then, in larger
batches than a step's own. A resumed training may need samples of a student that is gone: so they are on disk before
the first of their steps is taken, and stay there until a checkpoint lies behind the last.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from cotdistill.errors import ArtifactError, DataError
from cotdistill.storage.jsonl import read_rows, write_rows
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.tasks.segments import Region
from cotdistill.training.data.examples import Example
from cotdistill.training.rollouts import Rollouts, Samples

BUFFER = "rollouts.tmp"
"""The folder of the samples within a stage; its name keeps it out of the finished stage."""

Step = tuple[int, Sequence[int]]
"""A step's number, from 0, and the numbers of its examples."""


@dataclass(frozen=True, slots=True)
class Buffer:
    """The live samples of a training, of which this process, the ``rank``-th, draws those of its own examples.

    ``own`` gives these by their numbers, for the numbers of a step's examples.
    """

    rollouts: Rollouts
    folder: Path
    num_steps: int
    rank: int
    own: Callable[[Sequence[int]], Mapping[int, Example]]
    _together: dict[int, list[Step]] = field(default_factory=dict[int, list[Step]])
    _held: Samples = field(default_factory=Samples)

    def foreseen(self, steps: Iterable[Step]) -> Iterator[Step]:
        """The same steps, all of them in order; knows from then on which are drawn together with each."""
        coming: deque[Step] = deque()
        steps = iter(steps)
        while step := coming.popleft() if coming else next(steps, None):
            if self.rollouts.are_of(step[0]) and step[0] not in self._together:
                self._foresee(step, coming, steps)
            yield step

    def _foresee(self, first: Step, coming: deque[Step], steps: Iterator[Step]) -> None:
        """Look ahead for the steps that are drawn with the ``first``; all that are passed are ``coming``."""
        own = islice((step for step in _passed(coming, steps) if self.rollouts.are_of(step[0])), self._size - 1)
        together = [first, *own]
        self._together.update((number, together) for number, _ in together)

    @property
    def _size(self) -> int:
        return self.rollouts.config.buffer

    def take(self, student: PreTrainedModel, step: int) -> dict[int, Example]:
        """The samples of a foreseen on-policy step: from the buffer, which is drawn if this is its first step.

        Raises ArtifactError if those that an earlier student wrote were removed or changed.
        """
        together = self._together[step]
        for passed in [number for number in self._together if number <= step]:
            del self._together[passed]
        if step not in self._held:
            examples = {number: self.own(indices) for number, indices in together if number >= step}
            first, last = together[0][0], together[-1][0]
            found = self._read(first, last, examples)
            if found is None and first < step:
                raise self._gone(first)
            self._held.clear()
            self._held.update(self._drawn(student, first, last, examples) if found is None else found)
        return self._held.pop(step)

    def forget(self, before: int) -> None:
        """Remove what no step from ``before`` on needs: a checkpoint holds all that was learned from it."""
        for file in self._files("*"):
            if int(file.stem.split("-")[1]) < before:
                file.unlink(missing_ok=True)

    def _drawn(
        self, student: PreTrainedModel, first: int, last: int, examples: Mapping[int, Mapping[int, Example]]
    ) -> Samples:
        samples = self.rollouts.sample(student, examples, self.rollouts.config.length_at(first, self.num_steps))
        if self._size > 1:
            self.folder.mkdir(exist_ok=True)
            rows = (_row(step, n, sample) for step, own in samples.items() for n, sample in own.items())
            write_rows(self.folder / f"{first}-{last}-{self.rank}.jsonl", rows)
        return samples

    def _read(self, first: int, last: int, examples: Mapping[int, Mapping[int, Example]]) -> Samples | None:
        """The samples of these examples, whichever process drew them; None if any is missing."""
        found: Samples = {step: {} for step in examples}
        try:
            for row in (row for file in self._files(f"{first}-{last}-*") for row in read_rows(file)):
                own = examples.get(row["step"], {})
                if (number := row["example"]) in own:
                    regions = list(map(Region, row["regions"]))
                    found[row["step"]][number] = own[number].with_response(row["response"], regions)
        except (DataError, *WRONG_SHAPE):
            raise self._gone(first) from None
        complete = all(found[step].keys() == own.keys() for step, own in examples.items())
        return {step: {n: found[step][n] for n in own} for step, own in examples.items()} if complete else None

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(f"{pattern}.jsonl"))

    def _gone(self, first: int) -> ArtifactError:
        return ArtifactError(
            f"the samples that were drawn at step {first + 1} are missing or damaged",
            where=self.folder,
            remedy=f"delete {self.folder.parent} to train from the start",
        )


def _passed(coming: deque[Step], steps: Iterator[Step]) -> Iterator[Step]:
    """What is ``coming`` already, then what is taken from ``steps``, which is coming from then on."""
    yield from tuple(coming)
    for step in steps:
        coming.append(step)
        yield step


def _row(step: int, number: int, sample: Example) -> dict[str, Any]:
    regions = sample.regions[sample.num_prompt_tokens - 1 :]
    return {"step": step, "example": number, "response": sample.loss_targets, "regions": regions}
