"""Commands that stop an experiment early, behind one of its verbs, and the import of released rationales."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cotdistill.cli.common import (
    STAGES,
    Arm,
    AsJson,
    ExperimentFile,
    Runs,
    Settings,
    app,
    print_rows,
    put,
    read_experiment,
    say,
    work_in,
)

if TYPE_CHECKING:
    from cotdistill.config import Experiment
    from cotdistill.experiments.plan import Cell, Plan
    from cotdistill.experiments.result import CellResult
    from cotdistill.experiments.work import Work


@app.command(rich_help_panel=STAGES)
def annotate(
    context: typer.Context,
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what is left to ask and what it costs, and ask nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Collect each arm's rationales and describe them in a data card."""
    experiment = read_experiment(file, settings)
    if dry_run:
        _print_plans(_left_to_ask(experiment, runs, arm), as_json)
        return
    rows: dict[str, dict[str, Any]] = {}
    results = _made(experiment, work_in(runs, context, "annotate"), arm, "annotation")
    for name, result in results.items():
        stage = result.stage("annotation")
        counts = {"rationales": stage.summary["rationales"], "dropped": stage.dropped}
        counts |= {name: stage.summary[name] for name in ("reasoning", "compressed") if name in stage.summary}
        rows[name] = counts | {"path": str(stage.path)}
    if results:
        say(f"data card: {_write_data_card(experiment, results, runs)}")
    print_rows(rows, as_json)


