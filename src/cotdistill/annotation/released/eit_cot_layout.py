"""The granularity paper's release (arXiv 2502.18001) in its own layout: ``dataset_info.json`` and the files it names.

Names there are irregular ("auqa_ChatGPT_level3", "svamp_bloom_rar", "cQA_llama_level1"); a set's
name and its file's name together say what it is. Its gold answers are what the teachers state: they were shown them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cotdistill.annotation.released.eit_cot import Released
from cotdistill.errors import DataError
from cotdistill.granularities import COARSEST, FINEST
from cotdistill.records import AnswerType, Format
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.tasks.answers.reading import extract_answer
from cotdistill.tasks.answers.types import read_gold

_TASKS = {
    "svamp": r"svamp",
    "gsm8k": r"gsm",
    "aqua": r"aqua|auqa",
    "math": r"math",
    "strategyqa": r"stqa|strategyqa",
    "openbookqa": r"obqa|openbookqa",
    "commonsenseqa": r"csqa|cqa|ecqa|commonsenseqa",
}
_TEACHERS = {"chatgpt": r"chatgpt|math_mix_level", "gemini": r"gemini", "llama": r"llama"}
_FORMATS: dict[Format, str] = {"least_to_most": r"bsm", "rar": r"rar", "symbolic": r"sym"}
_LEVEL = re.compile(rf"level_?([{COARSEST}-{FINEST}])")
_ONLY_ANSWERS = re.compile(r"only_?ans")

_TYPES: dict[str, AnswerType] = {"svamp": "number", "gsm8k": "number", "strategyqa": "true_false", "math": "text"}
"""Of tasks without choices."""
_CHOICES = re.compile(r"\s*answer choices:\s*", re.IGNORECASE)
_CHOICE = re.compile(r"(?:^|[\s,])\(?([A-H])[):.]\s*")


def resolve(name: str, file_name: str) -> Released:
    """What the set ``name`` in ``file_name`` holds. Raises DataError for names that do not tell the task."""
    words = f"{name} {file_name}".lower()
    task = next((task for task, pattern in _TASKS.items() if re.search(pattern, words)), None)
    if task is None:
        raise DataError(f"the names {name!r} and {file_name!r} do not tell the task", where="dataset_info.json")
    if _ONLY_ANSWERS.search(name.lower()) or (_ONLY_ANSWERS.search(words) and "human" not in name.lower()):
        return Released(task, "answer_only", None, "answer_only")
    teacher = next((teacher for teacher, pattern in _TEACHERS.items() if re.search(pattern, words)), "human")
    if teacher == "human":
        return Released(task, "human", None, "human")
    level = _LEVEL.search(words)
    return Released(task, teacher, int(level[1]) if level else None, _format(words))


def _format(words: str) -> Format:
    for form, pattern in _FORMATS.items():
        if re.search(pattern, words):
            return form
    return "cot"


def read_release(folder: Path) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Each set that ``dataset_info.json`` names and whose file exists, with its rows as drafts."""
    try:
        listed = json.loads((folder / "dataset_info.json").read_text(encoding="utf-8"))
        sets = {
            name: (entry["file_name"], entry["columns"]["prompt"], entry["columns"]["response"])
            for name, entry in listed.items()
        }
    except WRONG_SHAPE as error:
        raise DataError(f"not as LLaMA-Factory writes it ({error})", where=folder / "dataset_info.json") from None
    for name, (file_name, prompt, response) in sets.items():
        path = folder / Path(file_name).name
        if path.is_file():
            yield name, _drafts(path, name, resolve(name, file_name), prompt, response)


def _drafts(path: Path, name: str, released: Released, prompt: str, response: str) -> Iterator[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"malformed JSON ({error})", where=path, remedy="fetch the file again") from None
    for number, row in enumerate(rows):
        asked, written = (row.get(prompt), row.get(response)) if isinstance(row, dict) else (None, None)
        if isinstance(asked, str) and isinstance(written, str):
            yield _draft(f"{name}-{number:05}", released, asked, written)
        else:
            yield {"unread": "unknown_columns"}


def _draft(name: str, released: Released, instruction: str, output: str) -> dict[str, Any]:
    question, choices = split_choices(instruction)
    answer_type: AnswerType = "letter" if choices else _TYPES.get(released.task, "text")
    alone = released.format == "answer_only"
    read = read_gold(output, answer_type, choices) if alone else extract_answer(output, answer_type, choices)
    if read is None:
        return {"unread": "no_stated_answer"}
    return {
        "id": name,
        "task": released.task,
        "question": question,
        "choices": choices,
        "answer": read,
        "answer_type": answer_type,
        "rationale": None if alone else output,
        "teacher": released.teacher,
        "granularity": released.granularity,
        "format": released.format,
    }


def split_choices(instruction: str) -> tuple[str, tuple[str, ...] | None]:
    """The question, and its choices where it lists them: "(A) one (B) two", "A: one, B: two", "A. one"."""
    asked, *listed = _CHOICES.split(instruction, maxsplit=1)
    question = asked.removeprefix("Q: ").strip()
    if not listed:
        return question, None
    pieces = _CHOICE.split(listed[0])
    letters, texts = pieces[1::2], pieces[2::2]
    # Letters out of order belong to a choice's own text.
    choices: list[str] = []
    for letter, text in zip(letters, texts, strict=True):
        if ord(letter) == ord("A") + len(choices):
            choices.append(text)
        elif choices:
            choices[-1] += f" {letter}: {text}"
    return question, tuple(choice.strip().rstrip(",").strip() for choice in choices) or None
