"""The signal of a teacher with other tokens than the student's: it reads its own, and spans of text are compared.

``training/signals/alignment.py`` explains what is paired with what, and why.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from cotdistill.config import Divergence, TotalVariation
from cotdistill.training.data.batches import Batch, collate
from cotdistill.training.data.examples import Example
from cotdistill.training.losses import divergences as losses
from cotdistill.training.losses.teacher import TeacherChunk
from cotdistill.training.signals.alignment import AlignedExample, Alignments, SharedOutcomes
from cotdistill.training.signals.live import HiddenRows, LiveSignal
from cotdistill.training.signals.samples import SampleAligner

LOG_NOTHING = -16.1
"""log(1e-7), for an outcome that one side cannot have, as for a tail without mass (``losses.log_rest``)."""


class AlignedSignal:
    """Runs the teacher on its own tokens of a batch's examples."""

    def __init__(self, teacher: LiveSignal, alignments: Alignments, samples: SampleAligner | None = None):
        self.teacher, self.samples = teacher, samples
        self._admitted: dict[str, AlignedExample] = {}
        self.models = teacher.models
        self.num_outcomes: int | None = None
        self.examples = alignments.examples
        outcomes = alignments.outcomes
        self.projections = _projections(outcomes, teacher.teacher.device) if outcomes else None

    def admit(self, samples: Mapping[int, Example]) -> tuple[Mapping[int, Example], Collection[str]]:
        """Tokenise samples for the teacher; those that it can read to some place only are cut there."""
        self._admitted = {}
        kept: dict[int, Example] = {}
        reasons: list[str] = []
        for number, sample in samples.items():
            found = self._align(sample)
            if found is None:
                reasons.append("not_alignable")
                continue
            kept[number], self._admitted[found[0].key] = found
            if len(found[0]) < len(sample):
                reasons.append("cut_to_align")
        return kept, reasons

    def _align(self, sample: Example) -> tuple[Example, AlignedExample] | None:
        assert self.samples is not None, "there are samples only where a training is given what aligns them"
        return self.samples.align(sample)

    def _aligned(self, example: Example) -> AlignedExample:
        known = self.examples.get(example.key) or self._admitted.get(example.key)
        if known is None:  # cut since for another teacher
            found = self._align(example)
            assert found is not None, "the beginning of what could be aligned can be"
            known = found[1]
        return known

    def rows(self, batch: Batch) -> AlignedRows:
        aligned = [self._aligned(example) for example in batch.examples]
        teacher_batch = collate([example.teacher for example in aligned], batch.layout)
        teacher_batch = teacher_batch.to(batch.input_ids.device)
        student_spans: list[int] = []
        teacher_spans: list[int] = []
        paired: list[bool] = []
        for example in aligned:
            student_spans += [len(paired) + span for span in example.student_spans]
            teacher_spans += [len(paired) + span for span in example.teacher_spans]
            paired += example.paired
        return AlignedRows(
            self.teacher.rows(teacher_batch),
            batch.targets,
            teacher_batch.targets,
            student_spans,
            teacher_spans,
            paired,
            self.projections,
        )


@dataclass(frozen=True, slots=True)
class AlignedRows:
    """Spans of a batch, numbered over all its examples; ``targets`` are the tokens of either side's loss rows.

    ``student_spans`` ``[num_loss_tokens]`` and ``teacher_spans`` ``[num_teacher_tokens]`` never fall.
    """

    teacher: HiddenRows
    targets: Tensor
    teacher_targets: Tensor
    student_spans: Sequence[int]
    teacher_spans: Sequence[int]
    paired: Sequence[bool]
    projections: tuple[Projection, Projection] | None

    def slices(self, size: int) -> Iterator[slice]:
        """Slices of about ``size`` rows that do not split a span."""
        spans, start = self.student_spans, 0
        while start < len(spans):
            stop = min(start + size, len(spans))
            while stop < len(spans) and spans[stop] == spans[stop - 1]:
                stop += 1
            yield slice(start, stop)
            start = stop

    def chunk(self, rows: slice) -> SortedChunk | SpanChunk:
        """``rows`` must be one of :meth:`slices`."""
        student_spans = self.student_spans[rows]
        first, last = student_spans[0], student_spans[-1]
        theirs = slice(bisect_left(self.teacher_spans, first), bisect_right(self.teacher_spans, last))
        logits = self.teacher.chunk(theirs).logits

        def tensor(values: Sequence[int] | Sequence[bool], dtype: torch.dtype = torch.long) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=logits.device)

        spans = Spans(
            tensor(student_spans) - first,
            tensor(self.teacher_spans[theirs]) - first,
            tensor(self.paired[first : last + 1], torch.bool),
        )
        if self.projections is None:
            return SortedChunk(logits, spans)
        return SpanChunk(logits, spans, self.targets[rows], self.teacher_targets[theirs], *self.projections)


