"""Questions of all kinds, in splits that are disjoint by construction, and the rationales that belong to them.

A hash of a question's text decides which split it may be in, so no seed, size or order of kinds can put one text into
two splits. Every problem follows from a seed of its own, kept in the question's ``meta``.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from random import Random

from cotdistill.config import PROCEDURAL_KINDS, ProceduralTask
from cotdistill.errors import ConfigError, DataError, nearest
from cotdistill.records import Format, Question
from cotdistill.tasks.procedural.boolean_expressions import BooleanExpression
from cotdistill.tasks.procedural.date_understanding import DateUnderstanding
from cotdistill.tasks.procedural.dyck_languages import DyckLanguage
from cotdistill.tasks.procedural.logical_deduction import LogicalDeduction
from cotdistill.tasks.procedural.multistep_arithmetic import MultistepArithmetic
from cotdistill.tasks.procedural.navigate import Navigate
from cotdistill.tasks.procedural.object_counting import ObjectCounting
from cotdistill.tasks.procedural.problem import Problem
from cotdistill.tasks.procedural.rendering import check_written, render
from cotdistill.tasks.procedural.tracking_shuffled_objects import TrackingShuffledObjects
from cotdistill.tasks.procedural.web_of_lies import WebOfLies
from cotdistill.tasks.procedural.word_sorting import WordSorting

PROBLEMS: dict[str, type[Problem]] = {
    "boolean_expressions": BooleanExpression,
    "date_understanding": DateUnderstanding,
    "dyck_languages": DyckLanguage,
    "logical_deduction": LogicalDeduction,
    "multistep_arithmetic": MultistepArithmetic,
    "navigate": Navigate,
    "object_counting": ObjectCounting,
    "tracking_shuffled_objects": TrackingShuffledObjects,
    "web_of_lies": WebOfLies,
    "word_sorting": WordSorting,
}

SPLIT_BUCKETS = {"test": range(2), "train": range(2, 8), "pretrain": range(8, 16)}
"""The sixteenths of all question texts that belong to each split; ``pretrain`` is for the built-in models."""

BALANCED_ANSWERS = {"yes_no": ("Yes", "No"), "true_false": ("True", "False")}
"""Two-valued answers take turns, so that guessing is right in half of the cases at every size of a split."""

MAX_MISSES = 3000
"""So many draws in a row without a new question mean that a split is exhausted: one more would be rarer than that."""


def generate(config: ProceduralTask) -> tuple[list[Question], list[Question]]:
    """The task's training and test questions, the kinds taking turns.

    Raises ConfigError where a kind has too few different questions at this difficulty.
    """
    return (
        generate_split(config, "train", config.num_train, config.seed),
        generate_split(config, "test", config.num_test, config.seed),
    )


def generate_split(config: ProceduralTask, split: str, count: int, seed: int) -> list[Question]:
    """``count`` questions over all of the config's kinds for ``split`` (train, test or pretrain), kinds taking turns.

    A larger count only adds questions; the order of ``config.kinds`` does not matter. Raises ConfigError for an unknown
    split and where a kind has too few different questions at this difficulty.
    """
    if split not in SPLIT_BUCKETS:
        raise ConfigError(f"unknown split {split!r}", remedy=nearest(split, SPLIT_BUCKETS))
    kinds = [kind for kind in PROCEDURAL_KINDS if kind in config.kinds]
    counts = [count // len(kinds) + (index < count % len(kinds)) for index in range(len(kinds))]
    columns = [
        _generate_kind(kind, config.difficulty, split, kind_count, seed)
        for kind, kind_count in zip(kinds, counts, strict=True)
    ]
    return [columns[index % len(kinds)][index // len(kinds)] for index in range(count)]


def write_rationale(question: Question, granularity: int | None, format: Format) -> str:
    """The solver's correct rationale, without the closing statement of the answer; its last line ends in the answer.

    ``granularity`` is 1 (coarse) to 6 (fine), ``format`` one of cot, least_to_most, rar, symbolic. Raises ConfigError
    for others, DataError for a question that :func:`generate` of this version did not make.
    """
    level = check_written(granularity, format)
    return render(_rebuilt(question).solve(), level, format)


def _generate_kind(kind: str, difficulty: int, split: str, count: int, seed: int) -> list[Question]:
    """Questions of one kind: the first ``count`` different ones of a sequence of seeds that fall into the split."""
    problem_class = PROBLEMS[kind]
    buckets = SPLIT_BUCKETS[split]
    answers = BALANCED_ANSWERS.get(problem_class.answer_type)
    seen: set[int] = set()
    questions: list[Question] = []
    misses = 0
    for problem_seed in _problem_seeds(f"{kind}/{difficulty}/{split}/{seed}"):
        if len(questions) == count:
            break
        if misses == MAX_MISSES:
            raise _too_few(kind, difficulty, split, found=len(questions), wanted=count)
        problem = problem_class.draw(Random(problem_seed), difficulty)
        text = problem.question()
        digest = _digest(text)
        if digest % 16 not in buckets or digest in seen:
            misses += 1
            continue
        answer = problem.answer()
        if answers and answer != answers[len(questions) % 2]:
            misses += 1
            continue
        misses = 0
        seen.add(digest)
        questions.append(
            Question(
                id=f"procedural-{kind}-{split}-{len(questions):05d}",
                task=f"procedural/{kind}",
                split=split,
                question=text,
                answer=answer,
                answer_type=problem.answer_type,
                choices=problem.choices(),
                meta={"seed": problem_seed, "difficulty": difficulty},
            )
        )
    return questions


def _problem_seeds(stream: str) -> Iterator[int]:
    """An endless sequence of seeds for a name; 48 bits, so that every JSON reader keeps them exact."""
    seeds = Random(_digest(stream))
    while True:
        yield seeds.getrandbits(48)


def _digest(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


def _too_few(kind: str, difficulty: int, split: str, *, found: int, wanted: int) -> ConfigError:
    return ConfigError(
        f"{kind} at difficulty {difficulty} has too few different questions for split {split}: "
        f"{found} found, {wanted} wanted",
        where="procedural task",
        remedy=f"ask for at most {found} of each kind, raise the difficulty, or leave this kind out",
    )


def _rebuilt(question: Question) -> Problem:
    problem_class = PROBLEMS.get(question.task.removeprefix("procedural/"))
    seed, difficulty = question.meta.get("seed"), question.meta.get("difficulty")
    if problem_class is None or not isinstance(seed, int) or difficulty not in (1, 2, 3, 4):
        raise DataError(
            f"task {question.task!r} has no solver, or meta lacks seed and difficulty",
            where=question.id,
            remedy="the procedural teacher writes rationales for questions of the procedural task only",
        )
    problem = problem_class.draw(Random(seed), difficulty)
    if problem.question() != question.question:
        raise DataError(
            "the seed in meta gives another question: it was edited, or made by another version",
            where=question.id,
            remedy="generate the questions again",
        )
    return problem
