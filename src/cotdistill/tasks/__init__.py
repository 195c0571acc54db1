"""Tasks: where questions come from, how they are asked, and how answers are judged. Loads no model library."""

from __future__ import annotations

from cotdistill.config import BenchmarkTask, FileTask, ProceduralTask
from cotdistill.tasks.benchmarks import benchmark
from cotdistill.tasks.load_benchmark import load_benchmark
from cotdistill.tasks.task import Task

__all__ = ["Task", "load_task"]


def load_task(config: BenchmarkTask | FileTask | ProceduralTask) -> Task:
    """The questions that ``config`` describes.

    A benchmark comes from ``data_dir`` (or $COTDISTILL_DATA) or from the hub, a file task from the user's own files, a
    procedural one from its generators. Raises DataError, in one line, for data that is missing or malformed.
    """
    if isinstance(config, BenchmarkTask):
        return load_benchmark(benchmark(config.name), config)
    if isinstance(config, FileTask):
        from cotdistill.tasks.files import load_files

        return load_files(config)
    from cotdistill.tasks.procedural import generate

    train, test = generate(config)
    return Task(config.name, tuple(train), tuple(test))
