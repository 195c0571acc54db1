"""What a benchmark file declares: where its questions lie and how their answers are read."""

from __future__ import annotations

from dataclasses import dataclass, field

from cotdistill.records import AnswerType


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark's declaration. ``files`` maps a split to a path under ``data_dir``; ``hub`` to a hub data set.

    ``columns`` maps our column names to the hub's.
    """

    name: str
    answer_type: AnswerType
    files: dict[str, str]
    hub: str
    hub_config: str | None = None
    hub_splits: dict[str, str] = field(default_factory=lambda: {"train": "train", "test": "test"})
    columns: dict[str, str] = field(default_factory=dict)
