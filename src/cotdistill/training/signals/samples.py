"""A student's samples, aligned with the tokens of a teacher that has others: their text is tokenised for the teacher.

What a student writes need not be text: a sample may end within a character, or hold special tokens. It is then cut
before the first token that the teacher cannot read, and trained on without its end; one of which nothing is left is
left out. Thinking marks of the student's template become those of the teacher's.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple, cast

from transformers import PreTrainedTokenizerBase

from cotdistill.models.tokens.framing import framing, special_token_ids
from cotdistill.models.tokens.template import decode, encode_response, framed, stop_token_id
from cotdistill.tasks.segments import Region, Segment
from cotdistill.training.data.examples import Example
from cotdistill.training.signals.alignment import (
    AlignedExample,
    Alignments,
    Side,
    aligned_pair,
    prompt_of_both,
    spelling,
)


class SampleAligner:
    """Aligns samples for prompts that are aligned already."""

    def __init__(self, student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase, alignments: Alignments):
        self._student, self._teacher, self._alignments = student, teacher, alignments
        by_bytes = alignments.outcomes is not None
        self._pieces = (spelling(student), spelling(teacher)) if by_bytes else None
        self._stops = stop_token_id(student), stop_token_id(teacher)
        self._marks = _Marks.of(student)
        self._special = special_token_ids(student)

    def align(self, sample: Example) -> tuple[Example, AlignedExample] | None:
        """The sample as far as both can read it, and its alignment; None if that is nothing."""
        finished = sample.loss_targets[-1] == self._stops[0]
        ids = sample.loss_targets[: -1 if finished else None]
        number, text = self._readable(ids)
        finished = finished and number == len(ids)
        regions = sample.regions[sample.num_prompt_tokens - 1 :]
        if not number:
            return None
        cut = sample if finished or number == len(ids) else sample.with_response(ids[:number], regions[:number])
        ours, reasoning, visible = self._marks.parts(text)
        if visible is not None:
            theirs = framed(self._teacher, reasoning, [Segment(visible, Region.RATIONALE)])
        else:
            theirs = framed(self._teacher, reasoning, [])[:2] if reasoning else ()
        response, of_teacher = encode_response(self._teacher, theirs)
        if finished:
            response, of_teacher = [*response, self._stops[1]], [*of_teacher, Region.END]
        if not response:
            return None
        teacher = self._alignments.teachers[prompt_of_both(sample)].with_response(response, of_teacher)
        aligned = aligned_pair(
            Side(cut, ours, finished), Side(teacher, theirs, finished), self._pieces, self._alignments.outcomes
        )
        return None if aligned is None else (cut, aligned)

    def _readable(self, ids: Sequence[int]) -> tuple[int, str]:
        """How many of the first tokens are text, and that text with the names of marks."""
        if self._pieces is None:
            return len(ids), cast("str", self._student.decode(list(ids), skip_special_tokens=False))
        pieces = self._pieces[0]
        strange = (n for n, token_id in enumerate(ids) if token_id not in pieces or self._is_foreign(token_id))
        written = [pieces[token_id] for token_id in ids[: next(strange, len(ids))]]
        data = b"".join(written)
        try:
            valid = len(data)
            data.decode()
        except UnicodeDecodeError as error:
            valid = error.start
        characters = {*accumulate(len(character.encode()) for character in data[:valid].decode())}
        ends = list(accumulate(map(len, written)))
        number = max((n for n, end in enumerate(ends, 1) if end in characters), default=0)
        text = data[: ends[number - 1] if number else 0].decode()
        if text.startswith(" ") and not decode(self._student, ids[:number]).startswith(" "):
            text = text[1:]  # SentencePiece puts it before a text
        return number, text

    def _is_foreign(self, token_id: int) -> bool:
        """Whether a token is special and no part of a mark."""
        assert self._pieces is not None
        return token_id in self._special and self._pieces[0][token_id].decode() not in self._marks.names


class _Marks(NamedTuple):
    """What a template writes around a thought; ``closing`` is "" where it can have none."""

    opening: str
    closing: str

    @classmethod
    def of(cls, tokenizer: PreTrainedTokenizerBase) -> _Marks:
        frame = framing(tokenizer)
        if frame.opening is None or frame.closing is None:
            return cls("", "")
        return cls("" if frame.prefilled else frame.opening.strip(), frame.closing.strip())

    @property
    def names(self) -> str:
        return f"{self.opening} {self.closing}"

    def parts(self, text: str) -> tuple[tuple[Segment, ...], str, str | None]:
        """A sample's text with its marks marked, its thought, and what it says; None if the thought does not
        end."""
        opened = re.match(rf"\s*{re.escape(self.opening)}\s*", text) if self.closing else None
        if opened is None:
            return (Segment(text, Region.RATIONALE),), "", text
        before = Segment(opened[0], Region.REASONING, mark=True)
        closed = re.compile(rf"\s*{re.escape(self.closing)}\s*").search(text, opened.end())
        if closed is None:
            thought = text[opened.end() :]
            return (before, Segment(thought, Region.REASONING)), thought, None
        thought, visible = text[opened.end() : closed.start()], text[closed.end() :]
        after = Segment(closed[0], Region.REASONING, mark=True)
        said = Segment(visible, Region.RATIONALE)
        return (before, Segment(thought, Region.REASONING), after, said), thought, visible
