"""From rationales to token examples: the one place where positions are shifted and regions are marked.

An example holds ``input_ids`` and, for each of them, the *next* token as its target with that target's region. Nothing
downstream shifts or masks again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase

from cotdistill.config import LossConfig, LossTurns, TeacherContext, TooLong, TrainingTarget
from cotdistill.errors import DataError
from cotdistill.models.tokens.template import encode_prompts, encode_responses, framed, stop_token_id
from cotdistill.rationales.cutting import cut
from cotdistill.records import Rationale
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.own_prompts import teachers_prompt
from cotdistill.tasks.prompts import Target, asked_of, lessons_of, prompt_of, response_of
from cotdistill.tasks.segments import REGIONS, Region
from cotdistill.training.data.lengths import Fate, Lengths

Ids = Sequence[int] | np.ndarray
"""Token ids in order."""

_IS_REASONED = np.isin(list(Region), (Region.REASONING, Region.RATIONALE))
"""By region: whether it is not the answer."""


class Arrays(NamedTuple):
    """The tokens of an example as int32 and its regions as uint8; they may be views into a file."""

    input_ids: np.ndarray
    targets: np.ndarray
    regions: np.ndarray
    teacher_prompt: np.ndarray | None


class Example:
    """``input_ids[i]`` predicts ``targets[i]``, which lies in ``regions[i]``; all three have the same length.

    ``teacher_prompt`` is the prompt of a teacher that knows more than the student; None if it is the same. What lies in
    ``arrays`` is made a list when it is asked for.
    """

    __slots__ = ("_key", "arrays", "id")

    def __init__(
        self,
        id: str,
        input_ids: Ids,
        targets: Ids,
        regions: Sequence[int] | np.ndarray,
        teacher_prompt: Ids | None = None,
        *,
        key: str | None = None,
    ):
        given = None if teacher_prompt is None else np.asarray(teacher_prompt, np.int32)
        tokens = np.asarray(input_ids, np.int32), np.asarray(targets, np.int32)
        self.id, self._key, self.arrays = id, key, Arrays(*tokens, np.asarray(regions, np.uint8), given)

    def __len__(self) -> int:
        return len(self.arrays.input_ids)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Example):
            return NotImplemented
        lists = [(one.input_ids, one.targets, one.regions, one.teacher_prompt) for one in (self, other)]
        return self.id == other.id and lists[0] == lists[1]

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @property
    def input_ids(self) -> list[int]:
        return self.arrays.input_ids.tolist()

    @property
    def targets(self) -> list[int]:
        return self.arrays.targets.tolist()

    @property
    def regions(self) -> list[Region]:
        return list(map(Region, self.arrays.regions.tolist()))

    @property
    def teacher_prompt(self) -> list[int] | None:
        return None if self.arrays.teacher_prompt is None else self.arrays.teacher_prompt.tolist()

    @property
    def key(self) -> str:
        """A hash of what a teacher's signal depends on: the tokens, and which of them carry loss."""
        if self._key is None:
            start = self.num_prompt_tokens - 1
            content: tuple[object, ...] = (self.input_ids, int(self.arrays.targets[-1]), start)
            if len(self) - start != self.num_loss_tokens:
                content += (self.arrays.regions.nonzero()[0].tolist(),)
            if self.arrays.teacher_prompt is not None:
                content += (self.teacher_prompt,)
            self._key = blake2b(repr(content).encode(), digest_size=16).hexdigest()
        return self._key

    @property
    def num_loss_tokens(self) -> int:
        return int(np.count_nonzero(self.arrays.regions))

    @property
    def loss_targets(self) -> list[int]:
        """The tokens that carry loss."""
        return self.arrays.targets[self.arrays.regions > 0].tolist()

    @property
    def num_prompt_tokens(self) -> int:
        """How many tokens come before the first that carries loss."""
        carries = self.arrays.regions > 0
        first = int(carries.argmax())
        return (first if carries[first] else len(self)) + 1

    @property
    def prompt(self) -> list[int]:
        return self.arrays.input_ids[: self.num_prompt_tokens].tolist()

    def of_teacher(self) -> Example:
        """The same response, with the same loss tokens, after the teacher's prompt."""
        _, targets, regions, prompt = self.arrays
        if prompt is None:
            return self
        start = self.num_prompt_tokens - 1
        return _behind(prompt, targets[start:], regions[start:], id=self.id)

    def with_response(self, response: Sequence[int], regions: Sequence[Region]) -> Example:
        """The same prompts, the student's and the teacher's, with another response (including its stop token)."""
        return _behind(self.prompt, response, regions, id=self.id, teacher_prompt=self.arrays.teacher_prompt)


