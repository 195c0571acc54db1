"""How time and memory grow with the number of rows: processor seconds and peak megabytes of one process each.

    .venv/bin/python benchmarks/scale.py --json                       # small sizes, a few minutes
    .venv/bin/python benchmarks/scale.py --json --full --only first_step,second_arm
    .venv/bin/python benchmarks/scale.py --json --only first_step --sizes 1840000    # CoT-Collection, whole

One JSON line a measurement, then one a row of the table with its growth: the exponent p of ``cost = a + b * size ** p``
through its three sizes, which have one ratio, so that what a process costs anyway (``a``) cancels. A new row is one
function of a size and a folder of its own, which is the same for all rows of that size, in ``MEASURES``. Sizes are rows
to train on, examples of a batch, answers in a log, or cells of an experiment.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import fabricated

EXPERIMENT = """
task: {train: ROWS, num_test: 40, test_share: 0.01}
teacher: human
student: builtin:nano-student
training: {epochs: 0.000001, batch_size: 4, max_length: 4096}
arms: {first: {training.learning_rate: 1.0e-5}, second: {training.learning_rate: 2.0e-5}}
"""
"""A training of one step on each row's question and rationale of about 250 tokens."""

FOUR_ARMS = """
task: {train: ROWS, num_test: 40, test_share: 0.01}
teacher: human
student: builtin:nano-student
training: {epochs: 0.000001, batch_size: 4, max_length: 4096}
arms:
  one: {evaluation.max_new_tokens: 4}
  two: {evaluation.max_new_tokens: 5}
  three: {evaluation.max_new_tokens: 6}
  four: {evaluation.max_new_tokens: 7}
"""

NUM_QUESTIONS = 6_511
"""Of each cell of a made-up experiment, as BBH has."""

NUM_TEXTS = 2000
"""Different texts of which rows are mixed."""

COLLATE = """
import sys, time
from cotdistill.config import ModelConfig
from cotdistill.models.load.loading import load_tokenizer
from cotdistill.records import Question, Rationale
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import make_examples
rows = int(sys.argv[1])
texts = ["%d %s" % (number, "one step and then the next " * 48) for number in range(rows)]
rationales = [Rationale(Question(str(n), "own", "train", "How?", "7", "number"), t, "human", None, "human")
              for n, t in enumerate(texts)]
tokenizer = load_tokenizer(ModelConfig(model="builtin:nano-student"))
examples, _ = make_examples(rationales, tokenizer, max_length=4096, too_long="error")
taken = range(rows)
best = float("inf")
for _ in range(50):
    started = time.process_time()
    collate([examples[number] for number in taken])
    best = min(best, time.process_time() - started)
print(best)
"""

LOG = """
import sys
from pathlib import Path
from cotdistill.engines.asking import CompletionLog
with CompletionLog(Path(sys.argv[1])) as log:
    log.num_tokens()
"""


