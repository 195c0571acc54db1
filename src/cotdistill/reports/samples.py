"""Every output of every cell, packed so that a page can hold it: deduplicated, deflated and in pieces read on demand.

The first piece is the index: cells, tasks, and for each question its id, its first words and one letter per cell for
its verdict. The others hold questions with their outputs. A piece is JSON, deflated, in base64: whatever a model wrote,
nothing in it can end a script element or be taken for markup.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from cotdistill.records import Prediction, Question
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.tables import one_line

MAX_BYTES = 13_500_000
"""Deflated; in base64 a third more."""

_CAPS = (16_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 120)
_PIECE = 300_000
_PREVIEW = 90
"""Characters: outputs are cut to the largest cap that fits, a piece holds so much, a list shows a question's first."""

_LETTERS = {"correct": "c", "wrong": "w", "unreadable": "u", "truncated": "t"}
_NOT_ASKED = "-"

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Samples:
    """Pieces in base64, the index first, and a note on what was left out to keep the page small."""

    pieces: tuple[str, ...]
    note: str

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


@dataclass(frozen=True, slots=True)
class _Outputs:
    """All cells with their predictions by item, and the items in the order in which they first occur."""

    cells: list[dict[str, Any]]
    chosen: list[int]
    predictions: list[dict[Key, Prediction]]
    questions: dict[Key, Question | None]


def pack(evidence: Evidence, max_bytes: int = MAX_BYTES) -> Samples | None:
    """The samples of all cells in at most ``max_bytes`` deflated; None if there is no prediction.

    Where they do not fit, the middle of long outputs is left out, and in the last resort questions are, evenly.
    """
    outputs = _gather(evidence)
    if not outputs.questions:
        return None
    items = list(outputs.questions)
    longest = max(len(p.output) for predictions in outputs.predictions for p in predictions.values())
    for cap in (None, *(cap for cap in _CAPS if cap < longest)):
        if not _seems_to_fit(outputs, items, cap, max_bytes):
            continue
        if (pieces := _pack_all(outputs, items, cap, max_bytes)) is not None:
            return Samples(pieces, _note(cap, len(items), len(items)))
    kept = items
    while len(kept) > 1:
        kept = kept[::2]
        if (pieces := _pack_all(outputs, kept, _CAPS[-1], max_bytes)) is not None:
            return Samples(pieces, _note(_CAPS[-1], len(kept), len(items)))
    return None


def _gather(evidence: Evidence) -> _Outputs:
    outputs = _Outputs([], [], [], {})
    for name, arm in evidence.arms.items():
        for cell in arm.cells:
            label = one_line(name) + (f" (seed {cell.seed})" if len(arm.cells) > 1 else "")
            outputs.cells.append({"name": label, "arm": name, "base": arm.base})
            outputs.predictions.append({(p.task, p.id): p for p in cell.predictions})
            known = {(q.task, q.id): q for q in cell.questions}
            for key in outputs.predictions[-1]:
                if outputs.questions.get(key) is None:
                    outputs.questions[key] = known.get(key)
    if outputs.cells:
        outputs.chosen.extend(_chosen(evidence, outputs.cells))
    return outputs


def _chosen(evidence: Evidence, cells: list[dict[str, Any]]) -> list[int]:
    """The two cells that a page begins with: the first comparison's, else the last arm and its base or the first."""
    if evidence.comparisons:
        wanted = [evidence.comparisons[0].a, evidence.comparisons[0].b]
    else:
        last = list(evidence.arms)[-1]
        wanted = [last, evidence.arms[last].base or next(iter(evidence.arms))]
    firsts = {cell["arm"]: number for number, cell in reversed(list(enumerate(cells)))}
    return [firsts.get(name, 0) for name in wanted]


