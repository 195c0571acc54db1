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
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "api": ("annotate", "compare", "evaluate", "load_task", "plan", "run", "train"),
    "config": (
        "AlphaBeta",
        "AnswerOnlyTeacher",
        "CachedTeacher",
        "CrossEntropy",
        "DatasetTeacher",
        "ForwardKL",
        "HiddenCosine",
        "HiddenMSE",
        "HumanTeacher",
        "JensenShannon",
        "LiveTeacher",
        "ModelConfig",
        "OnPolicy",
        "OpenAITeacher",
        "ProceduralTeacher",
        "ReverseKL",
        "SkewForwardKL",
        "SkewReverseKL",
        "TotalVariation",
        "TransformersTeacher",
        "VLLMTeacher",
    ),
    "errors": ("CotDistillError",),
    "evaluation.statistics.power": ("compare_over_tasks", "items_needed", "power", "seeds_needed"),
    "records": ("Prediction", "Question", "Rationale", "Score"),
}

__all__ = sorted(name for names in _HOMES.values() for name in names)  # pyright: ignore[reportUnsupportedDunderAll]

if TYPE_CHECKING:
    from cotdistill.api import annotate, compare, evaluate, load_task, plan, run, train
    from cotdistill.config import (
        AlphaBeta,
        AnswerOnlyTeacher,
        CachedTeacher,
        CrossEntropy,
        DatasetTeacher,
        ForwardKL,
        HiddenCosine,
        HiddenMSE,
        HumanTeacher,
        JensenShannon,
        LiveTeacher,
        ModelConfig,
        OnPolicy,
        OpenAITeacher,
        ProceduralTeacher,
        ReverseKL,
        SkewForwardKL,
        SkewReverseKL,
        TotalVariation,
        TransformersTeacher,
        VLLMTeacher,
    )
    from cotdistill.errors import CotDistillError
    from cotdistill.evaluation.statistics.power import compare_over_tasks, items_needed, power, seeds_needed
    from cotdistill.records import Prediction, Question, Rationale, Score


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"cotdistill.{module}"), name)
    raise AttributeError(f"module 'cotdistill' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
