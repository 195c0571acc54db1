"""The built-in benchmarks: each file here is one, named after the file, unless its name begins with an underscore."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cotdistill.config import BENCHMARKS
from cotdistill.records import AnswerType

Row = dict[str, Any]


def own_columns(row: Row) -> Row:
    """A data folder's row may hold a model's rationale, but only a human rationale belongs to the question."""
    return {
        "id": row.get("id"),
        "question": row.get("question"),
        "choices": row.get("choices"),
        "answer": row.get("answer"),
        "rationale": row.get("rationale") if row.get("format") == "human" else None,
    }


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's declaration; its file assigns it to ``BENCHMARK``, with ``module=__name__``.

    Its rows have the columns ``id, question, choices, answer, rationale`` and, if questions differ in them,
    ``subtask``, ``answer_type`` and ``meta``; ``from_file`` makes them from a row of a data folder (None: the folder
    holds the hub's own files), ``from_hub(row, split, index)`` from one of a hub data set, at the commit ``revision``.
    ``shuffled``: the first choice is the right one, and choices are put in another order. ``files`` maps a split to a
    path below the data folder (JSON Lines, or as on the hub), ``sizes`` to its number of questions as released; a
    benchmark without ``train`` is for testing only. A hub data set without ``hub_config`` has one config per subtask if
    the benchmark lists ``subtasks``: its rows then hold the name as ``subtask``. ``num_subtasks`` says how many there
    are, ``faulty`` which ids are known to be wrong.
    """

    module: str
    answer_type: AnswerType
    files: dict[str, str]
    sizes: dict[str, int]
    hub: str
    from_hub: Callable[[Row, str, int], Row]
    hub_config: str | None = None
    hub_splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    from_file: Callable[[Row], Row] | None = own_columns
    revision: str | None = None
    shuffled: bool = False
    subtasks: tuple[str, ...] = ()
    num_subtasks: int = 1
    faulty: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        """The name of its file, which is the benchmark's name."""
        return self.module.rpartition(".")[2]


def benchmark(name: str) -> Benchmark:
    """The declaration in the benchmark's own file; ``name`` is one of ``BENCHMARKS``."""
    assert name in BENCHMARKS, "the config refuses other names"
    return importlib.import_module(f"{__name__}.{name}").BENCHMARK
