"""Evidence made up for tests: outcomes drawn by seed, so that what is expected can be computed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from cotdistill.evaluation.statistics.comparisons import ComparisonResult, compare, holm
from cotdistill.records import Prediction, Question, Verdict
from cotdistill.reports import Arm, Cell, Evidence, Untested
from cotdistill.reports.evidence import Curve, Example, Examples
from cotdistill.reports.result import score_of_seeds

_WORDS = ("apples", "pears", "bags", "boxes", "each", "then", "adds", "takes", "three", "four", "seven", "more")


def questions(num_items: int, tasks: Sequence[str] = ("svamp",)) -> list[Question]:
    draw = random.Random(0)
    return [
        Question(f"item-{i}", tasks[i % len(tasks)], "test", " ".join(draw.choices(_WORDS, k=40)), str(i), "number")
        for i in range(num_items)
    ]


def predictions(asked: Sequence[Question], accuracy: float, seed: int, num_words: int = 60) -> list[Prediction]:
    """Right with probability ``accuracy``; else wrong, unreadable or truncated."""
    draw = random.Random(seed)
    made = []
    for question in asked:
        verdict: Verdict = "correct" if draw.random() < accuracy else draw.choice(("wrong", "unreadable", "truncated"))
        stated = question.answer if verdict == "correct" else str(draw.randrange(1000))
        output = f"{' '.join(draw.choices(_WORDS, k=num_words))} The answer is {stated}."
        extracted = stated if verdict in ("correct", "wrong") else None
        made.append(Prediction(question.id, question.task, question.answer, output, extracted, verdict, 50, num_words))
    return made


def arm(asked: Sequence[Question], accuracy: float, *, seeds: Sequence[int] = (0,), base: str | None = None, **factors):
    cells = []
    for seed in seeds:
        curve = Curve("cross entropy all", range(1, 51), [3.0 / step + 0.1 * seed for step in range(1, 51)])
        cells.append(Cell(seed, predictions(asked, accuracy, seed + 7), asked, curve if base else None))
    level = factors.get("granularity") or 0
    extras = {"training_tokens": 10_000 * (1 + level), "rationale_words": 12.0 * level} if base else {}
    lengths = {"limit": 512, "longest": 900, "whole": 90, "cut": 3, "too_long": 1}
    lengths |= {"tokens": {"64": 40 + level, "90": 50, "724": 4 - level}, "reasoning": {"32": 94}}
    scored = score_of_seeds([cell.predictions for cell in cells])
    return Arm(
        scored, extras, factors, base, cells, lengths if base else None, {"disagrees": 5 + level} if base else {}
    )


def compared(arms: dict[str, Arm], *pairs: tuple[str, str]) -> list[ComparisonResult]:
    return holm(
        [
            compare(arms[a].cells[0].predictions, arms[b].cells[0].predictions, names=(a, b), num_resamples=1000)
            for a, b in pairs
        ]
    )


def study(num_items: int = 60, seeds: Sequence[int] = (0, 1)) -> Evidence:
    """Two students, three levels, answers alone and the untrained students, on three tasks."""
    asked = questions(num_items, ("svamp", "openbookqa", "bbh/navigate"))
    arms = {}
    for student, strength in (("small", 0.1), ("large", 0.3)):
        arms[f"{student} base"] = arm(asked, strength, student=student)
        for level in (1, 3, 6):
            accuracy = strength + 0.1 * level - 0.012 * level**2
            factors = {"student": student, "teacher": "gpt-4o", "granularity": level, "format": "cot"}
            arms[f"{student} level {level}"] = arm(asked, accuracy, seeds=seeds, base=f"{student} base", **factors)
        factors = {"student": student, "teacher": "answer_only", "granularity": None, "format": None}
        arms[f"{student} answers"] = arm(asked, strength + 0.05, seeds=seeds, base=f"{student} base", **factors)
    pairs = compared(arms, ("large level 3", "large answers"), ("small level 3", "small answers"))
    return Evidence("granularity", "How fine should rationales be, for each student?", arms, pairs, 4000.0)


def many(num_arms: int) -> Evidence:
    """So many arms, whose long names share most of their words, beside the untrained student; on nine tasks."""
    tasks = tuple(f"bbh/a_task_with_a_long_name_{number}" for number in range(9))
    asked = questions(45, tasks)
    arms = {"base": arm(asked, 0.1, student="a/student")}
    losses = ("cross-entropy-alone", "cross-entropy-and-a-divergence")
    for number in range(num_arms - 1):
        rate, level, loss = 10.0 ** -(3 + number // 10), 1 + number % 5, losses[number // 5 % 2]
        name = f"distilled-from-a-large-teacher-with-{loss} granularity={level} format=cot learning_rate={rate:g}"
        factors = {"student": "a/student", "teacher": "a/teacher", "granularity": level, "format": "cot"}
        made = arm(asked, 0.2 + 0.01 * number, base="base", **factors)
        extras = {**made.extras, "output_tokens": 50 + number}
        arms[name] = replace(made, extras=extras, settings={"training.learning_rate": rate}, token_limit=60)
    first, last = list(arms)[1], list(arms)[-1]
    setup = [("students", "a/student"), ("teachers", "a/teacher (granularity 1 | 2 | 3 | 4 | 5, format cot)")]
    taught = [Examples([first, last], [Example(asked[0].question, "They add three and four.", "7")], 90)]
    pairs = compared(arms, (last, "base"), (last, first)) if first != last else compared(arms, (last, "base"))
    untested = [Untested(first, "base", "no seed for which both arms are done")]
    return Evidence("many", "Which is best?", arms, pairs, 60.0, (), untested, setup=setup, examples=taught)
