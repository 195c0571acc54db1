"""Two tokenizations of one response, compared: which tokens pair up, and which outcomes are the same.

Teacher and student read the same prompt and response, each in its own chat template and tokens. Two ways to pair them:

**sorted_probability** (ULD, Boizard et al. 2024, arXiv 2402.12030) pairs the i-th response token with the i-th and
compares probabilities by rank, largest first. It needs nothing of the vocabularies, and knows nothing of meanings.

**byte_offset** cuts the response where a token ends on both sides. Between two such cuts lies a *span*, which is one
token on each side, or several on at least one (GOLD, Patiño et al. 2025, merges these too).

- In a span of one and the same token the whole distributions are compared, over the tokens that both vocabularies have
  (equal bytes; the stop token is the stop token). Every other token counts as its longest beginning that both have:
  the student's "12" as the "1" that the teacher writes digit by digit. What has none is one bucket for the rest. Each
  side is thus mapped onto the same outcomes, and a divergence stays one: zero at equality, never negative. Left in the
  rest, such tokens would be unlearnt: X-Token (arXiv 2605.21699) traces a loss of nearly all accuracy on GSM8K to that.
  The price is that nothing tells "There" from "The" where the teacher has only the latter: beside cross-entropy the
  text does, alone a student may write either (measured in recipes/cross-tokenizer).
- In a merged span the outcomes are two: to write exactly this span, or not. The span's probability is the product of
  its tokens' conditional probabilities. The distribution at its first token is not compared, as the two sides' next
  tokens differ even where both are sure of the text (GOLD scales that distribution by the product, and what it compares
  no longer sums to one).

A merged span's loss counts once, at its last token of the student's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import NamedTuple, cast

import numpy as np
from transformers import PreTrainedTokenizerBase

from cotdistill.config import Alignment, LossTurns, TeacherContext, TrainingTarget
from cotdistill.errors import ModelError
from cotdistill.models.tokens.framing import special_token_ids
from cotdistill.models.tokens.template import framed, stop_token_id
from cotdistill.models.tokens.token_bytes import spelled, token_bytes
from cotdistill.records import Rationale
from cotdistill.tasks.prompts import Target, lessons_of, response_of
from cotdistill.tasks.segments import Segment
from cotdistill.training.data.examples import Example, make_example

END = "the stop token"


@dataclass(frozen=True, slots=True)
class AlignedExample:
    """The teacher's tokens of a student's example. Spans are numbered from 0, in order, for both sides' loss tokens.

    ``paired`` says of each span whether it is one token on each side whose distributions can be compared.
    """

    teacher: Example
    student_spans: list[int]
    teacher_spans: list[int]
    paired: list[bool]


@dataclass(frozen=True, slots=True)
class SharedOutcomes:
    """The outcome that each token counts as, by token id; the last of ``num_outcomes`` is the rest."""

    student: list[int]
    teacher: list[int]
    num_outcomes: int


@dataclass(frozen=True, slots=True)
class Alignments:
    """Aligned examples by the key of the student's; ``outcomes`` is None if probabilities are compared by rank.

    ``teachers`` are the examples of the teacher's by :func:`prompt_of_both`, for samples of the same prompts.
    """

    examples: dict[str, AlignedExample]
    outcomes: SharedOutcomes | None
    teachers: dict[bytes, Example]


def prompt_of_both(example: Example) -> bytes:
    """What an example of the student's shares with all samples for its prompt: what student and teacher read."""
    known = example.arrays.teacher_prompt
    return np.asarray(example.prompt, np.int32).tobytes() + (b"" if known is None else b"/" + known.tobytes())


def align(
    rationales: Iterable[Rationale],
    student: PreTrainedTokenizerBase,
    teacher: PreTrainedTokenizerBase,
    alignment: Alignment,
    target: TrainingTarget = "rationale_then_answer",
    context: TeacherContext = "none",
    *,
    thinks: bool = False,
    loss_turns: LossTurns = "last",
) -> Alignments:
    """Pair the examples that :func:`make_example` makes of ``rationales`` with either tokenizer.

    By bytes, an example is dropped if a tokenizer changes its text (a normaliser, an unknown character). Raises
    ModelError for a tokenizer whose bytes are unknown.
    """
    lessons = lessons_of(rationales, target, loss_turns)
    by_bytes = alignment == "byte_offset"
    outcomes = shared_outcomes(student, teacher) if by_bytes else None
    pieces = (spelling(student), spelling(teacher)) if by_bytes else None
    found = Alignments({}, outcomes, {})
    for rationale, asked in lessons:
        ours, theirs = (_side(rationale, one, asked, context, thinks=thinks) for one in (student, teacher))
        found.teachers[prompt_of_both(ours.example)] = theirs.example
        if (aligned := aligned_pair(ours, theirs, pieces, outcomes)) is not None:
            found.examples[ours.example.key] = aligned
    return found


class Side(NamedTuple):
    """An example of one tokenizer, and its response with the marks of that tokenizer's template; a response that was
    cut has no stop token."""

    example: Example
    response: tuple[Segment, ...]
    finished: bool = True


def _side(
    rationale: Rationale,
    tokenizer: PreTrainedTokenizerBase,
    target: Target,
    context: TeacherContext,
    *,
    thinks: bool,
) -> Side:
    reasoning, visible, _ = response_of(rationale, target, thinks=thinks)
    example = make_example(rationale, tokenizer, target, context, thinks=thinks)
    return Side(example, framed(tokenizer, reasoning, visible))


