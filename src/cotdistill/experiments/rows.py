"""One question as an arm's student is taught it, token by token, made by the functions that training uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from cotdistill.annotation import collect_rationales, plan, read_annotation
from cotdistill.annotation.annotate import without_leaks
from cotdistill.annotation.compress import compress
from cotdistill.annotation.perturb import perturb
from cotdistill.config import (
    AskedTeacher,
    CellConfig,
    KeepFirst,
    ModelConfig,
    TrainingConfig,
    teachers_of,
)
from cotdistill.errors import ConfigError, nearest
from cotdistill.experiments.make import annotation_request, prompt_target, with_first_models
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.work import Work
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.models.tokens.template import encode_prompt
from cotdistill.models.tokens.thinking import settle
from cotdistill.records import Question, Rationale
from cotdistill.tasks.prompts import Target, asked_of, lessons_of, prompt_of
from cotdistill.tasks.segments import Region
from cotdistill.training.data.examples import Example, with_fates
from cotdistill.training.data.lengths import Fate, length_limit
from cotdistill.training.data.store import token_settings
from cotdistill.training.losses.weights import token_weights

NOT_ASKED = "its teacher has not been asked yet; cotdistill annotate asks it"


@dataclass(frozen=True, slots=True)
class Token:
    """A token as a text, its region, and its weight in each term of the loss."""

    id: int
    text: str
    region: str
    weights: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Taught:
    """One example: its tokens as they are trained on or, of what is dropped, as they would be.

    ``length`` counts prompt and response before any cut; ``teacher_reads`` is the prompt of a signal's model that knows
    more than the student.
    """

    asked: Target
    tokens: tuple[Token, ...]
    fate: Fate
    length: int
    limit: int
    teacher_reads: tuple[Token, ...] | None


@dataclass(frozen=True, slots=True)
class Row:
    """A question in an arm. ``number`` is its place, from 1, among the questions to train on and then those to test on.

    ``left_out`` says why it is not trained on. ``teachers`` are the prompts of those that are asked. Of a question to
    test on, ``tested`` is what the student is asked.
    """

    arm: str
    student: str
    number: int
    total: int
    split: str
    id: str
    answer: str
    answer_type: str
    teacher: str | None = None
    left_out: str | None = None
    teachers: dict[str, str] = field(default_factory=dict)
    taught: tuple[Taught, ...] = ()
    tested: tuple[Token, ...] | None = None
    terms: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        return asdict(self)


def read_row(cell: Cell, planned: Plan, work: Work, chosen: str | None = None) -> Row:
    """The row that ``chosen`` names by its id or number; by default the first that the cell uses.

    Raises ConfigError for one that is not there, and what the checks of a run raise.
    """
    config = with_first_models(cell, planned)
    train, test = _questions(config, work)
    number = _place(chosen, [*train, *test], first=len(train) if config.training is None else 0)
    question = [*train, *test][number]
    of = (cell.arm, config.student.model, number + 1, len(train) + len(test))
    row = Row(*of, question.split, question.id, question.answer, question.answer_type)
    tokenizer = load_tokenizer(config.student)
    if number >= len(train) or config.training is None:
        return replace(row, tested=_tested(config, question, tokenizer))
    found, left_out = _rationale(config, question, work)
    taught = tuple(_taught(config.student, config.training, found, tokenizer)) if found else ()
    terms = tuple(term.kind for term in config.training.loss)
    row = replace(row, teacher=config.teacher.kind)
    return replace(row, left_out=left_out, teachers=_asked(config, question, work), taught=taught, terms=terms)


def _questions(config: CellConfig, work: Work) -> tuple[Sequence[Question], Sequence[Question]]:
    tested = config.evaluation.tasks or (config.task,)
    return work.load(config.task).train, [question for task in tested for question in work.load(task).test]


def _place(chosen: str | None, questions: Sequence[Question], *, first: int) -> int:
    if chosen is None:
        return first
    ids = {question.id: place for place, question in reversed(list(enumerate(questions)))}
    if chosen in ids:
        return ids[chosen]
    if chosen.isdecimal() and 1 <= int(chosen) <= len(questions):
        return int(chosen) - 1
    remedy = f"give a number from 1 to {len(questions)}, or an id"
    if not chosen.isdecimal() and (near := nearest(chosen, ids)).startswith("did"):
        remedy = near
    raise ConfigError(f"there is no row {chosen!r}", where="--row", remedy=remedy)


def _rationale(config: CellConfig, question: Question, work: Work) -> tuple[Rationale | None, str | None]:
    """What is taught about a question, as far as it is known, and why nothing is."""
    request, annotation = annotation_request(config, work), config.annotation
    planned = plan(request, work.runs)
    if planned.finished:
        stored = read_annotation(planned.path)
        return _found(question, stored.records, stored.left_out)
    clean, leaked, _ = without_leaks(request)
    if any(one.id == question.id for one in leaked):
        return _found(question, (), leaked)
    rewritten = annotation.compress is not None and not isinstance(annotation.compress, KeepFirst)
    if rewritten or any(isinstance(each, AskedTeacher) for each in teachers_of(config.teacher)):
        return None, NOT_ASKED
    if annotation.selection is not None:
        return None, "its granularity is not chosen yet; cotdistill annotate does so"
    asked = clean if annotation.perturbation else [question]  # a perturbation may need the others
    made = collect_rationales(asked, config.teacher, annotation, request.data_dir)
    kept = compress(made.records, annotation.compress, work.runs)[0] if annotation.compress else made.records
    kept = perturb(kept, annotation.perturbation) if annotation.perturbation else kept
    return _found(question, kept, made.left_out)


def _found(
    question: Question, records: Sequence[Rationale], left_out: Sequence[Any]
) -> tuple[Rationale | None, str | None]:
    for rationale in records:
        if rationale.question.id == question.id:
            return rationale, None
    why = next((one for one in left_out if one.id == question.id), None)
    if why is None:
        return None, "its rationale is over the budget of words, or was not chosen"
    return None, why.reason.replace("_", " ") + (f" ({why.evidence})" if why.evidence else "")


def _asked(config: CellConfig, question: Question, work: Work) -> dict[str, str]:
    return plan(replace(annotation_request(config, work), questions=[question], evaluation=()), work.runs).prompts


def _tested(config: CellConfig, question: Question, tokenizer: PreTrainedTokenizerBase) -> tuple[Token, ...]:
    """What the student is asked in the test. Raises ConfigError for few-shot prompts, which are built of all rows."""
    if config.evaluation.few_shot:
        raise ConfigError(
            "few-shot prompts cannot be shown", where="evaluation.few_shot", remedy="choose --row to train"
        )
    target = prompt_target(config.evaluation, None)
    if config.training is not None and config.evaluation.prompt == "auto":
        told = None if config.teacher.kind == "answer_only" else "told"
        (target, *_) = asked_of(Rationale(question, told, "", None, "cot"), config.training.target)
        settle(tokenizer, config.training.response)
    return _prompt(encode_prompt(tokenizer, prompt_of(question, target)), tokenizer)


def _taught(
    student: ModelConfig, training: TrainingConfig, rationale: Rationale, tokenizer: PreTrainedTokenizerBase
) -> Iterator[Taught]:
    settings, limit = token_settings(training, tokenizer), length_limit(student, training)
    lessons = list(lessons_of([rationale], settings.pop("target"), settings.pop("loss_turns")))
    too_long = "cut_reasoning" if settings.pop("too_long") == "cut_reasoning" else "drop"
    fated = with_fates(iter(lessons), tokenizer, max_length=limit, too_long=too_long, **settings)
    for (_, asked), (whole, kept) in zip(lessons, fated, strict=True):
        fate: Fate = "too_long" if kept is None else "whole" if kept is whole else "cut"
        shown = whole if kept is None else kept
        reads = None if shown.teacher_prompt is None else _prompt(shown.teacher_prompt, tokenizer)
        yield Taught(asked, _tokens(shown, training, tokenizer), fate, len(whole) + 1, limit, reads)


def _tokens(example: Example, training: TrainingConfig, tokenizer: PreTrainedTokenizerBase) -> tuple[Token, ...]:
    """All tokens, the first of which no token predicts."""
    regions = torch.tensor(example.arrays.regions, dtype=torch.long)
    of_terms = token_weights(training.loss, regions, torch.zeros_like(regions))
    scale = torch.tensor([[term.weight] for term in training.loss])
    weights = [(0.0,) * len(training.loss), *map(tuple, (of_terms * scale).T.tolist())]
    ids = [example.input_ids[0], *example.targets]
    names = [region.name.lower() for region in (Region.PROMPT, *example.regions)]
    return tuple(map(Token, ids, _texts(tokenizer, ids), names, weights))


def _prompt(ids: Sequence[int], tokenizer: PreTrainedTokenizerBase) -> tuple[Token, ...]:
    return tuple(Token(id, text, "prompt") for id, text in zip(ids, _texts(tokenizer, ids), strict=True))


def _texts(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[str]:
    """Each token as it reads; one that is only a part of a character by its name in the vocabulary."""
    texts = [str(tokenizer.decode([id], clean_up_tokenization_spaces=False)) for id in ids]
    names = map(str, tokenizer.convert_ids_to_tokens(list(ids)))
    return [name if "\ufffd" in text or not text else text for text, name in zip(texts, names, strict=True)]
