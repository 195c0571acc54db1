"""What an evaluation's folder holds of its answers: every prediction, and its outcome without the text. Loads no torch.

``outcomes.parquet`` says again what ``predictions.jsonl`` says, except what the model wrote. Statistics and reports
read it alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TypeAlias, overload
from weakref import WeakValueDictionary

from cotdistill.errors import ArtifactError
from cotdistill.evaluation.outcomes import NUMBERS, Items, Outcomes, outcomes_in
from cotdistill.records import Prediction
from cotdistill.storage.atomic import write_bytes_atomically
from cotdistill.storage.finished import FinishedStage
from cotdistill.storage.hashes import content_key
from cotdistill.storage.jsonl import read_rows, write_rows

PREDICTIONS, OUTCOMES = "predictions.jsonl", "outcomes.parquet"
_ITEMS = b"items"
"""The key of the file's metadata that says which questions it is about."""

Answers: TypeAlias = Outcomes | Sequence[Prediction]
"""What statistics take: outcomes, or predictions, of which they use the outcomes alone."""


def write_predictions(folder: Path, predictions: Sequence[Prediction]) -> None:
    """Write predictions and, beside them, their outcomes."""
    import pyarrow as pa
    from pyarrow import parquet

    write_rows(folder / PREDICTIONS, (prediction.to_row() for prediction in predictions))
    outcomes = outcomes_of(predictions)
    items = outcomes.items
    columns = {"task": items.tasks, "id": items.ids, "gold": items.golds, "stated": outcomes.stated}
    numbers = {name: getattr(outcomes, name) for name in NUMBERS}
    judged = {"verdict": outcomes.verdicts, "wrong_votes": outcomes.wrong_votes}
    table = pa.table(columns | judged | numbers)
    table = table.replace_schema_metadata({_ITEMS: content_key([items.tasks, items.ids, items.golds])})
    buffer = pa.BufferOutputStream()
    parquet.write_table(table, buffer, compression="zstd")
    write_bytes_atomically(folder / OUTCOMES, buffer.getvalue().to_pybytes())


_known: WeakValueDictionary[bytes, Items] = WeakValueDictionary()


def read_outcomes(stage: FinishedStage) -> Outcomes:
    """The outcomes in a finished evaluation. Raises ArtifactError if the file is not what was written, or was written
    by another version, with other columns."""
    from pyarrow import parquet

    file = parquet.ParquetFile(stage.file(OUTCOMES), read_dictionary=["stated"])
    for name in {"stated", "verdict", "wrong_votes", *NUMBERS}.difference(file.schema_arrow.names):
        remedy = f"delete {stage.path} and run again; only this evaluation is made again"
        raise ArtifactError(f"another version wrote it, without {name}", where=stage.path / OUTCOMES, remedy=remedy)
    key = file.schema_arrow.metadata[_ITEMS]
    if (items := _known.get(key)) is None:
        asked = file.read(columns=["task", "id", "gold"], use_threads=False)
        items = _known[key] = Items(*(tuple(column.to_pylist()) for column in asked.columns))
    table = file.read(columns=["stated", "verdict", "wrong_votes", *NUMBERS], use_threads=False)
    stated, votes = (table[name].combine_chunks() for name in ("stated", "wrong_votes"))
    numbers = {name: table[name].to_numpy() for name in NUMBERS}
    return Outcomes(items, table["verdict"].to_numpy(), stated, wrong_votes=votes, **numbers)


class StoredPredictions(Sequence[Prediction]):
    """The predictions of a finished evaluation, in the order of the questions, each read when it is asked for.

    ``outcomes`` is what became of them, without the texts. Raises ArtifactError for files that are not what was
    written.
    """

    def __init__(self, stage: FinishedStage):
        self._stage, self._file = stage, stage.path / PREDICTIONS
        self._starts = stage.line_starts(PREDICTIONS)

    @cached_property
    def outcomes(self) -> Outcomes:
        return read_outcomes(self._stage)

    def __len__(self) -> int:
        return len(self.outcomes)

    def __iter__(self) -> Iterator[Prediction]:
        return map(Prediction.from_row, read_rows(self._file))

    @overload
    def __getitem__(self, place: int) -> Prediction: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, place: int | slice) -> Prediction | tuple[Prediction, ...]:
        if isinstance(place, slice):
            return tuple(self.at(range(len(self))[place]))
        return self.at([range(len(self))[place]])[0]

    def at(self, places: Iterable[int]) -> list[Prediction]:
        """The predictions at these places, from 0; the file is opened once for all of them."""
        found = []
        with self._file.open(
            "rb", buffering=0
        ) as file:  # lines lie apart: what a buffer read ahead would be thrown away
            for place in places:
                start, end = self._starts[place : place + 2].tolist()
                file.seek(start)
                found.append(Prediction.from_row(json.loads(file.read(end - start))))
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredPredictions):
            return NotImplemented
        return self._stage.checksum(PREDICTIONS) == other._stage.checksum(PREDICTIONS)

    def __hash__(self) -> int:
        return hash(self._stage.checksum(PREDICTIONS))


def predictions_at(predictions: Sequence[Prediction], places: Sequence[int]) -> list[Prediction]:
    """The predictions at these places, from 0; stored ones are read together."""
    if isinstance(predictions, StoredPredictions):
        return predictions.at(places)
    return [predictions[place] for place in places]


def outcomes_of(answers: Answers) -> Outcomes:
    """The outcomes of predictions; those of stored ones are read without the texts."""
    if isinstance(answers, Outcomes):
        return answers
    return answers.outcomes if isinstance(answers, StoredPredictions) else outcomes_in(answers)
