"""What became of each question, without texts: columns that statistics and reports run on. Loads no torch.

They take some twenty bytes a prediction. Cells of an experiment answer the same questions, which are kept once for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from cotdistill.records import VERDICTS, Prediction, Tally

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

NUMBERS = (
    "num_prompt_tokens",
    "num_output_tokens",
    "num_reasoning_tokens",
    "num_unclosed",
    "num_samples",
    "num_correct",
)
"""The columns of outcomes that are counts."""

Item = tuple[str, str]
"""A question's task and id."""


@dataclass(frozen=True)
class Items:
    """The questions that were asked, in order: the task, id and gold answer of each."""

    tasks: tuple[str, ...]
    ids: tuple[str, ...]
    golds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def places(self) -> dict[Item, int]:
        """Where each item is; of a repeated one, where it is last."""
        return {item: place for place, item in enumerate(zip(self.tasks, self.ids, strict=True))}

    @cached_property
    def repeated(self) -> Item | None:
        """The first item that occurs a second time, if one does."""
        if len(self.places) == len(self):
            return None
        seen: set[Item] = set()
        return next(item for item in zip(self.tasks, self.ids, strict=True) if item in seen or seen.add(item))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the tasks, sorted."""
        return tuple(sorted(set(self.tasks)))

    @cached_property
    def task_numbers(self) -> np.ndarray:
        """The place of each item's task in ``names``, [items]."""
        import numpy as np

        numbers = {name: number for number, name in enumerate(self.names)}
        return np.array([numbers[task] for task in self.tasks], dtype=np.int64)

    @cached_property
    def by_task(self) -> dict[str, tuple[np.ndarray, Items]]:
        """The places and the items of each task, by name."""
        import numpy as np

        places = {name: np.flatnonzero(self.task_numbers == number) for number, name in enumerate(self.names)}
        return {name: (found, self._at(found.tolist())) for name, found in places.items()}

    def _at(self, places: Sequence[int]) -> Items:
        return Items(*(tuple(column[place] for place in places) for column in (self.tasks, self.ids, self.golds)))


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What became of each of ``items``; all arrays are [items].

    ``verdicts`` are places in ``records.VERDICTS``; ``stated`` is the answer that was read, or None.
    ``num_reasoning_tokens`` is -1 where it is not known, and ``num_unclosed`` samples end within a thought. Of several
    samples ``num_correct`` are correct, and ``wrong_votes`` are those of a ``Tally``; of one sample they are None.
    """

    items: Items
    verdicts: np.ndarray
    stated: pa.Array
    num_prompt_tokens: np.ndarray
    num_output_tokens: np.ndarray
    num_reasoning_tokens: np.ndarray
    num_unclosed: np.ndarray
    num_samples: np.ndarray
    num_correct: np.ndarray
    wrong_votes: pa.Array

    def __len__(self) -> int:
        return len(self.items)

    @property
    def correct(self) -> np.ndarray:
        """Whether each item's prediction is correct."""
        return self.verdicts == VERDICTS.index("correct")

    def of_task(self, task: str) -> Outcomes:
        """The outcomes of one task; none if it was not asked."""
        import numpy as np
        import pyarrow as pa

        if self.items.names == (task,):
            return self
        places, items = self.items.by_task.get(task, (np.zeros(0, dtype=np.int64), Items((), (), ())))
        chosen = {name: getattr(self, name)[places] for name in ("verdicts", *NUMBERS)}
        stated, votes = (column.take(pa.array(places)) for column in (self.stated, self.wrong_votes))
        return replace(self, items=items, stated=stated, wrong_votes=votes, **chosen)

    def tallies(self) -> Iterator[Tally]:
        """How the samples of each item are judged."""
        votes = self.wrong_votes.to_pylist()
        counts = zip(self.num_samples.tolist(), self.num_correct.tolist(), self.verdicts.tolist(), votes, strict=True)
        for num_samples, num_correct, verdict, wrong in counts:
            one = (1,) if VERDICTS[verdict] == "wrong" else ()
            yield Tally(num_samples, num_correct, one if wrong is None else tuple(wrong))


def outcomes_in(predictions: Sequence[Prediction]) -> Outcomes:
    """The outcomes of predictions in memory."""
    import numpy as np
    import pyarrow as pa

    def column(values: Iterable[int]) -> np.ndarray:
        return np.fromiter(values, dtype=np.int32, count=len(predictions))

    items = (tuple(_escaped(getattr(one, name)) for one in predictions) for name in ("task", "id", "answer"))
    stated = [None if one.extracted is None else _escaped(one.extracted) for one in predictions]
    return Outcomes(
        Items(*items),
        column(VERDICTS.index(one.verdict) for one in predictions).astype(np.uint8),
        pa.array(stated, pa.string()).dictionary_encode(),
        column(one.num_prompt_tokens for one in predictions),
        column(one.num_output_tokens for one in predictions),
        column(-1 if one.num_reasoning_tokens is None else one.num_reasoning_tokens for one in predictions),
        column(one.num_unclosed for one in predictions),
        column(one.tally.num_samples for one in predictions),
        column(one.tally.num_correct for one in predictions),
        pa.array([one.samples and list(one.samples.wrong_votes) for one in predictions], pa.list_(pa.int32())),
    )


def _escaped(text: str) -> str:
    """Half a character, which a server may send, has no place in a column of text."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
