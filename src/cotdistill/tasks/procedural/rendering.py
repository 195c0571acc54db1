"""Rationales from solutions: which facts a granularity shows, and how a format words them.

What each granularity adds to the one before it is in the table of ``cotdistill/granularities.py``.
``cot`` states the steps, ``least_to_most`` asks a sub-question before each, ``rar`` restates the question first, and
``symbolic`` writes formulas. One statement stands on one line; the last line ends in the answer.
"""

from __future__ import annotations

from cotdistill.errors import ConfigError
from cotdistill.granularities import COARSEST, FINEST, GRANULARITIES
from cotdistill.records import Format
from cotdistill.tasks.procedural.problem import Solution, Step, Wording

RATIONALE_FORMATS: tuple[Format, ...] = ("cot", "least_to_most", "rar", "symbolic")


def check_written(granularity: int | None, format: Format) -> int:
    """The granularity. Raises ConfigError for one, or a format, that nobody can be asked to write."""
    if granularity is None or granularity not in GRANULARITIES or format not in RATIONALE_FORMATS:
        problem = f"no rationale is written in format {format} at granularity {granularity}"
        formats = ", ".join(RATIONALE_FORMATS)
        raise ConfigError(problem, remedy=f"set a granularity from {COARSEST} to {FINEST} and one of {formats}")
    return granularity


def render(solution: Solution, granularity: int, format: Format) -> str:
    """The rationale of ``solution``, at a granularity and in a format that :func:`check_written` accepts."""
    lines = []
    if granularity >= 6 or format == "rar":
        lines.append(solution.restated)
    if granularity >= 5:
        lines.append(solution.plan)
    if granularity == 2:
        lines.append(_worded(solution.sketch, format))
    if granularity >= 3:
        lines.append(_worded(solution.start, format))
        for step in solution.steps:
            lines.append(_step_line(step, granularity, format))
            if granularity >= 6:
                lines.append(f"Check: {step.check}")
    if granularity >= 6:
        lines.append(f"Check: {solution.check}")
    lines.append(_closing(solution, format))
    return "\n".join(lines)


def _worded(wording: Wording, format: Format) -> str:
    return wording.symbols if format == "symbolic" else wording.words


def _step_line(step: Step, granularity: int, format: Format) -> str:
    """What leads to the result comes before it, so that a model that writes from left to right can use it."""
    parts = []
    if format == "least_to_most":
        parts.append(step.question)
    if granularity >= 6:
        parts.append(step.given)
    if granularity >= 5:
        parts.append(step.reason)
    if format == "symbolic":
        parts.append(f"{step.working} => {step.symbols}" if granularity >= 4 else step.symbols)
    elif granularity >= 4:
        parts.append(f"{step.action}: {step.working}, so {step.result}")
    else:
        parts.append(f"{step.action}: {step.result}")
    return " ".join(parts)


def _closing(solution: Solution, format: Format) -> str:
    if format == "symbolic":
        return f"{solution.conclusion.symbols} => {solution.answer}"
    question = f"{solution.question} " if format == "least_to_most" else ""
    return f"{question}{solution.conclusion.words}: {solution.answer}"
