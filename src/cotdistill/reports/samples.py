"""Every output of every cell, packed so that a page can hold it: deduplicated, deflated and in pieces read on demand.

The first piece is the index: cells, tasks, and for each question its id, its first words and one letter per cell for
its verdict. The others hold questions with their outputs. A piece is JSON, deflated, in base64: whatever a model wrote,
nothing in it can end a script element or be taken for markup.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from cotdistill.evaluation.outcomes import Item, Items
from cotdistill.evaluation.stored import outcomes_of, predictions_at
from cotdistill.records import VERDICTS, Prediction, Question
from cotdistill.reports.evidence import Evidence
from cotdistill.reports.texts import one_line

if TYPE_CHECKING:
    import numpy as np

MAX_BYTES = 13_500_000
"""Deflated; in base64 a third more."""

_CAPS = (16_000, 8_000, 4_000, 2_000, 1_000, 500, 250, 120)
_TOGETHER = 8
"""Questions whose outputs are read, and held, together."""
_PIECE = 300_000
_PREVIEW = 90
"""Characters: outputs are cut to the largest cap that fits, a piece holds so much, a list shows a question's first."""

_LETTERS = {"correct": "c", "wrong": "w", "unreadable": "u", "truncated": "t"}
_NOT_ASKED = "-"


@dataclass(frozen=True, slots=True)
class Samples:
    """Pieces in base64, the index first, and a note on what was left out to keep the page small."""

    pieces: tuple[str, ...]
    note: str

    @property
    def size(self) -> int:
        return sum(map(len, self.pieces))


class Output(NamedTuple):
    """What a page shows of a prediction."""

    answer: str
    text: str
    stated: str | None
    num_tokens: int


@dataclass(slots=True)
class _Outputs:
    """All cells with their predictions, which may be on disk and are read as they are packed; the items in the order in
    which they first occur; and where each item is in each cell, -1 where it was not asked. ``longest`` counts the
    characters of the longest text that was packed."""

    cells: list[dict[str, Any]]
    chosen: list[int]
    predictions: list[Sequence[Prediction]]
    places: list[np.ndarray]
    questions: dict[Item, Question | None]
    longest: int = 0


def pack(evidence: Evidence, max_bytes: int = MAX_BYTES) -> Samples | None:
    """The samples of all cells in at most ``max_bytes`` deflated; None if there is no prediction.

    Where they do not fit, the middle of long outputs is left out, and in the last resort questions are, evenly.
    """
    outputs = _gather(evidence)
    if not outputs.questions:
        return None
    items = range(len(outputs.questions))
    for cap in (None, *_CAPS):
        if cap is not None and cap >= outputs.longest:
            continue  # it cuts none of what was just too large
        outputs.longest = 0
        if (pieces := _packed(outputs, items, cap, max_bytes)) is not None:
            return Samples(pieces, _note(cap, len(items), len(items)))
    kept = items
    while len(kept) > 1:
        kept = kept[::2]
        if (pieces := _packed(outputs, kept, _CAPS[-1], max_bytes)) is not None:
            return Samples(pieces, _note(_CAPS[-1], len(kept), len(items)))
    return None


def _gather(evidence: Evidence) -> _Outputs:
    outputs = _Outputs([], [], [], [], {})
    for name, arm in evidence.arms.items():
        for cell in arm.cells:
            label = one_line(name) + (f" (seed {cell.seed})" if len(arm.cells) > 1 else "")
            outputs.cells.append({"name": label, "arm": name, "base": arm.base})
            outputs.predictions.append(cell.predictions)
    cells = [cell for arm in evidence.arms.values() for cell in arm.cells]
    asked = [outcomes_of(cell.predictions).items for cell in cells]
    different = {(id(items), id(cell.questions)): (items, cell) for items, cell in zip(asked, cells, strict=True)}
    for items, cell in different.values():
        known = {(question.task, question.id): question for question in cell.questions}
        for item in items.places:
            if outputs.questions.get(item) is None:
                outputs.questions[item] = known.get(item)
    places = {id(items): _places(items, outputs.questions) for items, _ in different.values()}
    outputs.places.extend(places[id(items)] for items in asked)
    if outputs.cells:
        outputs.chosen.extend(_chosen(evidence, outputs.cells))
    return outputs


def _places(items: Items, wanted: Iterable[Item]) -> np.ndarray:
    import numpy as np

    return np.array([items.places.get(item, -1) for item in wanted], dtype=np.int64)


def _chosen(evidence: Evidence, cells: list[dict[str, Any]]) -> list[int]:
    """The two cells that a page begins with: the first comparison's, else the last arm and its base or the first."""
    if evidence.comparisons:
        wanted = [evidence.comparisons[0].a, evidence.comparisons[0].b]
    else:
        last = list(evidence.arms)[-1]
        wanted = [last, evidence.arms[last].base or next(iter(evidence.arms))]
    firsts = {cell["arm"]: number for number, cell in reversed(list(enumerate(cells)))}
    return [firsts.get(name, 0) for name in wanted]


