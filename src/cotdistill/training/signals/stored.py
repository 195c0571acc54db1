"""A teacher's signal on disk: rows by example, appended while capturing, memory-mapped while training.

A folder holds ``signal.json`` (what the rows are), ``index.jsonl`` (for each example's key its first row and their
number) and one raw file per array, whose rows are in the order of the index. A row belongs to a loss token.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn.functional import linear
from transformers import PreTrainedModel

from cotdistill.errors import ArtifactError
from cotdistill.models.forward.heads import Head
from cotdistill.storage.atomic import write_json_atomically
from cotdistill.storage.jsonl import RowAppender, read_rows
from cotdistill.storage.texts import WRONG_SHAPE
from cotdistill.training.data.batches import Batch
from cotdistill.training.data.examples import Example
from cotdistill.training.signals.live import HiddenRows, SampledRows, TopKRows

DESCRIPTION, INDEX, HEAD = "signal.json", "index.jsonl", "head.safetensors"

_RAW = {torch.bfloat16: np.int16, torch.float16: np.int16, torch.float32: np.float32, torch.int32: np.int32}
"""NumPy's type of the same width for each type of tensor; NumPy has no bfloat16."""

_TYPES = {str(dtype).removeprefix("torch."): dtype for dtype in _RAW}

COMMIT_SECONDS = 1.0
"""Rows are made to stay on the disk about as often, and not with every example, which would take most of the time."""


@dataclass(frozen=True, slots=True)
class Column:
    """One array of the store: ``[num_rows, width]`` of a type."""

    dtype: torch.dtype
    width: int

    @property
    def row_bytes(self) -> int:
        return self.dtype.itemsize * self.width

    def to_row(self) -> dict[str, Any]:
        return {"dtype": str(self.dtype).removeprefix("torch."), "width": self.width}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> Column:
        """Raises KeyError, TypeError or ValueError for a row that no capture writes."""
        if row["width"] < 1:
            raise ValueError(f"a width of {row['width']}")
        return cls(_TYPES[row["dtype"]], row["width"])


Rows = Mapping[str, Tensor]
"""An example's tensors ``[num_rows, width]``, one per column."""


class SignalWriter:
    """Appends the rows of one batch of examples after the other; opening it again drops what a kill left half written.

    An example counts once its line is in the index, which is written when its rows are on the disk for good: not even
    a power loss leaves a line without its rows. ``places`` are first row and number of rows by key, and ``paid`` how
    many requests were paid for, with their tokens. Raises ArtifactError if files are shorter than the index says.
    """

    def __init__(self, folder: Path, columns: Mapping[str, Column], description: dict[str, Any]):
        self.columns = columns
        described = {name: column.to_row() for name, column in columns.items()}
        write_json_atomically(folder / DESCRIPTION, description | {"columns": described})
        self._index = RowAppender(folder / INDEX)
        rows = list(self._index.rows())
        self.places: dict[str, tuple[int, int]] = {row["key"]: (row["first_row"], row["num_rows"]) for row in rows}
        self.num_rows = sum(number for _, number in self.places.values())
        self.paid = sum(row.get("num_tokens", 0) for row in rows), sum("num_tokens" in row for row in rows)
        self._files = {name: (folder / f"{name}.bin").open("ab") for name in columns}
        for name, file in self._files.items():
            num_bytes = self.num_rows * columns[name].row_bytes
            if file.tell() < num_bytes:
                raise _truncated(folder, name, file.tell(), num_bytes)
            file.truncate(num_bytes)
        self._lines: list[dict[str, Any]] = []  # of the index, for rows that may not be on the disk yet
        self._committed = time.monotonic()

    def append(self, batch: Mapping[str, Rows]) -> None:
        """Add the rows of a batch's examples, by key. Those already there stay as they are."""
        for key, rows in batch.items():
            if key not in self.places:
                self._append(key, rows, {})
        if time.monotonic() - self._committed > COMMIT_SECONDS:
            self._commit()

    def keep(self, key: str, rows: Rows, num_tokens: int) -> None:
        """Add what was paid for, so many tokens: it is on the disk for good when this returns."""
        self._append(key, rows, {"num_tokens": num_tokens})
        self._commit()

    def read(self, key: str) -> Rows:
        """The rows of an example that was kept or is on the disk."""
        first, number = self.places[key]
        return {
            name: torch.from_numpy(
                np.fromfile(
                    file.name, _RAW[column.dtype], number * column.width, offset=first * column.row_bytes
                ).reshape(number, column.width)
            ).view(column.dtype)
            for (name, column), file in zip(self.columns.items(), self._files.values(), strict=True)
        }

    def _append(self, key: str, rows: Rows, more: dict[str, Any]) -> None:
        num_rows = len(next(iter(rows.values())))
        for name, file in self._files.items():
            column = self.columns[name]
            values = rows[name].to("cpu", column.dtype).contiguous()
            assert values.shape == (num_rows, column.width), f"{name} is {tuple(values.shape)}"
            file.write(values.view(_torch_raw(column.dtype)).numpy().tobytes())
        self._lines.append({"key": key, "first_row": self.num_rows, "num_rows": num_rows, **more})
        self.places[key] = (self.num_rows, num_rows)
        self.num_rows += num_rows

    def _commit(self) -> None:
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self._index.append_all(self._lines)
        self._lines, self._committed = [], time.monotonic()

    def close(self) -> None:
        self._commit()
        for file in self._files.values():
            file.close()
        self._index.close()

    def __enter__(self) -> SignalWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def save_head(folder: Path, head: Head, weight: Tensor, bias: Tensor | None) -> None:
    """Keep the teacher's head with its hidden states, so that training needs nothing else of it."""
    tensors = {"weight": weight.detach().contiguous()} | ({} if bias is None else {"bias": bias.detach().contiguous()})
    save_file(tensors, folder / HEAD, metadata={"factor": json.dumps(head.factor), "cap": json.dumps(head.cap)})


