"""What losses need from a teacher's rows, whatever signal they come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from cotdistill.config import Divergence


class TeacherRows(Protocol):
    """The teacher's part of some loss rows, which is split and computed part by part."""

    def slices(self, size: int) -> Iterator[slice]:
        """All rows in order, in slices of about ``size``, which can be computed independently."""
        ...

    def chunk(self, rows: slice) -> TeacherChunk:
        """The distributions of ``rows``, one of :meth:`slices`."""
        ...


class TeacherChunk(TeacherRows, Protocol):
    """The teacher's distributions at some loss rows, computed. It can be split further."""

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        """The token losses ``[num_tokens]`` of ``term`` for student logits ``[num_tokens, vocab]``."""
        ...


def even_slices(num_rows: int, size: int) -> Iterator[slice]:
    """Slices of rows that are independent of each other."""
    return (slice(start, start + size) for start in range(0, num_rows, size))


@dataclass(frozen=True, slots=True)
class NoTeacher:
    """Rows without a teacher, for losses that need none."""

    num_rows: int

    def slices(self, size: int) -> Iterator[slice]:
        return even_slices(self.num_rows, size)

    def chunk(self, rows: slice) -> NoTeacher:
        return NoTeacher(len(range(*rows.indices(self.num_rows))))

    def divergence(self, term: Divergence, student_logits: Tensor) -> Tensor:
        raise AssertionError("the config refuses a divergence without a signal")
