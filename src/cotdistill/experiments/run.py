"""Run a study: what is missing of it, cell by cell, in processes of their own; a failed cell stops only itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from cotdistill.config import Study, to_yaml
from cotdistill.errors import ArtifactError, ConfigError
from cotdistill.experiments.cells import failed, run_cell
from cotdistill.experiments.executors.local import run_local
from cotdistill.experiments.executors.on_ray import run_on_ray
from cotdistill.experiments.inputs import check_inputs
from cotdistill.experiments.plan import Cell, Plan, plan
from cotdistill.experiments.result import CellResult, StudyResult, cell_path, load_result, read_cell
from cotdistill.experiments.stages import stage_keys
from cotdistill.experiments.view import watch
from cotdistill.storage.stages import Stage, disk_errors, hold, write_json_atomically, write_text_atomically

Executor = Literal["local", "ray"]


def run_study(
    study: Study,
    runs: Path,
    *,
    jobs: int = 1,
    executor: Executor = "local",
    only: str | None = None,
    say: Callable[[str], None],
) -> StudyResult:
    """Make every cell of ``study`` that is missing or failed before, and return what is then on disk.

    ``jobs`` cells run at a time on this machine; on Ray, as many as the cluster has room for. ``only`` names one cell,
    which runs in this process, so that any scheduler can run a study. Finished stages of done cells are checked first;
    a damaged one is set aside and made again. Raises ArtifactError where another process runs this study or the disk
    is full, ConfigError for an unknown cell or executor, DataError for a file of questions that cannot be used.
    """
    runs = runs.resolve()
    planned = plan(study)
    path = runs / study.name
    if only is not None:
        cell = planned.cell(only)
        with disk_errors(path):
            _write_study(planned, path)
            run_cell(cell, path, say=say)
        return load_result(study, runs)
    if jobs < 1:
        raise ConfigError(f"{jobs} jobs make nothing", where="--jobs", remedy="give at least 1")
    if executor not in ("local", "ray"):
        raise ConfigError(f"unknown executor {executor!r}", where="--executor", remedy="known: local, ray")
    check_inputs(cell for cell in planned.cells if read_cell(cell, path).status != "done")
    with disk_errors(path), hold(path):
        study_file = _write_study(planned, path)
        missing = _missing(planned, path, say)
        with watch(len(planned.cells), len(planned.cells) - len(missing), say) as view:
            if missing and executor == "ray":
                run_on_ray(missing, study_file, runs, resources=study.resources, view=view)
            elif missing:
                run_local(missing, study_file, runs, jobs=jobs, view=view)
        for cell, error in view.failures:
            _keep_error(cell, error, path)
        result = load_result(study, runs)
        write_json_atomically(path / "summary.json", result.to_row())
        return result


def _write_study(planned: Plan, path: Path) -> Path:
    file = path / "study.yaml"
    text = to_yaml(planned.study)
    if not file.is_file() or file.read_text(encoding="utf-8") != text:
        write_text_atomically(file, text)
    return file


def _missing(planned: Plan, path: Path, say: Callable[[str], None]) -> list[Cell]:
    """The cells to make: those that are not done, and those of which a finished stage is damaged."""
    results = [read_cell(cell, path) for cell in planned.cells]
    damaged = _damaged([result for result in results if result.status == "done"], say)
    return _sharers_apart(
        [
            result.cell
            for result in results
            if result.status != "done" or not damaged.isdisjoint((result.stages or {}).values())
        ]
    )


def _damaged(results: Sequence[CellResult], say: Callable[[str], None]) -> set[Path]:
    folders = sorted({folder for result in results for folder in (result.stages or {}).values()})
    with ThreadPoolExecutor() as pool:
        problems = dict(zip(folders, pool.map(_problem, folders), strict=True))
    for problem in filter(None, problems.values()):
        say(f"{problem.where}: {problem.problem}; it will be set aside and made again")
    return {folder for folder, problem in problems.items() if problem}


def _problem(folder: Path) -> ArtifactError | None:
    try:
        Stage(folder.parent.name, folder, {}).verify()
    except ArtifactError as error:
        return error
    return None


def _sharers_apart(cells: list[Cell]) -> list[Cell]:
    """The first cell to need each stage goes first, so that no two of those that start together share one."""
    seen: set[str] = set()
    first: list[Cell] = []
    others: list[Cell] = []
    for cell in cells:
        keys = set(stage_keys(cell.config).values())
        (first if seen.isdisjoint(keys) else others).append(cell)
        seen |= keys
    return first + others


def _keep_error(cell: Cell, error: str, path: Path) -> None:
    """Keep the error of a cell whose process was ended before it could do so itself."""
    if read_cell(cell, path).error != error:
        with contextlib.suppress(ArtifactError):  # a full disk, which the summary will run into as well
            write_json_atomically(cell_path(cell, path), failed(error))
