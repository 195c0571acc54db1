"""Commands on what was made: artifacts, diagnosis, the harness."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cotdistill.cli.common import RESULTS, AsJson, Runs, app, print_rows, say

if TYPE_CHECKING:
    from cotdistill.evaluation.diagnosis.flips import Flip


@app.command(rich_help_panel=RESULTS)
def show(
    path: Annotated[Path, typer.Argument(help="an experiment's or a stage's folder, or a JSON Lines file of records")],
    limit: Annotated[int, typer.Option(help="records to show")] = 5,
    as_json: AsJson = False,
) -> None:
    """Print any artifact in readable form."""
    from cotdistill.reports.show import describe, read_artifact

    artifact = read_artifact(path, limit)
    print(json.dumps(artifact, ensure_ascii=False) if as_json else describe(artifact))


@app.command(rich_help_panel=RESULTS)
def audit(
    path: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    limit: Annotated[int, typer.Option(help="disagreements to show")] = 10,
    as_json: AsJson = False,
) -> None:
    """Read an evaluation's outputs with several answer extractors, and show the items on which they disagree."""
    from cotdistill.evaluation.diagnosis.audit import audit_lines, audit_path

    result = audit_path(path)
    print(json.dumps(result.to_row(), ensure_ascii=False) if as_json else "\n".join(audit_lines(result, limit)))


@app.command(rich_help_panel=RESULTS)
def flips(
    a: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    b: Annotated[Path, typer.Argument(help="another one of the same questions")],
    items: Annotated[bool, typer.Option("--items", help="each item that flips, in place of the tasks")] = False,
    figure: Annotated[Path | None, typer.Option(help="draw it too: a .svg, .pdf or .png file")] = None,
    as_json: AsJson = False,
) -> None:
    """Say by task where the first evaluation gains and loses against the second, and what failed in each item."""
    from cotdistill.evaluation.diagnosis.flips import find_flips, flips_by_task
    from cotdistill.evaluation.read import read_evaluation
    from cotdistill.evaluation.statistics.comparisons import compare
    from cotdistill.reports import print_tables
    from cotdistill.reports.flips import flips_tables

    judged, others = read_evaluation(a), read_evaluation(b).predictions
    questions, predictions = judged.questions, judged.predictions
    found = find_flips(questions, predictions, others)
    if figure is not None:
        _draw_flips(found, a, b, figure)
    if items:  # two tasks may use the same ids
        print_rows({f"{flip.task} {flip.id}": flip.to_row() for flip in found}, as_json)
        return
    tasks = flips_by_task(questions, predictions, others)
    if as_json:
        print_rows({task.task: task.to_row() for task in tasks}, as_json)
    else:
        print_tables(flips_tables(compare(predictions, others, names=(a.name, b.name)), tasks))


def _draw_flips(found: list[Flip], a: Path, b: Path, path: Path) -> None:
    from cotdistill.errors import ConfigError, DataError
    from cotdistill.reports.figures import write_figure
    from cotdistill.reports.figures.flips import draw_flips
    from cotdistill.storage.atomic import disk_errors

    if path.suffix not in (".svg", ".pdf", ".png"):
        raise ConfigError(
            f"{path.name!r} names no kind of figure", where="--figure", remedy="end it in .svg, .pdf or .png"
        )
    drawing = draw_flips(found, a.name, b.name)
    if drawing is None:
        raise DataError("no item flips, so there is nothing to draw", where=f"{a} and {b}", remedy="leave out --figure")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_figure(drawing.figure, path)
    say(f"figure: {path}")


@app.command(rich_help_panel=RESULTS)
def power(
    evaluations: Annotated[
        list[Path] | None, typer.Argument(help="folders of evaluations, of arm A and arm B by turns, a pair a seed")
    ] = None,
    difference: Annotated[float | None, typer.Option(help="the accuracies' to be shown, in points")] = None,
    discordant: Annotated[float | None, typer.Option(help="questions that one arm alone has right, in %")] = None,
    items: Annotated[int | None, typer.Option(min=1, help="the power of so many questions, too")] = None,
    spread: Annotated[
        float | None, typer.Option(help="an arm's between seeds, in points of accuracy (standard deviation)")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many questions and how many seeds show a difference with a power of 80 % at p = 0.05.

    Questions are for two students. Seeds are for two arms, whose differences of 3, 5 and 7 points are to hold for other
    seeds too: several pairs of evaluations, say of a pilot, tell how far seeds spread, or --spread does.
    """
    from cotdistill.cli.power import power_rows

    print_rows(power_rows(evaluations or (), difference, discordant, items, spread), as_json)


@app.command(rich_help_panel=RESULTS)
def effect(
    student: Annotated[str, typer.Argument(help="a model's name or folder")],
    evaluation: Annotated[Path, typer.Argument(help="the folder of its evaluation, runs/evaluation/KEY")],
    rationales: Annotated[Path | None, typer.Option(help="a teacher's rationales for the same questions")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many questions")] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Measure what rationales (its own, people's, a teacher's) do to the gold answer's probability, and attention.

    The table and a figure of it are written beside the numbers, as effect.md, effect.svg and effect.pdf.
    """
    from cotdistill.config import ModelConfig
    from cotdistill.evaluation.diagnosis.effect import measure_effects
    from cotdistill.reports import print_tables
    from cotdistill.reports.effect import effect_groups, effect_table, write_effect
    from cotdistill.storage.atomic import disk_errors

    result = measure_effects(ModelConfig(model=student), evaluation, runs=runs, rationales=rationales, limit=limit)
    groups = effect_groups(result.rows)
    with disk_errors(result.path):
        say(f"table and figure: {write_effect(groups, result.path)}")
    if as_json:
        print(json.dumps(result.summary, ensure_ascii=False))
    else:
        print_tables([effect_table(groups)])


@app.command(rich_help_panel=RESULTS)
def harness(
    student: Annotated[str, typer.Argument(help="a model's name or folder")],
    tasks: Annotated[list[str], typer.Argument(help="lm-eval's names of tasks, groups or tags, or its YAML files")],
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many items of each task")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="prompts at once")] = 16,
    metric: Annotated[str | None, typer.Option(help="what decides verdicts, e.g. acc_norm")] = None,
    include: Annotated[Path | None, typer.Option(help="a folder of further task files")] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Run tasks of lm-eval (MMLU, ARC, ...) on a model and keep its samples as predictions."""
    from cotdistill.config import ModelConfig
    from cotdistill.evaluation.harness import evaluate_with_harness

    result = evaluate_with_harness(
        ModelConfig(model=student), tasks, runs=runs, limit=limit, max_batch_size=batch_size, metric=metric,
        include=include,
    )  # fmt: skip
    say(f"predictions: {result.path}")
    print_rows({task: score.to_row() for task, score in result.scores.items()}, as_json)


@app.command(rich_help_panel=RESULTS)
def export(
    path: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    to: Annotated[Path, typer.Option(help="the folder to write to")],
    as_json: AsJson = False,
) -> None:
    """Write an evaluation's predictions as lm-eval logs its samples, one file a task."""
    from cotdistill.evaluation.harness import export_samples
    from cotdistill.evaluation.read import read_evaluation

    judged = read_evaluation(path)
    print_rows(export_samples(judged.questions, judged.predictions, to), as_json)