START = """
import sys, time
from pathlib import Path
from cotdistill.config import load_experiment
from cotdistill.experiments.handing import hand, handed
from cotdistill.experiments.make import make_cell
from cotdistill.experiments.plan import plan
from cotdistill.experiments.shared import Queue, sharers_apart, unfinished_stages
from cotdistill.experiments.work import Work
from cotdistill.storage.stages import noting_stages
import cotdistill.training.stage, cotdistill.evaluation.evaluate

class Reached(Exception):
    pass

def reach(stage):
    if stage.parent.name != "questions":
        raise Reached

planned = plan(load_experiment(Path(sys.argv[1])))
cells = list(planned.distinct)
needs = unfinished_stages(cells, cells, planned)
queue = Queue(sharers_apart(cells, needs), needs)
parent, worker = [], []
for number in range(min(24, len(cells))):
    started = time.process_time()
    cell = queue.next()
    text = hand(cell, planned)
    parent.append(time.process_time() - started)
    queue.ended(cell, made=False)
    if cell.untrained:
        continue
    started = time.process_time()
    try:
        with noting_stages(reach):
            make_cell(*handed(text), Work(Path(sys.argv[1]).parent / "none", print))
    except Reached:
        worker.append(time.process_time() - started)
print(sorted(parent)[len(parent) // 2], sorted(worker)[len(worker) // 2])
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds, and peak memory in megabytes (None where it is not the point)."""

    seconds: float
    megabytes: float | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A row of the table: what is measured, and its three sizes in one ratio, small and as large as it must be."""

    cost: Callable[[int, Path], Cost]
    small: tuple[int, int, int]
    full: tuple[int, int, int]


def first_step(size: int, folder: Path) -> Cost:
    """``cotdistill train`` up to the first step on this many rows, and its end."""
    return train(folder, "first", rows_of(size, folder))


def second_arm(size: int, folder: Path) -> Cost:
    """Another arm on the same rows; a seed, a resume or a rank costs the same."""
    rows = rows_of(size, folder)
    if not (folder / "runs").exists():
        train(folder, "first", rows)
    return train(folder, "second", rows)


def collated(size: int, folder: Path) -> Cost:
    """One padded batch of this many examples."""
    return Cost(float(python(COLLATE, str(size))[1]))


def log_opened(size: int, folder: Path) -> Cost:
    """A log of this many answers of 64 KB."""
    from cotdistill.engines.engine import Completion
    from cotdistill.storage.jsonl import dump_row

    path = folder / "completions.jsonl"
    with path.open("w", encoding="utf-8") as log:
        for number in range(size):
            text = f"{number} ".ljust(64_000, "x")
            log.write(dump_row(Completion(f"{number:016x}", "q", 0, text, None, "stop", 9, 9).to_row()) + "\n")
    cost = python(LOG, str(path))[0]
    path.unlink()
    return cost


def read_again(size: int, folder: Path) -> Cost:
    """``cotdistill run`` of four finished arms on this many rows."""
    file = folder / "four.yaml"
    file.write_text(FOUR_ARMS.replace("ROWS", str(rows_of(size, folder))), encoding="utf-8")
    command = ["-m", "cotdistill", "run", str(file), "--runs", str(folder / "runs")]
    process(command)
    return process(command)[0]


def reported(size: int, folder: Path) -> Cost:
    """``cotdistill report`` of an experiment of this many cells."""
    file, _ = many_cells(size, folder)
    return process(["-m", "cotdistill", "report", str(file), "--runs", str(folder / "many")])[0]


def only_one(size: int, folder: Path) -> Cost:
    """``cotdistill run --only`` of a done cell of such an experiment."""
    file, cell = many_cells(size, folder)
    return process(["-m", "cotdistill", "run", str(file), "--only", cell, "--runs", str(folder / "many")])[0]


def cell_chosen(size: int, folder: Path) -> Cost:
    """Choosing and handing over one cell of this many, in the process that starts workers."""
    return Cost(float(python(START, str(fabricated.experiment(size, folder)))[1].split()[0]))


def cell_begun(size: int, folder: Path) -> Cost:
    """What its worker reads until it opens the stage of its rationales, once the first has made the questions'."""
    return Cost(float(python(START, str(fabricated.experiment(size, folder)))[1].split()[1]))


def many_cells(size: int, folder: Path) -> tuple[Path, str]:
    """The file of a finished experiment of this many cells, and the id of one that is trained."""
    file = fabricated.experiment(size, folder)
    if not (folder / "many").exists():
        fabricated.finished(file, folder / "many", NUM_QUESTIONS)
    states = sorted((folder / "many" / file.stem / "cells").glob("*.json"))
    return file, next(state.stem for state in states if "training" in json.loads(state.read_text())["stages"])


