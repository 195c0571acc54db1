"""Distil chain-of-thought reasoning from large language models into small ones, and prove what worked.

    import cotdistill as cot
    task = cot.load_task("procedural")
    rationales = cot.annotate(task.train, "procedural", granularity=3)
    student = cot.train("builtin:nano-student", rationales, loss=[cot.ForwardKL()],
                        signal=cot.LiveTeacher(model="builtin:nano-teacher"))
    score = cot.evaluate(student, task.test)

Names load when they are first used, so that importing the package stays cheap.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING, Any

from cotdistill.version import __version__ as __version__

_HOMES = ("api", "config", "errors", "evaluation.statistics.over_tasks", "evaluation.statistics.power", "records")
"""Modules whose ``__all__`` are the public names."""

if TYPE_CHECKING:
    from cotdistill.api import *
    from cotdistill.config import *
    from cotdistill.errors import *
    from cotdistill.evaluation.statistics.over_tasks import *
    from cotdistill.evaluation.statistics.power import *
    from cotdistill.records import *


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return sorted(public for home in _HOMES for public in _module(home).__all__)
    if not name.startswith("_"):
        for home in map(_module, _HOMES):
            if name in home.__all__:
                return getattr(home, name)
    raise AttributeError(f"module 'cotdistill' has no attribute {name!r}")


def _module(home: str) -> ModuleType:
    return importlib.import_module(f"cotdistill.{home}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__getattr__("__all__")})