def spelling(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes]:
    """The bytes of each token; a special one, which only marks hold, is its name."""
    special = sorted(special_token_ids(tokenizer))
    names = cast("list[str]", tokenizer.convert_ids_to_tokens(special))
    return {token_id: name.encode() for token_id, name in zip(special, names, strict=True)} | token_bytes(tokenizer)


def shared_outcomes(student: PreTrainedTokenizerBase, teacher: PreTrainedTokenizerBase) -> SharedOutcomes:
    """Map both vocabularies onto the pieces that both have; each other token onto its longest beginning among them.

    Raises ModelError if they share no bytes.
    """
    ours, theirs = _pieces(student), _pieces(teacher)
    common = set(ours.values()) & set(theirs.values())
    if not any(isinstance(piece, bytes) for piece in common):
        raise ModelError(
            f"teacher {teacher.name_or_path} and student {student.name_or_path} have no token in common",
            where="vocabulary",
            remedy="set alignment: sorted_probability, or choose another teacher",
        )
    numbers = {piece: number for number, piece in enumerate(dict.fromkeys(p for p in ours.values() if p in common))}
    return SharedOutcomes(_outcomes(ours, numbers), _outcomes(theirs, numbers), len(numbers) + 1)


def spans(student_ends: Sequence[int], teacher_ends: Sequence[int]) -> tuple[list[int], list[int]]:
    """The span of each token, from where tokens end in the text (bytes, in order, the last end common to both).

    A span ends wherever both have an end; tokens without text of their own belong to the span that they stand in.
    """
    cuts = sorted((set(student_ends) & set(teacher_ends)) - {0})
    return _span_numbers(student_ends, cuts), _span_numbers(teacher_ends, cuts)


def _span_numbers(ends: Sequence[int], cuts: Sequence[int]) -> list[int]:
    numbers, span = [], 0
    for end in ends:
        while cuts[span] < end:
            span += 1
        numbers.append(span)
    return numbers


def _by_order(ours: Example, theirs: Example) -> AlignedExample:
    """The i-th with the i-th; the rest of the longer side is paired with nothing."""
    sizes = ours.num_loss_tokens, theirs.num_loss_tokens
    paired = [index < min(sizes) for index in range(max(sizes))]
    return AlignedExample(theirs, list(range(sizes[0])), list(range(sizes[1])), paired)


def aligned_pair(
    ours: Side,
    theirs: Side,
    pieces: tuple[dict[int, bytes], dict[int, bytes]] | None,
    outcomes: SharedOutcomes | None,
) -> AlignedExample | None:
    """Both sides of one response, paired by order, or by bytes if there are ``pieces``; None if a tokenizer changes
    the text."""
    if pieces is None or outcomes is None:
        return _by_order(ours.example, theirs.example)
    ends = _ends(ours, pieces[0]), _ends(theirs, pieces[1])
    if not ends[0] or not ends[1] or not ends[0][-1]:
        return None
    student_spans, teacher_spans = spans(ends[0], ends[1])
    mapped = (
        _single_outcomes(ours.example, student_spans, outcomes.student),
        _single_outcomes(theirs.example, teacher_spans, outcomes.teacher),
    )
    paired = [one is not None and one == other for one, other in zip(*mapped, strict=True)]
    return AlignedExample(theirs.example, student_spans, teacher_spans, paired)


def _ends(side: Side, spelling: dict[int, bytes]) -> list[int] | None:
    """Where each response token ends in the text, in bytes; the stop token ends one byte after it.

    Marks are no part of the text that both sides share: their tokens end where what stands before them does.
    """
    tokens = side.example.loss_targets[: -1 if side.finished else None]
    if any(token not in spelling for token in tokens):
        return None
    written = spelled([spelling[token] for token in tokens], "".join(segment.text for segment in side.response))
    if written is None:
        return None
    sizes = [len(segment.text.encode()) for segment in side.response]
    starts = accumulate(sizes, initial=0)
    texts = [(s, s + n) for s, n, each in zip(starts, sizes, side.response, strict=False) if not each.mark]
    ends = [
        sum(min(place, end) - start for start, end in texts if start < place) for place in accumulate(map(len, written))
    ]
    return [*ends, sum(end - start for start, end in texts) + 1] if side.finished else ends


def _single_outcomes(example: Example, numbers: list[int], outcome_of: list[int]) -> list[int | None]:
    """The outcome of the one token of each span, or None if a span has several."""
    outcomes: list[int | None] = []
    for number, token in zip(numbers, example.loss_targets, strict=True):
        if number < len(outcomes):
            outcomes[number] = None
        else:
            outcomes.append(outcome_of[token])
    return outcomes


def _pieces(tokenizer: PreTrainedTokenizerBase) -> dict[int, bytes | str]:
    """What each token stands for, by id and in its order: bytes, the end, or the name of another special token."""
    special = {token_id: name for name, token_id in tokenizer.get_vocab().items()}
    pieces: dict[int, bytes | str] = special | token_bytes(tokenizer) | {stop_token_id(tokenizer): END}
    return dict(sorted(pieces.items()))


def _outcomes(pieces: dict[int, bytes | str], numbers: dict[bytes | str, int]) -> list[int]:
    rest = len(numbers)
    outcomes = [rest] * (max(pieces) + 1)
    for token_id, piece in pieces.items():
        beginnings = (piece[:end] for end in range(len(piece), 0, -1)) if isinstance(piece, bytes) else (piece,)
        outcomes[token_id] = next((numbers[part] for part in beginnings if part in numbers), rest)
    return outcomes