def _behind(
    prompt: Ids, response: Ids, regions: Sequence[int] | np.ndarray, *, id: str, teacher_prompt: Ids | None = None
) -> Example:
    """The one place where positions are shifted; ``regions`` are those of the response."""
    token_ids = np.concatenate([np.asarray(prompt, np.int32), np.asarray(response, np.int32)])
    of_all = np.zeros(len(token_ids) - 1, np.uint8)
    of_all[len(prompt) - 1 :] = regions
    return Example(id, token_ids[:-1], token_ids[1:], of_all, teacher_prompt)


Lesson = tuple[Rationale, Target]
"""A rationale, and what a student is asked about its question."""

TOGETHER = 1024
"""Lessons that are tokenised together."""


def make_example(
    rationale: Rationale,
    tokenizer: PreTrainedTokenizerBase,
    target: Target | None = None,
    context: TeacherContext = "none",
    *,
    thinks: bool = False,
) -> Example:
    """Prompt, response and stop token of one rationale, tokenised as the evaluation will tokenise its prompt.

    ``target`` is what is asked for; by default the rationale and then the answer, or the answer if there is nothing
    else. ``context`` is what a teacher will know in addition. A student that ``thinks`` reasons between its template's
    marks.
    """
    target = target or asked_of(rationale, "rationale_then_answer")[0]
    return _encoded([(rationale, target)], tokenizer, context, thinks=thinks)[0]


def _encoded(
    lessons: Sequence[Lesson], tokenizer: PreTrainedTokenizerBase, context: TeacherContext, *, thinks: bool
) -> list[Example]:
    """The example of each lesson; a text has the same tokens whatever it is tokenised with."""
    stop = stop_token_id(tokenizer)
    prompts = encode_prompts(tokenizer, [prompt_of(one.question, asked) for one, asked in lessons])
    taught = [response_of(*lesson, thinks=thinks) for lesson in lessons]
    responses = encode_responses(tokenizer, [framed(tokenizer, reasoning, visible) for reasoning, visible, _ in taught])
    informed: Sequence[list[int] | None] = [None] * len(lessons)
    if context != "none":
        informed = encode_prompts(tokenizer, [teachers_prompt(*lesson, context) for lesson in lessons])
    return [
        _behind(prompt, [*ids, stop], [*regions, end], id=one.id, teacher_prompt=known)
        for (one, _), prompt, (*_, end), (ids, regions), known in zip(
            lessons, prompts, taught, responses, informed, strict=True
        )
    ]


def make_examples(
    rationales: Iterable[Rationale],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    too_long: TooLong,
    target: TrainingTarget = "rationale_then_answer",
    context: TeacherContext = "none",
    lengths: Lengths | None = None,
    thinks: bool = False,
    loss_turns: LossTurns = "last",
) -> tuple[list[Example], dict[str, int]]:
    """All of :func:`kept_examples`, and counts by reason of those that were dropped."""
    lengths = Lengths(max_length) if lengths is None else lengths
    kept = kept_examples(
        rationales,
        tokenizer,
        max_length=max_length,
        too_long=too_long,
        target=target,
        context=context,
        lengths=lengths,
        thinks=thinks,
        loss_turns=loss_turns,
    )
    return list(kept), lengths.dropped


