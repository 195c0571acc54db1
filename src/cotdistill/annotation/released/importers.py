"""Rationales that others released, read from their own files: each row becomes a rationale or a counted reason.

An imported question has the answer that the file gives. Rows in our own schema (see ``records``) are read for every
source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from cotdistill.annotation.released.eit_cot_layout import read_release
from cotdistill.annotation.released.step_by_step import read_step_by_step
from cotdistill.errors import ConfigError, DataError, nearest
from cotdistill.records import AnswerType, Format, Question, Rationale, count_by
from cotdistill.tasks.answers.stripping import clean_rationale
from cotdistill.tasks.answers.types import is_number, read_gold
from cotdistill.tasks.tables import read_table

ImportSource = Literal["eit_cot", "cot_collection", "flan_cot", "distilling_step_by_step"]
IMPORT_SOURCES: tuple[ImportSource, ...] = get_args(ImportSource)

Draft = dict[str, Any]
"""Fields of a row: id, task, split, question, choices, answer, rationale, teacher, granularity, format; or
``unread``, the reason why it has none."""


@dataclass(frozen=True, slots=True)
class Imported:
    """``unread`` counts by reason the rows that gave no rationale; ``files`` counts all rows of each file."""

    records: tuple[Rationale, ...]
    unread: dict[str, int]
    files: dict[str, int]

    def to_row(self) -> dict[str, Any]:
        kinds = count_by(f"{r.question.task} {r.teacher} {r.granularity or '-'} {r.format}" for r in self.records)
        return {"rationales": len(self.records), "unread": self.unread, "files": self.files, "kinds": kinds}


def import_rationales(source: str, path: Path) -> Imported:
    """What ``source`` released, from one of its files or a folder in its own layout.

    Raises ConfigError for an unknown source, DataError for a path without data of this source.
    """
    if source not in IMPORT_SOURCES:
        raise ConfigError(f"unknown source {source!r}", where="import", remedy=nearest(source, IMPORT_SOURCES))
    records: dict[str, Rationale] = {}
    unread: list[str] = []
    files: dict[str, int] = {}
    for name, drafts in _files(source, path):
        files[name] = 0
        for draft in drafts:
            files[name] += 1
            found = _rationale(draft)
            if isinstance(found, str):
                unread.append(found)
            elif found.id in records:
                unread.append("repeated")
            else:
                records[found.id] = found
    if not files:
        raise DataError(
            f"no {source} data found", where=path, remedy="give one of its files, or the folder of the release"
        )
    return Imported(tuple(records.values()), count_by(unread), files)


def _files(source: str, path: Path) -> Iterator[tuple[str, Iterator[Draft]]]:
    """Each file's name with its rows."""
    if source == "eit_cot" and (path / "dataset_info.json").is_file():
        yield from read_release(path)
    elif source == "distilling_step_by_step" and path.is_dir() and (path / "llm").is_dir():
        yield from read_step_by_step(path)
    elif path.is_dir():
        for file in sorted(path.iterdir()):
            if file.name.endswith((".jsonl", ".jsonl.gz", ".tsv", ".parquet", ".json")):
                yield file.name, _rows(source, file)
    else:
        yield path.name, _rows(source, path)


def _rows(source: str, path: Path) -> Iterator[Draft]:
    foreign = {"cot_collection": _of_collection, "flan_cot": _of_flan}.get(source)
    for row in _read(path):
        if {"id", "task", "answer", "format"} <= row.keys():
            yield _own(row)
        elif foreign is not None:
            yield foreign(row)
        else:
            yield {"unread": "unknown_columns"}


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of JSON Lines, Parquet, a JSON list or mapping of rows, or FLAN's lines of question, answer, rationale."""
    if not path.is_file():
        raise DataError("no such file", where=path, remedy="check the path")
    if path.suffix == ".tsv":
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                yield {"cells": line.rstrip("\n").split("\t")}
    elif path.suffix == ".json":
        try:
            whole = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DataError(f"malformed JSON ({error})", where=path, remedy="correct the file") from None
        yield from (row for row in (whole.values() if isinstance(whole, dict) else whole) if isinstance(row, dict))
    else:
        yield from (row for _, row in read_table(path))


def _own(row: dict[str, Any]) -> Draft:
    kept = ("id", "task", "split", "question", "choices", "answer", "rationale", "teacher", "granularity", "format")
    return {name: row.get(name) for name in kept} | {"format": row["format"] or "answer_only"}


def _of_collection(row: dict[str, Any]) -> Draft:
    """CoT-Collection (arXiv 2305.14045): source, target, rationale, task, type. Codex wrote the rationales."""
    if not all(isinstance(row.get(name), str) for name in ("source", "target", "rationale")):
        return {"unread": "unknown_columns"}
    content = hashlib.sha256(json.dumps([row["source"], row["target"]]).encode()).hexdigest()[:12]
    task = str(row.get("task") or "unknown")
    return {
        "id": f"cot_collection-{task}-{content}",
        "task": f"cot_collection/{task}",
        "question": row["source"],
        "answer": row["target"],
        "rationale": row["rationale"],
        "teacher": "codex",
        "format": "cot",
    }


def _of_flan(row: dict[str, Any]) -> Draft:
    """FLAN's CoT mixture (arXiv 2301.13688): question, answer and rationale, by people, in this order on a line.

    The order is from memory and was not checked against the original files.
    """
    cells = row.get("cells") or [row.get(name) for name in ("question", "answer", "rationale")]
    texts = [cell.replace("\\n", "\n").strip() for cell in cells if isinstance(cell, str)]
    if len(cells) != 3 or len(texts) != 3:
        return {"unread": "not_three_columns"}
    question, answer, rationale = texts
    content = hashlib.sha256(json.dumps([question, answer]).encode()).hexdigest()[:12]
    written = {"question": question, "answer": answer, "rationale": rationale}
    return {"id": f"flan_cot-{content}", "task": "flan_cot", "teacher": "human", "format": "human", **written}


def _rationale(draft: Draft) -> Rationale | str:
    """The rationale of a row, or the reason why it has none."""
    if "unread" in draft:
        return draft["unread"]
    question, answer = str(draft.get("question") or "").strip(), draft.get("answer")
    if not question:
        return "no_question"
    if answer is None or not str(answer).strip():
        return "no_answer"
    listed = draft.get("choices") or ()
    if not isinstance(listed, list | tuple):
        return "choices_are_no_list"
    choices = tuple(map(str, listed)) or None
    answer_type: AnswerType = draft.get("answer_type") or _type_of(str(answer), choices)
    gold = read_gold(str(answer), answer_type, choices)
    if gold is None:
        return "answer_is_no_choice" if choices else "unreadable_answer"
    form: Format = draft["format"]
    text = None if form == "answer_only" else clean_rationale(str(draft.get("rationale") or ""))
    if text == "":
        return "empty_rationale"
    asked = Question(
        str(draft["id"]), draft["task"], draft.get("split") or "train", question, gold, answer_type, choices
    )
    return Rationale(asked, text, draft.get("teacher") or "answer_only", draft.get("granularity"), form)


def _type_of(answer: str, choices: Iterable[str] | None) -> AnswerType:
    """The narrowest type that fits an answer on its own."""
    if choices:
        return "letter"
    word = answer.strip().casefold()
    if word in ("yes", "no"):
        return "yes_no"
    if word in ("true", "false"):
        return "true_false"
    return "number" if is_number(answer) else "text"
