"""Tasks: where questions come from, how they are asked, and how answers are judged. Loads no model library."""

from __future__ import annotations

from cotdistill.config import BenchmarkTask, FileTask, ProceduralTask
from cotdistill.tasks import aqua, arc, bbh, commonsenseqa, competition_math, gsm8k, mmlu, openbookqa, strategyqa, svamp
from cotdistill.tasks.benchmark import Benchmark, load_benchmark
from cotdistill.tasks.task import Task

__all__ = ["BENCHMARKS", "Task", "load_task"]

BENCHMARKS: dict[str, Benchmark] = {
    benchmark.name: benchmark
    for benchmark in (
        svamp.BENCHMARK,
        gsm8k.BENCHMARK,
        competition_math.BENCHMARK,
        aqua.BENCHMARK,
        commonsenseqa.BENCHMARK,
        openbookqa.BENCHMARK,
        strategyqa.BENCHMARK,
        arc.CHALLENGE,
        arc.EASY,
        mmlu.BENCHMARK,
        bbh.BENCHMARK,
    )
}


def load_task(config: BenchmarkTask | FileTask | ProceduralTask) -> Task:
    """The questions that ``config`` describes.

    A benchmark comes from ``data_dir`` (or $COTDISTILL_DATA) or from the hub, a file task from the user's own files, a
    procedural one from its generators. Raises DataError, in one line, for data that is missing or malformed.
    """
    if isinstance(config, BenchmarkTask):
        return load_benchmark(BENCHMARKS[config.name], config)
    if isinstance(config, FileTask):
        from cotdistill.tasks.files import load_files

        return load_files(config)
    from cotdistill.tasks.procedural import generate

    train, test = generate(config)
    return Task(config.name, tuple(train), tuple(test))