@app.command(rich_help_panel=STAGES)
def capture(
    context: typer.Context,
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say how large the capture will be, and capture nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Capture the teacher's signal of each arm that reads it from disk (training.signal.kind: cache).

    The rationales, and the students of other arms that it uses, are made first, also with --dry-run.
    """
    experiment = read_experiment(file, settings)
    if dry_run:
        print_rows(_sizes_of_captures(experiment, runs, arm), as_json)
        return
    results = _made(experiment, work_in(runs, context, "capture"), arm, "teacher_signal")
    rows: dict[str, dict[str, Any]] = {}
    for name, result in results.items():
        for noun in (noun for noun in result.stages if noun.startswith("teacher_signal")):
            stage = result.stage(noun)
            rows[name + noun.removeprefix("teacher_signal")] = stage.summary | {"path": str(stage.path)}
    print_rows(rows, as_json)


@app.command(rich_help_panel=STAGES)
def train(
    context: typer.Context,
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    as_json: AsJson = False,
) -> None:
    """Train the student of each arm (and collect its rationales first)."""
    rows = {}
    work = work_in(runs, context, "train")
    for name, result in _made(read_experiment(file, settings), work, arm, "training").items():
        student = result.stages["training"] / "student"
        dropped = result.stage("training").dropped
        rows[name] = {"student": str(student), "dropped": dropped, **result.summary("training")}
    print_rows(rows, as_json)


@app.command(rich_help_panel=STAGES)
def evaluate(
    context: typer.Context,
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    as_json: AsJson = False,
) -> None:
    """Test the student of each arm (and train it first if it is missing)."""
    rows = {}
    work = work_in(runs, context, "evaluate")
    for name, result in _made(read_experiment(file, settings), work, arm, "evaluation").items():
        score = result.score()
        assert score is not None, "it is done"
        rows[name] = score.to_row() | {"path": str(result.stages["evaluation"])}
    print_rows(rows, as_json)


@app.command("import", rich_help_panel=STAGES)
def import_command(
    source: Annotated[str, typer.Argument(help="eit_cot, cot_collection, flan_cot or distilling_step_by_step")],
    path: Annotated[Path, typer.Argument(help="a file or the folder of the release")],
    out: Annotated[Path | None, typer.Option("--out", help="write the rationales to this JSON Lines file")] = None,
    as_json: AsJson = False,
) -> None:
    """Read released rationales, say what cannot be read, and write the rest as a file to train on."""
    from cotdistill.annotation.released.importers import import_rationales
    from cotdistill.storage.atomic import disk_errors
    from cotdistill.storage.jsonl import write_rows

    imported = import_rationales(source, path)
    if out is not None:
        with disk_errors(out):
            write_rows(out, (rationale.to_row() for rationale in imported.records))
    print_rows({source: imported.to_row() | ({"path": str(out)} if out else {})}, as_json)


def _made(experiment: Experiment, work: Work, arm: str | None, noun: str) -> dict[str, CellResult]:
    """The cells that have a stage of this noun once the experiment is run this far, by title.

    Raises the error of the first cell that failed.
    """
    from cotdistill.errors import CotDistillError
    from cotdistill.experiments.run import cells_of_arm, run_experiment

    result = run_experiment(experiment, work, arm=arm)
    chosen = {cell.id for cell in cells_of_arm(result.plan, arm)}
    cells = [cell for cell in result.cells if cell.cell.id in chosen]
    for cell in cells:
        if cell.status == "failed":
            raise CotDistillError(cell.error or "failed", where=cell.cell.title)
    return {name: cell for name, cell in _by_name(cells).items() if noun in cell.stages}


def _by_name(cells: list[CellResult]) -> dict[str, CellResult]:
    """Cells by the name of their arm, with the seed if an arm has several."""
    names = [cell.cell.arm for cell in cells]
    return {cell.cell.arm if names.count(cell.cell.arm) == 1 else cell.cell.title: cell for cell in cells}


def _checked(experiment: Experiment, work: Work, arm: str | None) -> tuple[Plan, list[Cell]]:
    """The cells of an arm, checked as by a run."""
    from cotdistill.experiments.check import check_run
    from cotdistill.experiments.plan import plan
    from cotdistill.experiments.run import cells_of_arm

    planned = plan(experiment)
    cells = cells_of_arm(planned, arm)
    check_run(cells, planned, work.load)
    return planned, cells


def _left_to_ask(experiment: Experiment, runs: Path, arm: str | None) -> dict[str, dict[str, Any]]:
    from cotdistill.experiments.make import plan_rationales

    work, rows = replace(work_in(runs), writes=False), {}
    for cell in _checked(experiment, work, arm)[1]:
        if not cell.untrained and cell.arm not in rows:
            rows[cell.arm] = plan_rationales(cell.config, work).to_row()
    return rows


def _print_plans(rows: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print_rows(rows, as_json)
        return
    texts = ("prompts", "reasoning")
    print_rows({arm: {name: row[name] for name in row if name not in texts} for arm, row in rows.items()}, as_json)
    shown: set[tuple[str, str]] = set()
    for arm, row in rows.items():
        for (teacher, prompt), becomes in zip(row["prompts"].items(), row["reasoning"].values(), strict=True):
            if (teacher, prompt) not in shown:
                put(f"{arm}: {teacher} reads about the first question (its reasoning, if any, is {becomes}):")
                put(*(f"    {line}" for line in prompt.splitlines()))
            shown.add((teacher, prompt))


def _sizes_of_captures(experiment: Experiment, runs: Path, arm: str | None) -> dict[str, dict[str, Any]]:
    from cotdistill.annotation import read_annotation
    from cotdistill.experiments.make import make_rationales, size_of_capture, with_trained_models
    from cotdistill.experiments.types import settle_types

    work, rows = replace(work_in(runs), writes=False), {}
    planned, cells = _checked(settle_types(experiment, runs), work, arm)
    for cell in cells:
        if cell.config.training and cell.config.training.captures and cell.arm not in rows:
            config = with_trained_models(cell, planned, work)
            rows[cell.arm] = size_of_capture(config, read_annotation(make_rationales(config, work)))
    return rows


def _write_data_card(experiment: Experiment, results: dict[str, CellResult], runs: Path) -> Path:
    from cotdistill.engines.costs import price_of
    from cotdistill.experiments.lengths import lengths_of
    from cotdistill.experiments.plan import plan
    from cotdistill.experiments.validating import held_out_line
    from cotdistill.reports.data_card import AnnotatedArm, write_card

    planned, work, arms = plan(experiment), work_in(runs), []
    for name, result in results.items():
        lengths = lengths_of([result.cell], planned, work, exact=False).get(result.cell.arm)
        price = price_of(result.cell.config.teacher)
        held = held_out_line(result.cell.config, work.load)
        arms.append(AnnotatedArm(name, result.stages["annotation"], price, lengths, held))
    return write_card(arms, runs / experiment.name)