def _seems_to_fit(outputs: _Outputs, items: Sequence[Key], cap: int | None, max_bytes: int) -> bool:
    """Whether a sixteenth of the items fits into a little more than its share: packing all to find out takes long."""
    few = items[::16]
    return len(few) < 16 or _pack_all(outputs, few, cap, max_bytes * len(few) * 11 // (len(items) * 10)) is not None


def _pack_all(outputs: _Outputs, items: Sequence[Key], cap: int | None, max_bytes: int) -> tuple[str, ...] | None:
    """The index and all pieces, None as soon as they are larger than ``max_bytes``."""
    tasks = sorted({task for task, _ in items})
    starts, packed, size = [], [], 0
    for start, rows in _pieces(outputs, items, cap):
        starts.append(start)
        packed.append(_deflated(rows))
        size += len(packed[-1])
        if size > max_bytes:
            return None
    firsts = {cell["arm"]: number for number, cell in reversed(list(enumerate(outputs.cells)))}
    index = {
        "cells": [{"name": cell["name"], "base": firsts.get(cell["base"])} for cell in outputs.cells],
        "first": outputs.chosen,
        "tasks": tasks,
        "starts": starts,
        "rows": [[tasks.index(task), one_line(id_), _preview(outputs.questions[task, id_])] for task, id_ in items],
        "verdicts": ["".join(_letter(cell.get(key)) for cell in outputs.predictions) for key in items],
    }
    packed.insert(0, _deflated(index))
    if size + len(packed[0]) > max_bytes:
        return None
    return tuple(base64.b64encode(piece).decode("ascii") for piece in packed)


def _pieces(outputs: _Outputs, items: Sequence[Key], cap: int | None) -> Iterator[tuple[int, list[Any]]]:
    """Rows of about _PIECE characters each, with the number of the first item in them."""
    start, rows, length = 0, [], 0
    for number, key in enumerate(items):
        row, characters = _row(outputs, key, cap)
        rows.append(row)
        length += characters
        if length >= _PIECE:
            yield start, rows
            start, rows, length = number + 1, [], 0
    if rows:
        yield start, rows


def _row(outputs: _Outputs, key: Key, cap: int | None) -> tuple[list[Any], int]:
    """``[question, choices, gold answer, texts, outputs]``, and its length in characters.

    An output is ``[number of its text, extracted answer, tokens]``, or 0 where the cell has none.
    """
    question, texts, found = outputs.questions[key], {}, []
    answer = ""
    for cell in outputs.predictions:
        prediction = cell.get(key)
        if prediction is None:
            found.append(0)
            continue
        answer = prediction.answer
        text = texts.setdefault(_cut(prediction.output, cap), len(texts))
        found.append([text, _cut(prediction.extracted, cap), prediction.num_output_tokens])
    asked = question.question if question else ""
    choices = list(question.choices) if question and question.choices else []
    return [asked, choices, answer, list(texts), found], len(asked) + sum(map(len, texts)) + 16 * len(found)


def _cut(text: str | None, cap: int | None) -> Any:
    """Beginning and end: the reasoning starts in one, and the answer stands in the other."""
    if text is None or cap is None or len(text) <= cap:
        return text
    return f"{text[: cap // 2]} [...] {text[-(cap // 2) :]}"


def _deflated(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 6)


def _letter(prediction: Prediction | None) -> str:
    return _LETTERS[prediction.verdict] if prediction else _NOT_ASKED


def _preview(question: Question | None) -> str:
    line = one_line(question.question[: 4 * _PREVIEW]) if question else ""
    return line if len(line) <= _PREVIEW else line[:_PREVIEW] + "..."


def _note(cap: int | None, kept: int, total: int) -> str:
    notes = []
    if cap is not None:
        notes.append(f"Outputs longer than {cap:,} characters are shown without their middle.")
    if kept < total:
        notes.append(f"{kept:,} of {total:,} questions are shown, evenly spaced.")
    return " ".join([*notes, "The whole outputs are in each evaluation's predictions.jsonl."]) if notes else ""
