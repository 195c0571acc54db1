"""Run an experiment: make what is missing, cell by cell; a failed cell stops only itself."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Literal

from cotdistill.config import Experiment
from cotdistill.config.experiment import ARM_FACTOR
from cotdistill.errors import ArtifactError, ConfigError, CotDistillError, nearest
from cotdistill.experiments.cells import failed, run_cell
from cotdistill.experiments.check import check_run
from cotdistill.experiments.executors.local import run_local
from cotdistill.experiments.executors.on_ray import run_on_ray
from cotdistill.experiments.executors.serial import run_serial
from cotdistill.experiments.plan import Cell, Plan, plan
from cotdistill.experiments.result import CellResult, ExperimentResult, cell_path, load_result, read_cell
from cotdistill.experiments.shared import sharers_apart, unfinished_stages
from cotdistill.experiments.students import KeptStudents
from cotdistill.experiments.types import FILE, kept_type, settle_types
from cotdistill.experiments.view import watch
from cotdistill.experiments.work import Until, Work
from cotdistill.storage.atomic import disk_errors, write_json_atomically, write_text_atomically
from cotdistill.storage.finished import open_finished
from cotdistill.storage.locks import hold
from cotdistill.storage.verified import VERIFIED, forget
from cotdistill.tasks.stored import QUESTIONS

Executor = Literal["local", "ray"]
SAMPLE = 2000
"""Of the training targets of a task, this many are judged before anything is made."""


def run_experiment(
    experiment: Experiment,
    work: Work,
    *,
    jobs: int = 1,
    executor: Executor = "local",
    only: str | None = None,
    arm: str | None = None,
    verify: bool = False,
) -> ExperimentResult:
    """Make every cell of ``experiment`` that is missing or has failed, and return what is then on disk.

    One job runs in this process, several each in their own; on Ray, as many cells run as the cluster has room for.
    ``only`` names one cell, which runs in this process, so that any scheduler can run an experiment, and whose result
    is returned alone; ``arm`` one arm of the file. Finished stages of done cells are checked first; a damaged one is
    set aside and made again. Those that this machine has verified before are told by size, times and inode alone,
    unless ``verify`` asks to read them. Raises ArtifactError if another process is running this experiment or the disk
    is full, ConfigError for an unknown cell, arm or executor, and for settings, data or models that cannot be used.
    """
    work = replace(work, runs=work.runs.absolute())
    path, until, say = work.runs / experiment.name, work.until, work.say
    if until != "annotate":  # which needs no student, and most often no torch
        experiment = settle_types(experiment, work.runs)
    planned = plan(experiment)
    _check_options(jobs, executor)
    if verify:
        forget(work.runs)
    if only is not None:
        cell = planned.cell(only)
        if _missing([cell], path, until, say):
            with _nothing_left_if_refused(work.runs):
                check_run([cell], planned, work.load, sample=SAMPLE)
            with disk_errors(path):
                _write_file(experiment, path)
                run_cell(cell, planned, work)
                KeptStudents(planned, work.runs, say).ended(cell)
        return load_result(experiment, work.runs, only=cell)
    chosen = cells_of_arm(planned, arm)
    local = executor == "local"
    with _nothing_left_if_refused(work.runs):
        left = [cell for cell in chosen if read_cell(cell, path).status != "done"]
        check_run(left, planned, work.load, sample=SAMPLE, models=local, fetch=local)
    with disk_errors(path), hold(path):
        missing = _missing(chosen, path, until, say)
        needs = unfinished_stages(missing, chosen, planned)
        missing = sharers_apart(missing, needs)
        _write_file(experiment, path)
        students = KeptStudents(planned, work.runs, say)
        with watch(len(chosen), len(chosen) - len(missing), say, students.ended, alone=local and jobs == 1) as view:
            if missing and executor == "ray":
                run_on_ray(missing, planned, work.runs, until=until, view=view)
            elif missing and jobs > 1:
                run_local(missing, needs, planned, work.runs, until=until, jobs=jobs, view=view)
            elif missing:
                run_serial(missing, planned, work, view)
        for cell, error in view.failures:
            _keep_error(cell, error, path)
        return _result(experiment, work.runs, path if until == "evaluate" else None)


def _result(experiment: Experiment, runs: Path, path: Path | None) -> ExperimentResult:
    """What is on disk, which is summed up in ``path``."""
    result = load_result(experiment, runs)
    if path is not None:
        write_json_atomically(path / "summary.json", result.to_row())
    return result


def cells_of_arm(planned: Plan, arm: str | None) -> list[Cell]:
    """The different cells of an arm by its name in the file (None: of all). Raises ConfigError for an unknown one."""
    if arm is not None and arm not in planned.experiment.arms:
        raise ConfigError(f"unknown arm {arm!r}", where="--arm", remedy=nearest(arm, planned.experiment.arms))
    return [cell for cell in planned.distinct if arm in (None, cell.factors[ARM_FACTOR])]


@contextlib.contextmanager
def _nothing_left_if_refused(runs: Path) -> Iterator[None]:
    """Remove the questions that were read for the checks if these refuse the run and made the folder of runs."""
    is_new = not runs.exists()
    try:
        yield
    except CotDistillError:
        if is_new:
            for name in (QUESTIONS, VERIFIED):
                shutil.rmtree(runs / name, ignore_errors=True)
            with contextlib.suppress(OSError):  # another process has begun in it
                runs.rmdir()
        raise


def _check_options(jobs: int, executor: str) -> None:
    if jobs < 1:
        raise ConfigError(f"{jobs} is not a number of jobs", where="--jobs", remedy="give at least 1")
    if executor not in ("local", "ray"):
        raise ConfigError(f"unknown executor {executor!r}", where="--executor", remedy="known: local, ray")


def _write_file(experiment: Experiment, path: Path) -> None:
    file = path / FILE
    experiment = experiment.model_copy(
        update={"auto_dtype": experiment.auto_dtype or kept_type(experiment, path.parent)}
    )
    text = experiment.to_yaml()
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        write_text_atomically(file, text)


def _missing(cells: Sequence[Cell], path: Path, until: Until, say: Callable[[str], None]) -> list[Cell]:
    """The cells to make: those that are not done, and those with a damaged finished stage."""
    results = [read_cell(cell, path) for cell in cells]
    done = [result for result in results if result.status == "done"]
    damaged = _damaged(done, say)
    return [
        result.cell
        for result in results
        if result.status != "done" or until == "capture" or not damaged.isdisjoint(result.stages.values())
    ]


def _damaged(results: Sequence[CellResult], say: Callable[[str], None]) -> set[Path]:
    folders = sorted({folder for result in results for folder in result.stages.values()})
    with ThreadPoolExecutor() as pool:
        problems = dict(zip(folders, pool.map(_problem, folders), strict=True))
    for problem in filter(None, problems.values()):
        say(f"{problem.where}: {problem.problem}; it is set aside and made again")
    return {folder for folder, problem in problems.items() if problem}


def _problem(folder: Path) -> ArtifactError | None:
    try:
        open_finished(folder).check()
    except ArtifactError as error:
        return error
    return None


def _keep_error(cell: Cell, error: str, path: Path) -> None:
    """Keep the error of a cell whose process ended before it could do so itself."""
    if read_cell(cell, path).error != error:
        with contextlib.suppress(ArtifactError):  # a full disk, which the summary will run into as well
            write_json_atomically(cell_path(cell, path), failed(error))
