"""Records in a JSON Lines file, read when they are asked for and never held together."""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate, chain
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

from cotdistill.storage.hashes import content_key_of


class Record(Protocol):
    """What a row is read as."""

    def to_row(self) -> dict[str, Any]: ...


Kind_co = TypeVar("Kind_co", bound=Record, covariant=True)


class StoredRecords(Sequence[Kind_co]):
    """The records of a file that we wrote, a row each. ``key`` is :func:`content_of` them, ``number`` how many there
    are, where these are known."""

    def __init__(
        self, path: Path, read: Callable[[dict[str, Any]], Kind_co], key: str | None = None, number: int | None = None
    ):
        self.path, self._read, self._key, self._number = path, read, key, number
        self._places: array[int] | None = None

    def __iter__(self) -> Iterator[Kind_co]:
        with self.path.open("rb") as lines:
            yield from map(self._read, map(json.loads, lines))

    def __len__(self) -> int:
        return len(self._lines()) - 1 if self._number is None else self._number

    @overload
    def __getitem__(self, index: int) -> Kind_co: ...

    @overload
    def __getitem__(self, index: slice) -> list[Kind_co]: ...

    def __getitem__(self, index: int | slice) -> Kind_co | list[Kind_co]:
        chosen = range(len(self))[index]
        with self.path.open("rb") as file:

            def record(place: int) -> Kind_co:
                file.seek(self._lines()[place])
                return self._read(json.loads(file.readline()))

            return record(chosen) if isinstance(chosen, int) else list(map(record, chosen))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StoredRecords) and (self.path == other.path or self.key == other.key)

    __hash__ = None  # pyright: ignore[reportAssignmentType]

    @property
    def key(self) -> str:
        if self._key is None:
            self._key = content_key_of(record.to_row() for record in self)
        return self._key

    def _lines(self) -> array[int]:
        """The byte at which each line begins, and that behind the last."""
        if self._places is None:
            with self.path.open("rb") as lines:
                self._places = array("q", accumulate(map(len, lines), initial=0))
        return self._places


class Without(Sequence[Kind_co]):
    """Records in their order, without those at some places, which are not held either."""

    def __init__(self, records: Sequence[Kind_co], left_out: Collection[int]):
        self._records, self._left_out = records, left_out
        self._kept: Sequence[int] | None = None

    def __iter__(self) -> Iterator[Kind_co]:
        return (record for place, record in enumerate(self._records) if place not in self._left_out)

    def __len__(self) -> int:
        return len(self._records) - len(self._left_out)

    @overload
    def __getitem__(self, index: int) -> Kind_co: ...

    @overload
    def __getitem__(self, index: slice) -> list[Kind_co]: ...

    def __getitem__(self, index: int | slice) -> Kind_co | list[Kind_co]:
        if self._kept is None:
            self._kept = array("q", (place for place in range(len(self._records)) if place not in self._left_out))
        if isinstance(index, slice):
            return [self._records[place] for place in self._kept[index]]
        return self._records[self._kept[index]]


def joined(parts: Sequence[Sequence[Kind_co]]) -> Sequence[Kind_co]:
    """The records of all ``parts``; those of a single one as they are, which may be on disk."""
    return parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))


def content_of(records: Sequence[Record]) -> str:
    """The key of the records' rows, as a list."""
    return records.key if isinstance(records, StoredRecords) else content_key_of(one.to_row() for one in records)