def load_head(folder: Path, device: torch.device) -> Head:
    from safetensors import safe_open

    tensors = load_file(folder / HEAD, device=str(device))
    with safe_open(folder / HEAD, framework="pt") as file:
        metadata = file.metadata()
    weight, bias = tensors["weight"], tensors.get("bias")
    return Head(
        lambda hidden: linear(hidden, weight, bias), json.loads(metadata["factor"]), json.loads(metadata["cap"])
    )


def _head_size(folder: Path) -> int:
    from safetensors import safe_open

    with safe_open(folder / HEAD, framework="pt") as file:
        return file.get_slice("weight").get_shape()[0]


def _truncated(folder: Path, name: str, found: int, wanted: int) -> ArtifactError:
    return ArtifactError(
        f"it holds {found} bytes, not {wanted}",
        where=folder / f"{name}.bin",
        remedy=f"the signal is truncated: delete {folder} and capture again",
    )


def _described(folder: Path) -> tuple[dict[str, Any], dict[str, Column]]:
    """What a folder says about its rows. Raises ArtifactError if it does not say what a capture says."""
    path = folder / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        columns = {name: Column.from_row(row) for name, row in description["columns"].items()}
    except WRONG_SHAPE:
        raise ArtifactError(
            "it does not say which rows, of which type, were captured", where=path, remedy="capture again"
        ) from None
    return description, columns


class StoredSignal:
    """A captured signal, found by example: :class:`TeacherSignal` without a teacher in memory.

    Raises ArtifactError if files are missing or shorter than the index says, or an example was never captured.
    """

    def __init__(self, folder: Path, device: torch.device):
        self.folder, self.device = folder, device
        self.models: tuple[PreTrainedModel, ...] = ()
        if not (folder / DESCRIPTION).is_file():
            raise ArtifactError("there is no captured teacher signal", where=folder, remedy="run cotdistill capture")
        self.description, self.columns = _described(folder)
        self.places = {row["key"]: (row["first_row"], row["num_rows"]) for row in read_rows(folder / INDEX)}
        num_rows = sum(count for _, count in self.places.values())
        self._arrays = {name: self._open(name, column, num_rows) for name, column in self.columns.items()}
        self._head = load_head(folder, device) if self.description["store"] == "hidden" else None
        self.num_outcomes = _head_size(folder) if self._head else None  # other stores hold tokens alone

    def _open(self, name: str, column: Column, num_rows: int) -> np.ndarray:
        path = self.folder / f"{name}.bin"
        found = path.stat().st_size if path.is_file() else 0
        if found != num_rows * column.row_bytes:
            raise _truncated(self.folder, name, found, num_rows * column.row_bytes)
        return np.memmap(path, dtype=_RAW[column.dtype], mode="r", shape=(num_rows, column.width))

    def refuse_missing(self, keys: Sequence[str]) -> None:
        """Raise ArtifactError if an example of a training is not in the store."""
        missing = sum(key not in self.places for key in keys)
        if missing:
            raise ArtifactError(
                f"it has no signal for {missing} of {len(keys)} examples",
                where=self.folder,
                remedy="it was captured from other data, another template or another tokenizer: capture again",
            )

    def admit(self, samples: Mapping[int, Example]) -> tuple[Mapping[int, Example], Collection[str]]:
        """Samples that were drawn beforehand are stored like all others."""
        return samples, ()

    def rows_of(self, key: str) -> Rows:
        """The rows of one example."""
        return {name: self._gather(name, column, [key]) for name, column in self.columns.items()}

    def rows(self, batch: Batch) -> HiddenRows | TopKRows | SampledRows:
        values = {name: self._gather(name, column, batch.keys) for name, column in self.columns.items()}
        if self._head is not None:
            return HiddenRows(values["hidden"], self._head.logits)
        tokens = values["tokens"].long()
        if self.description["store"] == "topk":
            return TopKRows(tokens, values["log_probabilities"])
        return SampledRows(tokens, values["entropy"].squeeze(-1))

    def _gather(self, name: str, column: Column, keys: Sequence[str]) -> Tensor:
        array = self._arrays[name]
        parts = [array[first : first + count] for first, count in (self.places[key] for key in keys)]
        return torch.from_numpy(np.concatenate(parts)).view(column.dtype).to(self.device)


def _torch_raw(dtype: torch.dtype) -> torch.dtype:
    return torch.int16 if dtype in (torch.bfloat16, torch.float16) else dtype