def _packed(outputs: _Outputs, items: Sequence[int], cap: int | None, max_bytes: int) -> tuple[str, ...] | None:
    """The index and all pieces of these items, by number; None if they are larger than ``max_bytes``.

    A sixteenth of them is tried first, in a little more than its share: packing all to find out takes long.
    """
    few = items[::16]
    if len(few) >= 16 and _pack_all(outputs, few, cap, max_bytes * len(few) * 11 // (len(items) * 10)) is None:
        return None
    return _pack_all(outputs, items, cap, max_bytes)


def _pack_all(outputs: _Outputs, items: Sequence[int], cap: int | None, max_bytes: int) -> tuple[str, ...] | None:
    """The index and all pieces, None as soon as they are larger than ``max_bytes``."""
    keys = list(outputs.questions)
    tasks = sorted({keys[item][0] for item in items})
    starts, packed, size = [], [], 0
    for start, rows in _pieces(outputs, items, cap):
        starts.append(start)
        packed.append(_deflated(rows))
        size += len(packed[-1])
        if size > max_bytes:
            return None
    firsts = {cell["arm"]: number for number, cell in reversed(list(enumerate(outputs.cells)))}
    chosen = [keys[item] for item in items]
    index = {
        "cells": [{"name": cell["name"], "base": firsts.get(cell["base"])} for cell in outputs.cells],
        "first": outputs.chosen,
        "tasks": tasks,
        "starts": starts,
        "rows": [[tasks.index(key[0]), one_line(key[1]), _preview(outputs.questions[key])] for key in chosen],
        "verdicts": _letters(outputs, items),
    }
    packed.insert(0, _deflated(index))
    if size + len(packed[0]) > max_bytes:
        return None
    return tuple(base64.b64encode(piece).decode("ascii") for piece in packed)


def _letters(outputs: _Outputs, items: Sequence[int]) -> list[str]:
    """For each item one letter per cell."""
    import numpy as np

    letters = np.frombuffer("".join(_LETTERS[verdict] for verdict in VERDICTS).encode(), dtype=np.uint8)
    columns = []
    for predictions, places in zip(outputs.predictions, outputs.places, strict=True):
        chosen = places[list(items)]
        columns.append(np.where(chosen < 0, ord(_NOT_ASKED), letters[outcomes_of(predictions).verdicts[chosen]]))
    return [bytes(row).decode() for row in np.stack(columns, axis=1).astype(np.uint8)]


def _pieces(outputs: _Outputs, items: Sequence[int], cap: int | None) -> Iterator[tuple[int, list[Any]]]:
    """Rows of about _PIECE characters each, with the number of the first item in them."""
    questions = list(outputs.questions.values())
    start, rows, length = 0, [], 0
    read = (row for first in range(0, len(items), _TOGETHER) for row in _read(outputs, items[first:][:_TOGETHER], cap))
    for number, (item, found) in enumerate(zip(items, read, strict=True)):
        row, characters, longest = _row(found, questions[item])
        outputs.longest = max(outputs.longest, longest)
        rows.append(row)
        length += characters
        if length >= _PIECE:
            yield start, rows
            start, rows, length = number + 1, [], 0
    if rows:
        yield start, rows


def _read(outputs: _Outputs, items: Sequence[int], cap: int | None) -> list[list[Output | None]]:
    """For each item what each cell has for it; the file of a cell is opened once for all items."""
    columns = []
    for predictions, places in zip(outputs.predictions, outputs.places, strict=True):
        chosen = places[list(items)].tolist()
        found = iter(predictions_at(predictions, [place for place in chosen if place >= 0]))
        columns.append([None if place < 0 else _output(next(found), cap) for place in chosen])
    return [list(row) for row in zip(*columns, strict=True)]


def _output(prediction: Prediction, cap: int | None) -> Output:
    cut = _cut(prediction.output, cap), _cut(prediction.extracted, cap)
    return Output(prediction.answer, *cut, prediction.num_output_tokens)


def _row(read: Sequence[Output | None], question: Question | None) -> tuple[list[Any], int, int]:
    """``[question, choices, gold answer, texts, outputs]``, its length in characters, and that of its longest text.

    An output is ``[number of its text, extracted answer, tokens]``, or 0 where the cell has none.
    """
    texts, found = {}, []
    answer, longest = "", 0
    for one in read:
        if one is None:
            found.append(0)
            continue
        answer = one.answer
        longest = max(longest, len(one.text), len(one.stated or ""))
        found.append([texts.setdefault(one.text, len(texts)), one.stated, one.num_tokens])
    asked = question.asked if question else ""
    choices = list(question.choices) if question and question.choices else []
    characters = len(asked) + sum(map(len, texts)) + 16 * len(found)
    return [asked, choices, answer, list(texts), found], characters, longest


def _cut(text: str | None, cap: int | None) -> Any:
    """Beginning and end: the reasoning starts in one, and the answer stands in the other."""
    if text is None or cap is None or len(text) <= cap:
        return text
    return f"{text[: cap // 2]} [...] {text[-(cap // 2) :]}"


def _deflated(value: Any) -> bytes:
    return zlib.compress(json.dumps(value, separators=(",", ":")).encode("ascii"), 6)


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
