"""How long the examples of cells will be, and how many are too long, before anything is trained.

From rationales that are on disk, or can be had without asking a teacher or running a function of the user's. A plan
takes ``SAMPLE`` of them and loads no torch; what a chat template adds is then guessed. Otherwise all are counted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import TypeVar

from cotdistill.annotation import collect_rationales, read_annotation
from cotdistill.annotation.annotate import without_leaks
from cotdistill.annotation.perturb import perturb
from cotdistill.config import AskedTeacher, CellConfig, Message, OwnQuestions, OwnTeacher, teachers_of
from cotdistill.errors import DataError, ModelError
from cotdistill.experiments.make import annotation_request, plan_rationales, with_first_models
from cotdistill.experiments.plan import Cell, Plan
from cotdistill.experiments.sizes import are_here
from cotdistill.experiments.work import Work
from cotdistill.models.tokens.counting import token_counter
from cotdistill.records import Rationale
from cotdistill.storage.hashes import content_key
from cotdistill.tasks.prompts import Target, lessons_of, prompt_of, response_of, response_text
from cotdistill.tasks.segments import Region
from cotdistill.training.data.lengths import Fate, Lengths

_Row = TypeVar("_Row")

SAMPLE = 200
TEMPLATE_TOKENS = 12
"""What a chat template adds to prompt and response, with the stop token."""


def lengths_of(cells: Iterable[Cell], plan: Plan, work: Work, *, exact: bool) -> dict[str, Lengths]:
    """The lengths of each arm's examples, as far as they can be known; arms with the same ones share them."""
    found: dict[str, Lengths] = {}
    known: dict[str, Lengths | None] = {}
    for cell in cells:
        training = cell.config.training
        if training is None or cell.arm in found:
            continue
        config = with_first_models(cell, plan)
        sections = (config.task, config.teacher, config.annotation, config.student)
        key = content_key([one.model_dump(mode="json") for one in sections])
        key += content_key([training.max_length, training.too_long, training.target, training.loss_turns])
        if key not in known:
            known[key] = _lengths(config, work, exact=exact)
        if (lengths := known[key]) is not None:
            found[cell.arm] = lengths
    return found


def _lengths(config: CellConfig, work: Work, *, exact: bool) -> Lengths | None:
    assert config.training is not None
    with contextlib.suppress(ModelError, DataError):  # said by the checks of a run, or by its cell
        rationales = _rationales(config, work, None if exact else SAMPLE)
        if rationales and exact:
            return _counted(config, rationales)
        if rationales:
            return _estimated(config, rationales)
    return None


def _rationales(config: CellConfig, work: Work, sample: int | None) -> Sequence[Rationale] | None:
    """The cell's rationales, at most ``sample`` of them; None if they are not known yet."""
    if not all(map(are_here, (config.task, *(config.evaluation.tasks or ())))):
        return None
    if sample is None or isinstance(config.task, OwnQuestions):
        planned = plan_rationales(config, work)
        if planned.finished:
            return _spread(read_annotation(planned.path).records, sample)
    asked = any(isinstance(each, AskedTeacher | OwnTeacher) for each in teachers_of(config.teacher))
    if asked or config.annotation.selection is not None:
        return None
    request = annotation_request(_smaller(config, sample), work)
    questions = without_leaks(request)[0] if sample is None else _spread(request.questions, sample)
    found = collect_rationales(questions, config.teacher, config.annotation, request.data_dir).records
    return perturb(found, config.annotation.perturbation) if config.annotation.perturbation else found


def _smaller(config: CellConfig, sample: int | None) -> CellConfig:
    """The cell with no more questions than needed, where these need not all be read."""
    if sample is None or isinstance(config.task, OwnQuestions):
        return config
    task = config.task.model_copy(update={"num_train": min(sample, config.task.num_train or sample)})
    return config.model_copy(update={"task": task})


def _spread(rows: Sequence[_Row], sample: int | None) -> Sequence[_Row]:
    """At most ``sample`` of the rows, at equal distances."""
    return rows if sample is None else rows[:: -(-len(rows) // sample) or 1]


def _counted(config: CellConfig, rationales: Sequence[Rationale]) -> Lengths:
    from cotdistill.training.data.store import student_examples

    assert config.training is not None
    lengths = Lengths.of(config.student, config.training)
    settings = config.training
    if settings.too_long == "error":
        settings = settings.model_copy(update={"too_long": "drop"})
    with contextlib.suppress(DataError):  # none fits, as the lengths say
        student_examples(config.student, rationales, settings, lengths)
    return lengths


def _estimated(config: CellConfig, rationales: Sequence[Rationale]) -> Lengths | None:
    count = token_counter(config.student)
    if count is None:
        return None
    assert config.training is not None
    lessons = list(lessons_of(rationales, config.training.target, config.training.loss_turns))
    prompts = count(["\n".join(_said(prompt_of(one.question, asked))) for one, asked in lessons])
    responses = count([response_text(one, asked) for one, asked in lessons])
    reasons = count([_reasons(one, asked) for one, asked in lessons])
    lengths = Lengths.of(config.student, config.training, sampled=len(rationales))
    for prompt, response, reasoning in zip(prompts, responses, reasons, strict=True):
        tokens = prompt + response + TEMPLATE_TOKENS
        fate: Fate = "whole" if tokens <= lengths.limit else "too_long"
        if fate == "too_long" and config.training.too_long == "cut_reasoning" and tokens - reasoning < lengths.limit:
            fate = "cut"
        lengths.add(tokens, reasoning, fate)
    return lengths


def _said(prompt: str | tuple[Message, ...]) -> list[str]:
    return [prompt] if isinstance(prompt, str) else [message.content for message in prompt]


def _reasons(rationale: Rationale, asked: Target) -> str:
    segments = response_of(rationale, asked).visible
    return "".join(each.text for each in segments if each.region in (Region.REASONING, Region.RATIONALE))


def lines(found: dict[str, Lengths]) -> list[str]:
    """What is too long in words, one line for arms that share it."""
    named: dict[int, list[str]] = {}
    for arm, lengths in found.items():
        named.setdefault(id(lengths), []).append(arm)
    shown = [(", ".join(names), found[names[0]]) for names in named.values()]
    return [f"lengths of {names}: {_in_words(lengths)}" for names, lengths in shown]


def _in_words(lengths: Lengths) -> str:
    about = "" if lengths.sampled is None else f", estimated from {lengths.sampled} rationales"
    fit = f"all examples fit into {lengths.limit:,} tokens (the longest has {max(lengths.tokens):,}{about})"
    return lengths.line() or fit