def kept_examples(
    rationales: Iterable[Rationale],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    too_long: TooLong,
    target: TrainingTarget,
    context: TeacherContext,
    lengths: Lengths,
    thinks: bool,
    loss_turns: LossTurns = "last",
) -> Iterator[Example]:
    """Examples of at most ``max_length`` tokens, some hundreds of them made together.

    What is longer is dropped, or the first of it is an error, or its rationale is cut behind a whole sentence while the
    answer stays; what cannot be cut is dropped. ``lengths`` counts all of it. Raises DataError if nothing is left, or
    for the first example over the limit if ``too_long`` is ``error``.
    """
    lessons = lessons_of(rationales, target, loss_turns)
    fated = with_fates(lessons, tokenizer, max_length=max_length, too_long=too_long, context=context, thinks=thinks)
    num_kept = 0
    for whole, kept in fated:
        fate: Fate = "too_long" if kept is None else "whole" if kept is whole else "cut"
        lengths.add(len(whole) + 1, int(_IS_REASONED[whole.arrays.regions].sum()), fate)
        if kept is not None:
            num_kept += 1
            yield kept
    if not num_kept:
        num_too_long = lengths.fates["too_long"]
        problem = f"all {num_too_long} exceed training.max_length ({max_length})" if num_too_long else "there are none"
        raise DataError(f"no rationale to train on: {problem}", remedy="check the task, the teacher and the limits")


def with_fates(
    lessons: Iterator[Lesson],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    too_long: TooLong,
    context: TeacherContext,
    thinks: bool,
) -> Iterator[tuple[Example, Example | None]]:
    """Each lesson's example as it is, and as it is trained on: the same, cut, or None.

    Raises DataError for the first example over the limit if ``too_long`` is ``error``.
    """
    while together := list(islice(lessons, TOGETHER)):
        for lesson, whole in zip(together, _encoded(together, tokenizer, context, thinks=thinks), strict=True):
            if _fits(whole, max_length):
                yield whole, whole
            elif too_long == "error":
                raise _too_long(whole, max_length)
            elif too_long == "cut_reasoning":
                yield whole, _with_reasoning_cut(*lesson, whole, tokenizer, context, max_length, thinks)
            else:
                yield whole, None


def _fits(example: Example, max_length: int) -> bool:
    return len(example) + 1 <= max_length


def _too_long(example: Example, max_length: int) -> DataError:
    return DataError(
        f"{len(example) + 1} tokens of prompt and response exceed training.max_length ({max_length})",
        where=f"rationale {example.id}",
        remedy="raise training.max_length, or set training.too_long: drop or cut_reasoning",
    )


def _with_reasoning_cut(
    rationale: Rationale,
    target: Target,
    whole: Example,
    tokenizer: PreTrainedTokenizerBase,
    context: TeacherContext,
    max_length: int,
    thinks: bool,
) -> Example | None:
    """The example with as many whole sentences of its reasoning as fit, or else of its rationale; None if not even one
    does."""
    part = "reasoning" if rationale.reasoning else "rationale"
    text = clean_rationale(getattr(rationale, part) or "")
    ends = [end for _, end in tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]]
    room = max_length - (len(whole) + 1 - len(ends))
    while 0 < room < len(ends):
        beginning = cut(text, ends[room - 1])
        if beginning is None:
            return None
        example = make_example(replace(rationale, **{part: beginning}), tokenizer, target, context, thinks=thinks)
        if _fits(example, max_length):
            return example
        room -= len(example) + 1 - max_length  # a cut can change how its last characters become tokens
    return None


def refuse_unseen_regions(examples: Sequence[Example], losses: Iterable[LossConfig]) -> None:
    """Raise DataError for a loss on reasoning or on rationales where there is only the other."""
    for term in losses:
        if term.region in ("reasoning", "rationale"):
            other = "rationale" if term.region == "reasoning" else "reasoning"
            if not _any_in(examples, term.region) and _any_in(examples, other):
                raise DataError(
                    f"no token of the examples is in region {term.region}: what is taught before the answer is {other}",
                    where=f"training.loss, {term.kind}",
                    remedy=f"set region: {other}, or another training.response",
                )


def _any_in(examples: Sequence[Example], region: str) -> bool:
    return any(np.isin(example.arrays.regions, REGIONS[region]).any() for example in examples)
