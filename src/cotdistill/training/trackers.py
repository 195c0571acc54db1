"""The trackers' own ways to take numbers. Nothing here loads torch; secrets come from the trackers' own variables."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cotdistill.config import Tracker


@dataclass(frozen=True, slots=True)
class Run:
    """A training as a tracker sees it: its name, where trackers write, and its settings."""

    name: str
    place: Path
    settings: dict[str, Any]


class Writer(Protocol):
    """An open run of a tracker. What was logged before :meth:`flush` outlives this process."""

    def log(self, values: Mapping[str, float], step: int) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class _TensorBoard:
    """Events in ``place/tensorboard/NAME``."""

    def __init__(self, run: Run):
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._events: Any = event_pb2
        self._summaries: Any = summary_pb2
        self._file = EventFileWriter(str(run.place / "tensorboard" / run.name))
        self.flush, self.close = self._file.flush, self._file.close

    def log(self, values: Mapping[str, float], step: int) -> None:
        Summary, Event = self._summaries.Summary, self._events.Event
        summary = Summary(value=[Summary.Value(tag=name, simple_value=x) for name, x in values.items()])
        self._file.add_event(Event(wall_time=time.time(), step=step, summary=summary))


class _Wandb:
    """``WANDB_MODE``, ``WANDB_API_KEY``, ``WANDB_PROJECT`` and others work as always; files are in ``place/wandb``."""

    def __init__(self, run: Run):
        import wandb

        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "cotdistill"),
            id=run.name,
            name=run.name,
            resume="allow",
            dir=str(run.place),
            config=run.settings,
            settings=wandb.Settings(console="off", silent=True),
        )
        self.close = self._run.finish

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """It hands each row to a process of its own at once."""


class _Trackio:
    """``TRACKIO_DIR``, ``TRACKIO_SPACE_ID`` and others work as always; it writes to its local store by default."""

    def __init__(self, run: Run):
        import trackio

        project = os.environ.get("TRACKIO_PROJECT", "cotdistill")
        alone: Any = {"embed": False, "auto_log_gpu": False, "auto_log_cpu": False}
        self._run: Any = trackio.init(project, name=run.name, resume="allow", config=run.settings, **alone)
        self.close = self._run.finish

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def flush(self) -> None:
        """It stores rows twice a second."""


WRITERS: dict[Tracker, Callable[[Run], Writer]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "trackio": _Trackio,
}
