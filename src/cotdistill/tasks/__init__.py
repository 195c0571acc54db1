"""Tasks: where questions come from, how they are asked, and how answers are judged. Does not load a model library."""

from __future__ import annotations

from cotdistill.config import AnyTask, BenchmarkTask, OwnQuestions
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.tasks.load_benchmark import load_benchmark
from cotdistill.tasks.task import Task

__all__ = ["Task", "load_task"]


def load_task(config: AnyTask) -> Task:
    """The questions that ``config`` describes.

    A benchmark comes from ``data_dir`` (or $COTDISTILL_DATA) or from the hub, the user's own questions from files or
    the hub, procedural ones from their generators. Raises DataError, in one line, for data that is missing or
    malformed.
    """
    if isinstance(config, BenchmarkTask):
        return load_benchmark(benchmark(config.name), config)
    if isinstance(config, OwnQuestions):
        from cotdistill.tasks.files import load_own

        return load_own(config)
    from cotdistill.tasks.procedural import generate

    train, test = generate(config)
    return Task(config.name, tuple(train), tuple(test))
