"""Several teachers' signals as one: each teaches its own questions, and where several teach one, the mean counts.

At a token of an example with the teachers K, of weights w, a divergence D of the teachers' distributions p from the
student's q is the weighted mean of the divergences,

    sum over k in K of w[k] D(p[k], q)  /  sum over k in K of w[k],

not the divergence from a mean distribution. So teachers may differ in what is stored of them, in the size of their
heads and in their tokenizers, and every divergence can be taken. For forward KL the gradient is that of KL(m || q),
with the weighted mean m of the distributions: both differ by a term without q. For reverse KL it is that of
KL(q || g), with their normalised weighted geometric mean g.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from cotdistill.config import Divergence
from cotdistill.training.data.batches import Batch, collate
from cotdistill.training.data.examples import Example
from cotdistill.training.losses.teacher import TeacherChunk, TeacherRows
from cotdistill.training.signals.asked import ServedSignal
from cotdistill.training.signals.live import TeacherSignal


@dataclass(frozen=True, slots=True)
class Part:
    """One of the teachers."""

    signal: TeacherSignal
    weight: float


class SeveralSignals:
    """``teachers`` are the numbers of those of each question, by its id."""

    def __init__(self, parts: Sequence[Part], teachers: Mapping[str, Collection[int]]):
        self.parts, self.teachers = tuple(parts), teachers
        self.models: tuple[PreTrainedModel, ...] = tuple(chain.from_iterable(part.signal.models for part in parts))
        sizes = [part.signal.num_outcomes for part in parts if part.signal.num_outcomes is not None]
        self.num_outcomes = min(sizes, default=None)

    def admit(self, samples: Mapping[int, Example]) -> tuple[Mapping[int, Example], Collection[str]]:
        """A sample stays as it is for all its teachers, or is left out."""
        reasons: list[str] = []
        numbered = enumerate(self.parts)
        for number, part in sorted(
            numbered, key=lambda each: isinstance(each[1].signal, ServedSignal)
        ):  # paid for last
            own = {place: sample for place, sample in samples.items() if number in self.teachers[sample.id]}
            kept, why = part.signal.admit(own)
            reasons += why
            samples = {
                place: kept.get(place, sample) for place, sample in samples.items() if place not in own or place in kept
            }
        return samples, reasons

    def rows(self, batch: Batch) -> SeveralRows:
        owners = batch.owners.cpu().numpy()
        found: list[PartRows] = []
        for number, part in enumerate(self.parts):
            own = [place for place, one in enumerate(batch.examples) if number in self.teachers[one.id]]
            if own:
                whole = len(own) == len(batch.examples)
                theirs = batch if whole else collate([batch.examples[place] for place in own], batch.layout)
                rows = part.signal.rows(theirs.to(batch.input_ids.device))
                found.append(PartRows(rows, part.weight, np.isin(owners, own)))
        return SeveralRows(found, len(owners))


class PartRows:
    """A teacher's rows, and which of all rows they are, ``taught``: ``[num_rows]``, bool."""

    def __init__(self, teacher: TeacherRows, weight: float, taught: np.ndarray):
        self.teacher, self.weight, self.taught = teacher, weight, taught
        self.before = np.concatenate([[0], np.cumsum(taught)])

    def may_end(self) -> np.ndarray:
        """Where rows may be cut, ``[num_rows + 1]``: between any two that the teacher can tell apart."""
        own = np.zeros(self.before[-1] + 1, bool)
        own[0] = True
        for rows in self.teacher.slices(1):
            own[rows.indices(len(own) - 1)[1]] = True
        return own[self.before]

    def chunk(self, rows: slice) -> PartRows | None:
        """Those of ``rows`` that this teacher teaches; None if there are none."""
        first, last = int(self.before[rows.start]), int(self.before[rows.stop])
        if first == last:
            return None
        return PartRows(self.teacher.chunk(slice(first, last)), self.weight, self.taught[rows])


@dataclass(frozen=True, slots=True)
class SeveralRows:
    """The rows of all teachers of a batch, or of a chunk of it."""

    parts: Sequence[PartRows]
    num_rows: int

    def slices(self, size: int) -> Iterator[slice]:
        may_end = np.logical_and.reduce([part.may_end() for part in self.parts])
        (ends,) = may_end.nonzero()
        start = 0
        while start < self.num_rows:
            stop = int(ends[np.searchsorted(ends, min(start + size, self.num_rows))])
            yield slice(start, stop)
            start = stop

    def chunk(self, rows: slice) -> SeveralChunk:
        rows = slice(*rows.indices(self.num_rows)[:2])
        parts = [part for part in (each.chunk(rows) for each in self.parts) if part is not None]
        return SeveralChunk(parts, rows.stop - rows.start)


class SeveralChunk(SeveralRows):
    """The same, computed: every part's rows are a chunk of its teacher."""

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        """The weighted mean of the parts' divergences, ``[num_tokens]``."""
        total = sum(part.weight * part.taught for part in self.parts)
        result = student_logits.new_zeros(self.num_rows)
        for part in self.parts:
            (own,) = part.taught.nonzero()
            share = torch.from_numpy(part.weight / np.asarray(total)[own]).to(student_logits)
            teacher: TeacherChunk = part.teacher  # pyright: ignore[reportAssignmentType]
            if len(own) == self.num_rows:
                result = result + share * teacher.divergence(term, student_logits)
            else:
                places = torch.from_numpy(own).to(student_logits.device)
                result = result.index_add(0, places, share * teacher.divergence(term, student_logits[places]))
        return result
