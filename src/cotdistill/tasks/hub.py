"""Splits of a hub data set, or of a folder that the datasets library can read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from cotdistill.config import HubTask
from cotdistill.errors import DataError

Row = dict[str, Any]


def read_split(config: HubTask, side: Literal["train", "test"]) -> Iterator[tuple[str, Row]]:
    """``(place, row)`` of the split that ``config`` names for training or for the test; labels are given by name.

    Raises DataError if it cannot be loaded.
    """
    split = config.train if side == "train" else config.test
    assert split is not None, "only what the config names is read"
    remedy = "check its name, subset, splits (test: null holds out a share of train) and the connection"
    rows = load_split(config.hub, config.subset, split, revision=config.revision, where="task.hub", remedy=remedy)
    labels = {name: feature for name, feature in rows.features.items() if type(feature).__name__ == "ClassLabel"}
    for index, row in enumerate(rows):
        named = {name: feature.int2str(row[name]) for name, feature in labels.items() if (row[name] or 0) >= 0}
        yield f"{config.hub}, {split} row {index}", {**row, **named}


def load_split(
    hub: str, subset: str | None, split: str, *, revision: str | None = None, where: str, remedy: str
) -> Any:
    """A split as ``datasets`` returns it. Raises DataError, with ``remedy``, if it cannot be loaded."""
    try:
        import datasets
    except ImportError:
        problem, remedy = (
            "reading from the hub needs the package datasets",
            f"pip install 'cotdistill[data]', or {remedy}",
        )
        raise DataError(problem, where=where, remedy=remedy) from None
    try:
        return datasets.load_dataset(hub, subset, split=split, revision=revision)
    except Exception as error:  # network, hub and cache fail in many ways, none of which is ours
        problem = f"cannot load {hub} from the hub ({' '.join(str(error).split())})"
        raise DataError(problem, where=where, remedy=remedy) from None