MEASURES = {
    "first_step": Measure(first_step, (2_000, 4_000, 8_000), (25_000, 50_000, 100_000)),
    "second_arm": Measure(second_arm, (2_000, 4_000, 8_000), (25_000, 50_000, 100_000)),
    "collate": Measure(collated, (8, 16, 32), (8, 16, 32)),
    "log_opened": Measure(log_opened, (250, 500, 1_000), (2_500, 5_000, 10_000)),
    "read_again": Measure(read_again, (2_000, 4_000, 8_000), (25_000, 50_000, 100_000)),
    "report": Measure(reported, (10, 20, 40), (250, 500, 1_000)),
    "only": Measure(only_one, (10, 20, 40), (250, 500, 1_000)),
    "cell_chosen": Measure(cell_chosen, (500, 1_000, 2_000), (500, 1_000, 2_000)),
    "cell_begun": Measure(cell_begun, (500, 1_000, 2_000), (500, 1_000, 2_000)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"rows by name, with commas: {', '.join(MEASURES)}")
    parser.add_argument("--full", action="store_true", help="as large as it must be: hours, 20 GB of disk")
    parser.add_argument("--sizes", type=int, nargs="+", help="one size, or three in one ratio, instead")
    parser.add_argument("--json", action="store_true", help="the default: JSON lines")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(MEASURES)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            measure = MEASURES[name]
            sizes = options.sizes or (measure.full if options.full else measure.small)
            for row in measured(name, measure, sizes, Path(folder)):
                print(json.dumps(row), flush=True)


def measured(name: str, measure: Measure, sizes: Sequence[int], folder: Path) -> Iterator[dict[str, object]]:
    costs: list[Cost] = []
    for size in sizes:
        own = folder / str(size)
        own.mkdir(exist_ok=True)
        cost = measure.cost(size, own)
        costs.append(cost)
        yield {"row": name, "size": size, "seconds": cost.seconds, "megabytes": cost.megabytes}
    if len(sizes) != 3:
        return
    ratio = sizes[1] / sizes[0]
    growth = {"seconds": exponent([cost.seconds for cost in costs], ratio)}
    if all(cost.megabytes is not None for cost in costs):
        growth["megabytes"] = exponent([cost.megabytes or 0.0 for cost in costs], ratio)
    yield {"row": name, "growth": growth}


def exponent(costs: list[float], ratio: float) -> float | None:
    """The p of ``a + b * size ** p``; None where costs do not grow, or less than they vary."""
    low, high = costs[1] - costs[0], costs[2] - costs[1]
    return round(math.log(high / low, ratio), 2) if low > 0 and high > 0 else None


def train(folder: Path, arm: str, rows: Path) -> Cost:
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT.replace("ROWS", str(rows)), encoding="utf-8")
    command = ["-m", "cotdistill", "train", str(file), "--arm", arm, "--runs", str(folder / "runs")]
    return process(command)[0]


def rows_of(size: int, folder: Path) -> Path:
    """A file of questions with rationales, as long as CoT-Collection's: several of our own problems mixed in each."""
    path = folder / "rows.jsonl"
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in mixed(size))
    return path


def mixed(size: int) -> Iterator[dict[str, str]]:
    import random

    from cotdistill.config import ProceduralTask
    from cotdistill.tasks.procedural import generate, write_rationale

    texts = [(q.question, write_rationale(q, 2, "cot")) for q in generate(ProceduralTask(num_train=NUM_TEXTS))[0]]
    drawn = random.Random(0)
    for number in range(size):
        questions, rationales = zip(*drawn.choices(texts, k=4), strict=True)
        asked = f"Case {number}. {' '.join(questions[:3])}"
        yield {"question": asked, "rationale": "\n".join(rationales), "answer": str(number % 997)}


def python(code: str, *arguments: str) -> tuple[Cost, str]:
    return process(["-c", code, *arguments])


def process(arguments: list[str]) -> tuple[Cost, str]:
    """What a process of its own costs, and what it prints. Ends this one if it fails."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        with subprocess.Popen([sys.executable, *arguments], stdout=out, stderr=err, env=environment) as started:
            _, status, usage = os.wait4(started.pid, 0)
            started.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if started.returncode:
            sys.exit(f"{' '.join(arguments[:3])} ended with status {started.returncode}: {err.read()[-2000:]}")
        return Cost(round(usage.ru_utime + usage.ru_stime, 2), round(usage.ru_maxrss / 1024, 1)), out.read()


if __name__ == "__main__":
    main()
