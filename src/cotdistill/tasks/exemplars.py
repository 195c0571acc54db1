"""The worked examples in few-shot prompts: a student that was trained on them has seen part of its test."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from cotdistill.records import Question
from cotdistill.tasks.benchmarks import Row
from cotdistill.tasks.benchmarks.bbh import ANSWER_TYPES
from cotdistill.tasks.few_shot import mmlu_pro_shots, official_prompts

_SHOT = re.compile(r"^Q: (.*?)\nA: Let's think step by step\.", re.MULTILINE | re.DOTALL)
_STATEMENT = "So the answer is "


def exemplar_questions(questions: Sequence[Question], data_dir: Path | None) -> list[Question]:
    """The exemplars of the official prompts for the subtasks of ``questions``, three or five per subtask.

    As in an evaluation question, lettered options are not part of the text. Raises DataError as
    :func:`official_prompts` does.
    """
    subtasks = sorted({question.task.partition("/")[2] for question in questions if question.task.startswith("bbh/")})
    prompts = official_prompts(data_dir) if subtasks else {}
    found = [shot for subtask in subtasks for shot in _shots(subtask, prompts[subtask])]
    if any(question.task.startswith("mmlu_pro/") for question in questions):
        found += [_worked(row) for rows in mmlu_pro_shots(data_dir).values() for row in rows]
    return found


def _worked(row: Row) -> Question:
    identity, task, choices = f"{row['id']}-exemplar", f"mmlu_pro/{row['subtask']}", tuple(row["choices"])
    return Question(identity, task, "few_shot", row["question"], row["answer"], "letter", choices)


def _shots(subtask: str, prompt: str) -> list[Question]:
    found = list(_SHOT.finditer(prompt))
    ends = [*(match.start() for match in found[1:]), len(prompt)]
    shots = []
    for number, (match, end) in enumerate(zip(found, ends, strict=True)):
        _, _, answer = prompt[match.end() : end].rpartition(_STATEMENT)
        text, task = match[1].partition("\nOptions:\n")[0], f"bbh/{subtask}"
        identity = f"bbh-{subtask}-exemplar-{number}"
        shots.append(Question(identity, task, "few_shot", text, answer.strip().rstrip("."), ANSWER_TYPES[subtask]))
    return shots