@dataclass(frozen=True, slots=True)
class Spans:
    """The span of each student row and of each teacher row, and of each span whether it is a pair of one token each."""

    student: Tensor
    teacher: Tensor
    paired: Tensor

    @property
    def pairs(self) -> tuple[Tensor, Tensor]:
        """The rows, of student and teacher, that are compared one to one."""
        return self.paired[self.student].nonzero()[:, 0], self.paired[self.teacher].nonzero()[:, 0]

    @property
    def merged_ends(self) -> Tensor:
        """The last student row of each merged span."""
        following = torch.cat([self.student[1:], self.student[-1:] + 1])
        return ((following != self.student) & ~self.paired[self.student]).nonzero()[:, 0]


class Undivided(TeacherChunk, Protocol):
    """Distributions that are compared as a whole, because spans are not split."""

    def slices(self, size: int) -> Iterator[slice]:
        yield slice(None)

    def chunk(self, rows: slice) -> TeacherChunk:
        return self


@dataclass(frozen=True, slots=True)
class SortedChunk(Undivided):
    """Compares probabilities by rank; the smaller vocabulary is padded with zeros."""

    logits: Tensor
    spans: Spans

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        """Half ULD's L1 distance, which is a total variation: ``weight: 2`` gives ULD's own."""
        assert isinstance(term, TotalVariation), "the config refuses other divergences of sorted probabilities"
        ours, theirs = self.spans.pairs
        size = max(self.logits.shape[-1], student_logits.shape[-1])
        q, p = (
            F.pad(losses.log_softmax(logits, term.temperature).exp().sort(descending=True).values, (0, size - width))
            for logits, width in (
                (student_logits[ours], student_logits.shape[-1]),
                (self.logits[theirs], self.logits.shape[-1]),
            )
        )
        distance = 0.5 * term.temperature**2 * (p - q).abs().sum(-1)
        return distance.new_zeros(len(student_logits)).index_put((ours,), distance)


@dataclass(frozen=True, slots=True)
class SpanChunk(Undivided):
    """Compares distributions over shared outcomes at paired tokens, and the probabilities of merged spans."""

    logits: Tensor
    spans: Spans
    targets: Tensor
    teacher_targets: Tensor
    student: Projection
    teacher: Projection

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        divergence = losses.divergence_of(term)
        log_q = losses.log_softmax(student_logits[:, : self.student.num_tokens], term.temperature)
        log_p = losses.log_softmax(self.logits[:, : self.teacher.num_tokens], term.temperature)
        ours, theirs = self.spans.pairs
        paired = divergence(self.teacher(log_p[theirs]), self.student(log_q[ours]))
        merged = divergence(
            self._merged(log_p, self.teacher_targets, self.spans.teacher),
            self._merged(log_q, self.targets, self.spans.student),
        )
        result = paired.new_zeros(len(student_logits))
        result = result.index_put((ours,), paired).index_put((self.spans.merged_ends,), merged)
        return term.temperature**2 * result

    def _merged(self, log_probabilities: Tensor, targets: Tensor, spans: Tensor) -> Tensor:
        """``[num_merged_spans, 2]``: the log-probability of writing each merged span, and that of not doing so."""
        tokens = log_probabilities.gather(-1, targets[:, None])[:, 0]
        totals = tokens.new_zeros(len(self.spans.paired)).index_add(0, spans, tokens)
        written = totals[~self.spans.paired][:, None]
        return torch.cat([written, losses.log_rest(written)], dim=-1)


@dataclass(frozen=True, slots=True)
class Projection:
    """Adds up the probabilities of tokens that count as one outcome. ``outcomes`` is ``[num_tokens]``."""

    outcomes: Tensor
    num_outcomes: int
    is_identity: bool

    @property
    def num_tokens(self) -> int:
        return len(self.outcomes)

    def __call__(self, log_probabilities: Tensor) -> Tensor:
        """From ``[rows, num_tokens]`` to ``[rows, num_outcomes]``, logarithms both, without underflow.

        Tokens that a head lacks have no probability (Gemma 3's tokenizer has one for images).
        """
        if (lacking := self.num_tokens - log_probabilities.shape[-1]) > 0:
            log_probabilities = F.pad(log_probabilities, (0, lacking), value=LOG_NOTHING)
        if self.is_identity:
            return log_probabilities
        rows = len(log_probabilities)
        outcomes = self.outcomes.expand(rows, -1)
        largest = log_probabilities.new_full((rows, self.num_outcomes), LOG_NOTHING)
        largest = largest.scatter_reduce(-1, outcomes, log_probabilities.detach(), "amax", include_self=False)
        scaled = (log_probabilities - largest.gather(-1, outcomes)).exp()
        sums = torch.zeros_like(largest).scatter_add(-1, outcomes, scaled)
        return torch.where(sums > 0, sums, 1.0).log() + largest


def _projections(shared: SharedOutcomes, device: torch.device) -> tuple[Projection, Projection]:
    """Of student and teacher. Without a token that counts as the rest, there is none."""
    rest = shared.num_outcomes - 1
    used = rest in shared.student or rest in shared.teacher
    num_outcomes = shared.num_outcomes if used else rest

    def projection(outcomes: list[int]) -> Projection:
        identity = outcomes == list(range(num_outcomes))
        return Projection(torch.tensor(outcomes, device=device), num_outcomes, identity)

    return projection(shared.student), projection(shared.teacher)
