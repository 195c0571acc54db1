"""One cell of the sweep: a family and a feature, and how it went."""

from __future__ import annotations

import logging
import shutil
import tempfile
import traceback
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext, redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tests.sweep.subject import Subject, no_noise

from cotdistill.errors import CotDistillError

Result = Literal["ok", "refused", "WRONG", "CRASH"]
Feature = Callable[[Subject], tuple[bool, dict[str, Any]]]
"""Whether the subject did what it should, and the numbers that say so. Raises CotDistillError if it is refused."""

FEATURES: dict[str, Feature] = {}


class Cell(NamedTuple):
    """``detail`` is the line of a refusal, and what was measured otherwise."""

    family: str
    feature: str
    result: Result
    detail: str


def feature(check: Feature) -> Feature:
    FEATURES[check.__name__] = check
    return check


NOISY = ("noise", "checkpointing")
"""Features that are tried with the noise that a family draws in training mode; all others are tried without."""


def feature_names() -> list[str]:
    from tests.sweep import generation, training  # noqa: F401 (they register features)

    return list(FEATURES)


def cells(family: str, features: Collection[str]) -> Iterator[Cell]:
    """Try the features on a family made anew, in their order."""
    wanted = [name for name in feature_names() if name in features]
    folder = Path(tempfile.mkdtemp(prefix="families-"))
    logging.disable(logging.WARNING)
    try:
        subject = Subject(family, folder)
        for name in wanted:
            result, detail = _tried(FEATURES[name], subject)
            yield Cell(family, name, result, detail.replace(f"{folder}/", ""))
    finally:
        logging.disable(logging.NOTSET)
        shutil.rmtree(folder)


def _tried(check: Feature, subject: Subject) -> tuple[Result, str]:
    quiet = subject.draws_noise and check.__name__ not in NOISY
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()), no_noise() if quiet else nullcontext():
            right, measured = check(subject)
    except CotDistillError as error:
        return "refused", str(error)
    except Exception as error:
        frames = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)[-4:]]
        return "CRASH", f"{type(error).__name__}: {str(error)[:300]} ({' > '.join(frames)})"
    return "ok" if right else "WRONG", ", ".join(f"{name} {_short(value)}" for name, value in measured.items())


def _short(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
