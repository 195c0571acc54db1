"""The rationales released with the granularity paper (arXiv 2502.18001): file names, and joining them to questions.

The release names its files irregularly; only the tables here know how. A file holds one rationale per training
question, with the gold answer's question in ``meta.gold_id`` (AQuA's, which has none, are joined by text).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from cotdistill.errors import DataError, nearest
from cotdistill.records import Format, Question
from cotdistill.storage.jsonl import read_rows
from cotdistill.tasks.load_benchmark import DATA_VARIABLE, find_data_file

FOLDER = "eit_cot"


class Released(NamedTuple):
    """What one file holds. ``granularity`` is None for people's rationales and for prompts that set no level."""

    task: str
    teacher: str
    granularity: int | None
    format: Format


_LEVELS: dict[tuple[str, str], tuple[str, int]] = {
    ("svamp", "chatgpt"): ("SVAMP_ChatGPT_level{}_ranked", 6),
    ("svamp", "gemini"): ("SVAMP_gemini_level{}_ranked", 6),
    ("svamp", "llama"): ("SVAMP_llama_level{}_ranked", 4),
    ("gsm8k", "gemini"): ("gsm8k_gemini_level{}_ranked", 2),
    ("gsm8k", "llama"): ("gsm8k_llama_level{}_ranked", 2),
    ("aqua", "gemini"): ("aqua_gemini_level{}_ranked", 2),
    ("aqua", "llama"): ("aqua_llama_level{}_ranked", 4),
    ("commonsenseqa", "gemini"): ("csqa_gemini_level{}_ranked", 1),
    ("commonsenseqa", "llama"): ("csqa_llama_level{}_ranked", 3),
    ("openbookqa", "chatgpt"): ("openbookQA_chatgpt_level_{}_ranked", 6),
    ("openbookqa", "gemini"): ("obqa_gemini_level{}_ranked", 6),
    ("openbookqa", "llama"): ("obqa_llama_level{}_ranked", 6),
    ("strategyqa", "chatgpt"): ("strategyQA_chatgpt_level_{}_ranked", 6),
    ("strategyqa", "gemini"): ("stqa_gemini_level{}_ranked", 6),
    ("strategyqa", "llama"): ("stqa_llama_level{}_ranked", 6),
}
"""File name with the level left open, and the finest level, of plain chains of thought."""

_OTHERS: dict[Released, str] = {
    Released("svamp", "chatgpt", 3, "least_to_most"): "0_SVAMP_chatgpt_level3BSM",
    Released("svamp", "chatgpt", 3, "rar"): "0_SVAMP_chatgpt_level3RaR",
    Released("svamp", "chatgpt", 3, "symbolic"): "0_SVAMP_chatgpt_level3SYM",
    Released("svamp", "chatgpt", 5, "least_to_most"): "0_SVAMP_chatgpt_level5BSM",
    Released("svamp", "chatgpt", 5, "rar"): "0_SVAMP_chatgpt_level5RaR",
    Released("svamp", "chatgpt", 5, "symbolic"): "0_SVAMP_chatgpt_level5SYM",
    Released("openbookqa", "chatgpt", 3, "least_to_most"): "openbookqa_chatgpt_bsm_level3_ranked",
    Released("openbookqa", "chatgpt", 3, "rar"): "openbookqa_chatgpt_rar_level3_ranked",
    # The one set whose teacher did not see the gold answer.
    Released("openbookqa", "chatgpt", None, "cot"): "openbookQA_ChatGPT_0_shot_without_gt_ranked",
    Released("svamp", "human", None, "human"): "svamp_human_annotation",
    Released("aqua", "human", None, "human"): "aqua_human",
    Released("strategyqa", "human", None, "human"): "stqa_human_annotation",
}

RELEASE: dict[Released, str] = {
    Released(task, teacher, level, "cot"): name.format(level)
    for (task, teacher), (name, finest) in _LEVELS.items()
    for level in range(1, finest + 1)
} | _OTHERS
"""Every file of rationales, by what it holds."""


def find_release(wanted: Released, data_dir: Path | None) -> Path:
    """The file that holds ``wanted``. Raises DataError, which lists the released ones, if it does not exist."""
    tasks = {released.task for released in RELEASE}
    if wanted.task not in tasks:
        raise DataError(f"no rationales were released for task {wanted.task!r}", remedy=nearest(wanted.task, tasks))
    if wanted not in RELEASE:
        problem = f"there are no released rationales for {wanted.task} by {_name(wanted)}"
        raise DataError(problem, where="teacher dataset", remedy=f"choose from: {_released_for(wanted.task)}")
    path = find_data_file(_relative_path(wanted), data_dir)
    if path is None:
        remedy = f"set the teacher's data_dir (or ${DATA_VARIABLE}) to the folder that holds it"
        raise DataError(f"{_relative_path(wanted)} was not found", where="teacher dataset", remedy=remedy)
    return path


def find_human_release(task: str, data_dir: Path | None) -> Path | None:
    """The file of people's rationales for ``task``, if it exists on this machine."""
    wanted = Released(task, "human", None, "human")
    return find_data_file(_relative_path(wanted), data_dir) if wanted in RELEASE else None


def _relative_path(released: Released) -> str:
    return f"{FOLDER}/{RELEASE[released]}.jsonl.gz"


def _name(released: Released) -> str:
    level = "without granularity" if released.granularity is None else f"at granularity {released.granularity}"
    return f"{released.teacher} in format {released.format} {level}"


def _released_for(task: str) -> str:
    """What exists for a task, in words: "chatgpt cot 1 2 3 4 5 6, chatgpt rar 3 5, ..."."""
    of_task = sorted((r for r in RELEASE if r.task == task), key=lambda r: (r.teacher, r.format, r.granularity or 0))
    groups = groupby(of_task, key=lambda released: (released.teacher, released.format))
    return ", ".join(
        f"{teacher} {form} {' '.join(str(r.granularity or 'without granularity') for r in group)}"
        for (teacher, form), group in groups
    )


@dataclass(frozen=True, slots=True)
class ReleasedRows:
    """One file's rows, found by a question's id or, for questions from elsewhere, by its words."""

    by_id: dict[str, dict[str, Any]]
    by_text: dict[tuple[str, ...], dict[str, Any]]

    @classmethod
    def read(cls, path: Path) -> ReleasedRows:
        rows = cls({}, {})
        for row in read_rows(path):
            if gold_id := (row.get("meta") or {}).get("gold_id"):
                rows.by_id.setdefault(gold_id, row)
            rows.by_text.setdefault(_words(row["question"], row.get("choices")), row)
        return rows

    def find(self, question: Question) -> dict[str, Any] | None:
        return self.by_id.get(question.id) or self.by_text.get(_words(question.question, question.choices))


def _words(question: str, choices: Iterable[str] | None) -> tuple[str, ...]:
    return tuple(" ".join(text.casefold().split()) for text in (question, *(choices or ())))
