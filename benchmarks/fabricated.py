"""A finished experiment of many cells, made up: for what reading and choosing cost, not for what is in it."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

from cotdistill.config import load_experiment
from cotdistill.evaluation.read import QUESTIONS
from cotdistill.evaluation.stored import write_predictions
from cotdistill.experiments.plan import Cell, plan
from cotdistill.experiments.result import cell_path
from cotdistill.records import Prediction, Question, Rationale
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.jsonl import write_rows
from cotdistill.storage.stages import Stage

NUM_SEEDS = 5
NUM_TASKS = 27
"""Of BBH, which has 6,511 questions."""
NUM_WORDS = 310
"""Of an output, which then takes 1.7 KB."""
NUM_TEXTS = 2000
"""Different outputs, before each cell writes its own number into them."""
EXPERIMENT = """
task: procedural
teacher: procedural
student: builtin:nano-student
training: {epochs: 1}
arms: {taught: {}}
grid: {training.learning_rate: RATES, seed: SEEDS}
comparisons: [COMPARISONS]
"""


def experiment(num_cells: int, folder: Path) -> Path:
    """The file of an experiment of about so many cells: arms of five seeds, and the untrained student."""
    rates = [round(1e-6 * (number + 1), 9) for number in range(max(2, num_cells // NUM_SEEDS))]
    pairs = [(rates[number], rates[number + 1]) for number in range(min(20, len(rates) - 1))]
    sides = "{{a: {{training.learning_rate: {}}}, b: {{training.learning_rate: {}}}}}"
    text = EXPERIMENT.replace("RATES", str(rates)).replace("SEEDS", str(list(range(NUM_SEEDS))))
    file = folder / "many.yaml"
    file.write_text(text.replace("COMPARISONS", ", ".join(sides.format(*pair) for pair in pairs)), encoding="utf-8")
    return file


def finished(file: Path, runs: Path, num_questions: int) -> list[Cell]:
    """Write all stages of the experiment's cells as if they were done; returns the cells."""
    told = load_experiment(file)
    cells = list(plan(told).distinct)
    draw = random.Random(0)
    questions = list(_questions(num_questions, draw))
    texts = [" ".join(draw.choices(WORDS, k=NUM_WORDS)) for _ in range(NUM_TEXTS)]
    training, annotation = _training(runs / "training" / "made"), _annotation(runs / "annotation" / "made", questions)
    for number, cell in enumerate(cells):
        stages = {"evaluation": _evaluation(runs / "evaluation" / f"e{number}", questions, texts, number)}
        if not cell.untrained:
            stages = {"annotation": annotation, "training": _linked(training, f"t{number}")} | stages
        places = {noun: os.path.relpath(folder, runs) for noun, folder in stages.items()}
        state = {"status": "done", "error": None, "stages": places, "seconds": 1.0, "asked": list(places.values())}
        write_json_atomically(cell_path(cell, runs / told.name), state)
    return cells


def _questions(number: int, draw: random.Random) -> Iterator[Question]:
    for place in range(number):
        task = f"bbh/task_{place % NUM_TASKS:02d}"
        text = " ".join(draw.choices(WORDS, k=60))
        yield Question(f"q{place}", task, "test", text, str(place % 10), "number")


def _evaluation(folder: Path, questions: list[Question], texts: list[str], number: int) -> Path:
    draw, accuracy = random.Random(number), 0.3 + 0.4 * (number // NUM_SEEDS % 7) / 7
    predictions = [
        _prediction(question, draw.random() < accuracy, f"{number}: {draw.choice(texts)}") for question in questions
    ]
    folder.mkdir(parents=True)
    write_rows(folder / QUESTIONS, (question.to_row() for question in questions))
    write_predictions(folder, predictions)
    return _done("evaluation", folder)


def _prediction(question: Question, correct: bool, text: str) -> Prediction:
    stated, verdict = (question.answer, "correct") if correct else ("99", "wrong")
    output = f"{text} The answer is {stated}."
    return Prediction(question.id, question.task, question.answer, output, stated, verdict, 100, 2 * NUM_WORDS)


def _training(folder: Path) -> Path:
    folder.mkdir(parents=True)
    steps = (
        {"step": n, "loss": 1 / n, "terms": {"0_cross_entropy_all": 1 / n}, "learning_rate": 1e-5, "grad_norm": 1.0}
        for n in range(1, 301)
    )
    write_rows(folder / "metrics.jsonl", steps)
    return _done("training", folder, num_tokens=99, seconds=1.0)


def _annotation(folder: Path, questions: list[Question]) -> Path:
    folder.mkdir(parents=True)
    rationales = [Rationale(one, one.question, "procedural", 3, "cot") for one in questions[:200]]
    write_rows(folder / "rationales.jsonl", (one.to_row() for one in rationales))
    write_rows(folder / "dropped.jsonl", [])
    return _done("annotation", folder, rationales=len(rationales))


def _done(noun: str, folder: Path, **summary: object) -> Path:
    Stage(noun, folder, {}).finish(summary, seeds={}, dropped={})
    return folder


def _linked(made: Path, name: str) -> Path:
    folder = made.with_name(name)
    folder.mkdir()
    for file in made.iterdir():
        os.link(file, folder / file.name)
    return folder


WORDS = [f"{start}{middle}{end}" for start in "bdfgklmnprst" for middle in "aeiou" for end in ("n", "ry", "st", "lo")]
