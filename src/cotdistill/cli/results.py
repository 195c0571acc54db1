"""Commands on what was made: artifacts, diagnosis, the harness."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cotdistill.cli.common import RESULTS, AsJson, Runs, answer, app, print_rows, put, put_json, say
from cotdistill.cli.use import Student, model_of

if TYPE_CHECKING:
    from cotdistill.evaluation.diagnosis.flips import Flip


@app.command(rich_help_panel=RESULTS)
def show(
    path: Annotated[Path, typer.Argument(help="an experiment's or a stage's folder, or a JSON Lines file of records")],
    limit: Annotated[int, typer.Option(help="number of records to show")] = 5,
    as_json: AsJson = False,
) -> None:
    """Print any artifact in a readable form."""
    from cotdistill.reports.show import describe, read_artifact

    artifact = read_artifact(path, limit)
    answer(artifact, describe(artifact), as_json)


@app.command(rich_help_panel=RESULTS)
def clean(
    runs: Runs = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", help="remove them without asking")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="list them and stop")] = False,
    as_json: AsJson = False,
) -> None:
    """List the stages that no experiment in the folder of runs uses, with their sizes, and remove them if you say so.

    Teachers' answers stay. What an experiment needs later is made again, an annotation from the answers that are kept.
    """
    from cotdistill.errors import ArtifactError
    from cotdistill.storage.removal import remove_stage, unnamed_stages

    found = list(unnamed_stages(runs))
    total = f"{len(found)} stages that no experiment names, {sum(one.size for one in found) / 1e6:,.1f} MB"
    if not as_json:
        put(*(f"{one.size / 1e6:10,.1f} MB  {one.place}{'' if one.finished else ', not finished'}" for one in found))
        put(total)
    removed = []
    if found and not dry_run and (yes or (not as_json and typer.confirm(f"Remove them from {runs}?", err=True))):
        for one in found:
            try:
                remove_stage(runs / one.place)
                removed.append(one.place)
            except ArtifactError as error:
                say(f"{error.where}: {error.problem}; it stays")
    if as_json:
        put_json({"unnamed": [asdict(one) for one in found], "removed": removed})
    elif removed:
        put(f"removed: {len(removed)}")


@app.command(rich_help_panel=RESULTS)
def audit(
    path: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    limit: Annotated[int, typer.Option(help="number of disagreements to show")] = 10,
    as_json: AsJson = False,
) -> None:
    """Read an evaluation's completions with several answer extractors, and show where they disagree."""
    from cotdistill.evaluation.diagnosis.audit import audit_lines, audit_path

    result = audit_path(path)
    answer(result.to_row(), audit_lines(result, limit), as_json)


@app.command(rich_help_panel=RESULTS)
def flips(
    a: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    b: Annotated[Path, typer.Argument(help="another evaluation on the same questions")],
    items: Annotated[bool, typer.Option("--items", help="list each question that flips, instead of the tasks")] = False,
    figure: Annotated[Path | None, typer.Option(help="also draw a figure: a .svg, .pdf or .png file")] = None,
    as_json: AsJson = False,
) -> None:
    """Show by task where the first evaluation gains and loses against the second, and what failed in each question."""
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
            f"unknown kind of figure {path.name!r}", where="--figure", remedy="end the name in .svg, .pdf or .png"
        )
    drawing = draw_flips(found, a.name, b.name)
    if drawing is None:
        raise DataError(
            "no question flips, so there is nothing to draw", where=f"{a} and {b}", remedy="leave out --figure"
        )
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_figure(drawing.figure, path)
    say(f"figure: {path}")


@app.command(rich_help_panel=RESULTS)
def power(
    evaluations: Annotated[
        list[Path] | None, typer.Argument(help="folders of evaluations, alternating arm A and arm B, one pair per seed")
    ] = None,
    difference: Annotated[float | None, typer.Option(help="the difference in accuracy to show, in points")] = None,
    discordant: Annotated[float | None, typer.Option(help="questions that only one arm gets right, in %")] = None,
    items: Annotated[int | None, typer.Option(min=1, help="also give the power for this many questions")] = None,
    spread: Annotated[
        float | None, typer.Option(help="standard deviation of an arm's accuracy between seeds, in points")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say how many questions and how many seeds it takes to show a difference with 80 % power at p = 0.05.

    Questions are for comparing two students; seeds are for comparing two arms, so that differences of 3, 5 and 7 points
    hold for other seeds too. The spread between seeds comes from several pairs of evaluations, for example a pilot's,
    or from --spread.
    """
    from cotdistill.cli.power import power_rows

    print_rows(power_rows(evaluations or (), difference, discordant, items, spread), as_json)


@app.command(rich_help_panel=RESULTS)
def effect(
    student: Student,
    evaluation: Annotated[Path, typer.Argument(help="the folder of its evaluation, runs/evaluation/KEY")],
    rationales: Annotated[Path | None, typer.Option(help="a teacher's rationales for the same questions")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="use only the first N questions")] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Measure how rationales (its own, human, a teacher's) change the gold answer's probability and the attention.

    A table and a figure are written beside the numbers, as effect.md, effect.svg and effect.pdf.
    """
    from cotdistill.evaluation.diagnosis.effect import measure_effects
    from cotdistill.reports import print_tables
    from cotdistill.reports.effect import effect_groups, effect_table, write_effect
    from cotdistill.storage.atomic import disk_errors

    result = measure_effects(model_of(student), evaluation, runs=runs, rationales=rationales, limit=limit)
    groups = effect_groups(result.rows)
    with disk_errors(result.path):
        say(f"table and figure: {write_effect(groups, result.path)}")
    if as_json:
        put_json(result.summary)
    else:
        print_tables([effect_table(groups)])


@app.command(rich_help_panel=RESULTS)
def harness(
    student: Student,
    tasks: Annotated[list[str], typer.Argument(help="lm-eval's tasks, groups or tags by name, or its YAML files")],
    limit: Annotated[int | None, typer.Option(min=1, help="use only the first N items of each task")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="prompts at a time")] = 16,
    metric: Annotated[str | None, typer.Option(help="the metric that decides verdicts, e.g. acc_norm")] = None,
    include: Annotated[Path | None, typer.Option(help="a folder with more task files")] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Run lm-eval's tasks (MMLU, ARC, ...) on a model and keep the samples as predictions."""
    from cotdistill.evaluation.harness import evaluate_with_harness

    result = evaluate_with_harness(
        model_of(student), tasks, runs=runs, limit=limit, max_batch_size=batch_size, metric=metric,
        include=include,
    )  # fmt: skip
    say(f"predictions: {result.path}")
    print_rows({task: score.to_row() for task, score in result.scores.items()}, as_json)
