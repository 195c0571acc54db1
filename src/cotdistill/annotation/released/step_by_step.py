"""Distilling step-by-step's release (arXiv 2305.02301) in its own layout: a folder per task (``datasets/cqa``).

``<task>_<split>.json`` holds the questions as JSON Lines, ``llm/<split>_CoT_<number>.json`` lists of PaLM 540B's
completions, in the same order. Only the training split is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any

from cotdistill.errors import DataError
from cotdistill.rationales.expressions import evaluate, last_expression
from cotdistill.rationales.tokens import phrases
from cotdistill.storage.jsonl import read_rows

_STATEMENT = re.compile(r"\s*(?:So the|The) answer is\b")
_NEXT_QUESTION = re.compile(r"\n+(?:Q:|Premise:)")
_NUMBERED = re.compile(r"_(\d+)\.json$")
TASKS = {"cqa": "commonsenseqa", "svamp": "svamp"}


def read_step_by_step(folder: Path) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """The training questions with their rationales, as drafts. Raises DataError for any other folder."""
    questions = folder / f"{folder.name}_train.json"
    files = sorted((folder / "llm").glob("train_CoT_*.json"), key=lambda file: int(_NUMBERED.findall(file.name)[0]))
    if folder.name not in TASKS or not questions.is_file() or not files:
        problem = f"there is no {questions.name} with llm/train_CoT_*.json of a known task ({', '.join(TASKS)})"
        raise DataError(problem, where=folder, remedy="give the folder datasets/cqa or datasets/svamp of the release")
    yield questions.name, _drafts(folder.name, questions, files)


def _drafts(task: str, questions: Path, files: list[Path]) -> Iterator[dict[str, Any]]:
    outputs = chain.from_iterable(json.loads(file.read_text(encoding="utf-8")) for file in files)
    for number, (row, output) in enumerate(zip_longest(read_rows(questions), outputs)):
        if row is None or not isinstance(output, str):
            yield {"unread": "no_question" if row is None else "no_output"}
            continue
        draft = _of_svamp(row) if task == "svamp" else _of_commonsenseqa(row)
        if draft is None:
            yield {"unread": "unreadable_answer"}
            continue
        written = _NEXT_QUESTION.split(output)[0]
        rationale = _STATEMENT.split(written)[0].strip()
        source = {"id": f"step_by_step-{task}-{number:05}", "task": TASKS[task], "rationale": rationale}
        yield {**draft, **source, "teacher": "palm-540b", "format": "cot"}


def _of_svamp(row: dict[str, Any]) -> dict[str, Any] | None:
    """The label is an equation: "( 84.0 / 2.0 )"."""
    tokens = [last_expression(phrase) for phrase in phrases(str(row.get("label")))]
    value = evaluate(tokens[-1]) if tokens and tokens[-1] else None
    if value is None:
        return None
    answer = str(value.numerator) if value.denominator == 1 else str(value)
    return {"question": " ".join(str(row.get("input") or "").split()), "answer": answer, "answer_type": "number"}


def _of_commonsenseqa(row: dict[str, Any]) -> dict[str, Any] | None:
    choices = row.get("choices")
    if not isinstance(choices, list) or row.get("answer") not in choices:
        return None
    letter = chr(ord("A") + choices.index(row["answer"]))
    return {"question": row.get("question"), "choices": choices, "answer": letter, "answer_type": "letter"}
