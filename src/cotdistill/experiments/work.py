"""How cells are made: in which folder, up to which verb, with which other processes, and who is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cotdistill.config import AnyTask
from cotdistill.storage.hashes import canonical_json
from cotdistill.storage.stages import note
from cotdistill.tasks import Task, load_task
from cotdistill.tasks.stored import stored_task

if TYPE_CHECKING:
    from cotdistill.training.distributed import Ranks

Say = Callable[[str], None]
LoadTask = Callable[[AnyTask], Task]
Until = Literal["annotate", "capture", "train", "evaluate"]
"""The verb after which a run stops."""


@dataclass(frozen=True, slots=True)
class Work:
    """What making a cell takes besides the cell: the folder of all stages, the verb to stop after, who is told.

    ``ranks`` are the processes that train together; None where this one is alone. What only plans ``writes`` nothing.
    """

    runs: Path
    say: Say
    until: Until = "evaluate"
    ranks: Ranks | None = None
    writes: bool = True
    _loaded: dict[str, Task] = field(default_factory=dict, repr=False)

    def load(self, config: AnyTask) -> Task:
        """A task; cells share loaded tasks, and what a task drops is said once."""
        key = canonical_json(config.model_dump(mode="json"))
        if key not in self._loaded:
            task = self._loaded[key] = stored_task(config, self.runs) if self.writes else load_task(config)
            if task.dropped:
                self.say(f"{task.name}: dropped from the questions: {reasons(task.dropped)}")
        if (folder := self._loaded[key].path) is not None:
            note(folder)
        return self._loaded[key]


def reasons(dropped: dict[str, int]) -> str:
    """Counts by reason in words."""
    return ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in dropped.items())
