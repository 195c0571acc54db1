"""The command line: each command parses, calls one function and prints. Heavy modules load where they are needed."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cotdistill import __version__
from cotdistill.errors import CotDistillError

if TYPE_CHECKING:
    from cotdistill.config import Run, RunConfig
    from cotdistill.config.study import Study
    from cotdistill.pipeline import LoadTask

app = typer.Typer(
    help="Distil chain-of-thought reasoning from large language models into small ones, and prove what worked.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

RunFile = Annotated[Path, typer.Argument(metavar="RUN.YAML", help="the run file")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.YAML", help="the study file")]
Executor = Annotated[Literal["local", "ray"], typer.Option(help="ray: the cluster that RAY_ADDRESS names")]
Jobs = Annotated[int, typer.Option(min=1, help="cells at a time on this machine")]
Runs = Annotated[Path, typer.Option("--runs", help="the folder that holds all runs and stages")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="override a setting, e.g. training.epochs=1")]
AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]
Arm = Annotated[str | None, typer.Option("--arm", help="only this arm of the run file")]


def main() -> None:
    """Run the command line; errors that a user can act on become one line and exit status 2."""
    try:
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:  # started by accelerate launch or torchrun
            from cotdistill.training.launched import run_on_ranks

            run_on_ranks(app)
        else:
            app()
    except CotDistillError as error:
        print(f"cotdistill: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("cotdistill: interrupted; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False,
) -> None:
    pass


@app.command()
def quickstart(
    runs: Runs = Path("runs"),
    seed: Annotated[int, typer.Option(help="seed of the training order")] = 0,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """The whole loop on built-in models: base, fine-tuned and distilled students with and without rationales."""
    from cotdistill.config import load_run, parse_overrides

    run = load_run(Path(__file__).with_name("quickstart.yaml"), {"seed": seed} | parse_overrides(settings or []))
    _execute_and_report(run, runs, as_json)
    if not as_json:
        print("Next, a real pretrained model (SmolLM2-135M) on real rationales:")
        print("  make smollm2 COTDISTILL_DATA=DATA    # see recipes/smollm2-svamp/README.md")


@app.command("run")
def run_command(
    file: RunFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Annotate, train, evaluate and report every arm of a run file. Finished stages are not done again."""
    run = _load(file, settings)
    if dry_run:
        _print_plan(run, as_json)
    else:
        _execute_and_report(run, runs, as_json)


@app.command()
def annotate(
    file: RunFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="say what is left to ask and its cost, ask nothing")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Collect the rationales of each arm, describe them in a data card, and nothing more."""
    from cotdistill.artifacts import read_stage
    from cotdistill.pipeline import make_arm_annotation, plan_arm

    rows: dict[str, dict[str, Any]] = {}
    run, paths = _load(file, settings), {}
    arms, load = _checked_arms(run, arm)
    for name, config in arms.items():
        if config.training is None:
            continue
        if dry_run:
            rows[name] = plan_arm(config, runs, load).to_row()
        else:
            path = paths[name] = make_arm_annotation(config, runs, load)
            summary, manifest = read_stage(path)
            counts = {"rationales": summary["rationales"], "dropped": manifest["dropped"]}
            rows[name] = counts | {"path": str(path)}
    if paths:
        _say(f"data card: {_write_data_card(run, paths, runs)}")
    _print_rows(rows, as_json)


@app.command("import")
def import_command(
    source: Annotated[str, typer.Argument(help="eit_cot, cot_collection, flan_cot or distilling_step_by_step")],
    path: Annotated[Path, typer.Argument(help="a file of the release, or the folder it came in")],
    out: Annotated[Path | None, typer.Option("--out", help="write the rationales to this JSON Lines file")] = None,
    as_json: AsJson = False,
) -> None:
    """Read rationales that others released, say what could not be read, and write them as a file to train on."""
    from cotdistill.annotation.importers import import_rationales
    from cotdistill.artifacts import disk_errors, write_rows

    imported = import_rationales(source, path)
    if out is not None:
        with disk_errors(out):
            write_rows(out, (rationale.to_row() for rationale in imported.records))
    _print_rows({source: imported.to_row() | ({"path": str(out)} if out else {})}, as_json)


@app.command()
def capture(
    file: RunFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how large it will be, and do nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Capture the teacher's signal of each arm that reads it from disk (training.signal.kind: cache)."""
    from cotdistill.config import CachedTeacher
    from cotdistill.pipeline import after_training, annotate_arm, capture_arm, size_of_capture

    rows = {}
    run = _load(file, settings)
    for name, untrained in _arms(run, arm).items():
        config = after_training(untrained, run, runs)
        if config.training is None or not isinstance(config.training.signal, CachedTeacher):
            continue
        rationales = annotate_arm(config, runs)
        size = size_of_capture(config, rationales)
        _say(f"{name}: {size['num_tokens']} tokens to read, {size['size']} to write")
        rows[name] = size if dry_run else size | {"path": str(capture_arm(config, rationales, runs).folder)}
    _print_rows(rows, as_json)


@app.command()
def train(
    file: RunFile, runs: Runs = Path("runs"), settings: Settings = None, arm: Arm = None, as_json: AsJson = False
) -> None:
    """Train the student of each arm (and collect its rationales first)."""
    from cotdistill.pipeline import after_training, annotate_arm, train_arm

    rows = {}
    run = _load(file, settings)
    arms, load = _checked_arms(run, arm)
    for name, untrained in arms.items():
        config = after_training(untrained, run, runs, load)
        if config.training is not None:
            student = train_arm(config, annotate_arm(config, runs, load), runs)
            rows[name] = {"student": str(student.model), "dropped": student.dropped, **student.summary}
    _print_rows(rows, as_json)


@app.command()
def evaluate(
    file: RunFile, runs: Runs = Path("runs"), settings: Settings = None, arm: Arm = None, as_json: AsJson = False
) -> None:
    """Test the student of each arm (and make it first where it is missing)."""
    from cotdistill.pipeline import after_training, execute_arm

    rows = {}
    run = _load(file, settings)
    arms, load = _checked_arms(run, arm)
    for name, config in arms.items():
        result = execute_arm(name, after_training(config, run, runs, load), runs, say=_say, load=load)
        rows[name] = result.evaluation.score.to_row() | {"path": str(result.evaluation.path)}
    _print_rows(rows, as_json)


@app.command()
def report(file: RunFile, runs: Runs = Path("runs"), settings: Settings = None, as_json: AsJson = False) -> None:
    """Write the report of a run file again (missing stages are made), or that of a study file as far as it is done."""
    from cotdistill.config import parse_overrides
    from cotdistill.config.run import read_yaml
    from cotdistill.config.study import load_study

    if "students" in read_yaml(file):
        _report_study(load_study(file, parse_overrides(settings or [])), runs, as_json)
    else:
        _execute_and_report(_load(file, settings), runs, as_json)


@app.command()
def plan(
    file: StudyFile, runs: Runs = Path("runs"), settings: Settings = None, jobs: Jobs = 1, as_json: AsJson = False
) -> None:
    """Say what a study holds, what of it is missing, and what that will take. Nothing is loaded or run."""
    _print_study_plan(_load_study(file, settings), runs, jobs, as_json)


@app.command()
def study(
    file: StudyFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    jobs: Jobs = 1,
    executor: Executor = "local",
    only: Annotated[str | None, typer.Option(metavar="ID", help="only this cell, in this process")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan, and do nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Run what is missing of a study. A cell that fails stops only itself; exit status 1 says that one did."""
    from cotdistill.studies.run import run_study

    loaded = _load_study(file, settings)
    if dry_run:
        _print_study_plan(loaded, runs, jobs, as_json)
        return
    result = run_study(loaded, runs, jobs=jobs, executor=executor, only=only, say=_say)
    failed = [cell for cell in result.failed if only in (None, cell.cell.id)]
    if as_json:
        print(json.dumps(result.to_row(), ensure_ascii=False))
    else:
        print("\n".join(result.lines()))
    if failed:
        raise typer.Exit(1)


@app.command()
def advise(
    file: StudyFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    student: Annotated[str | None, typer.Option(help="a student of the study, by its name there")] = None,
    budget_share: Annotated[float, typer.Option(min=0, max=1, help="of what the whole grid costs")] = 0.25,
    keep: Annotated[float, typer.Option(min=0, max=1, help="share of arms that go on after the cheap score")] = 0.5,
    replay: Annotated[bool, typer.Option("--replay", help="train nothing: all pilots are on disk")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which arm of a study is best for a student, from a cheap score and pilots of the most promising arms."""
    from cotdistill.studies.advice import advice_lines
    from cotdistill.studies.advise import advise as advise_on

    advice = advise_on(
        _load_study(file, settings),
        runs,
        student=student,
        budget_share=budget_share,
        keep=keep,
        replay=replay,
        say=_say,
    )
    print(json.dumps(advice.to_row(), ensure_ascii=False) if as_json else "\n".join(advice_lines(advice)))


@app.command()
def show(
    path: Annotated[Path, typer.Argument(help="a run or stage folder, or a JSON Lines file of records")],
    limit: Annotated[int, typer.Option(help="records to show")] = 5,
    as_json: AsJson = False,
) -> None:
    """Print any artifact in readable form."""
    from cotdistill.reports.show import describe, read_artifact

    artifact = read_artifact(path, limit)
    print(json.dumps(artifact, ensure_ascii=False) if as_json else describe(artifact))


@app.command()
def audit(
    path: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    limit: Annotated[int, typer.Option(help="disagreements to show")] = 10,
    as_json: AsJson = False,
) -> None:
    """Read an evaluation's outputs with several answer extractors, and show the items on which they disagree."""
    from cotdistill.evaluation.audit import audit_lines, audit_path

    result = audit_path(path)
    print(json.dumps(result.to_row(), ensure_ascii=False) if as_json else "\n".join(audit_lines(result, limit)))


@app.command()
def flips(
    a: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    b: Annotated[Path, typer.Argument(help="another one of the same questions")],
    items: Annotated[bool, typer.Option("--items", help="each item that flips, in place of the tasks")] = False,
    as_json: AsJson = False,
) -> None:
    """Say by task where the first evaluation gains and loses against the second, and what failed in each item."""
    from cotdistill.evaluation.audit import read_evaluation
    from cotdistill.evaluation.flips import find_flips, flips_by_task

    (questions, predictions), (_, others) = read_evaluation(a), read_evaluation(b)
    if items:
        rows = {flip.id: flip.to_row() for flip in find_flips(questions, predictions, others)}
    else:
        rows = {task.task: task.to_row() for task in flips_by_task(questions, predictions, others)}
    _print_rows(rows, as_json)


@app.command()
def effect(
    student: Annotated[str, typer.Argument(help="a model's name or folder")],
    evaluation: Annotated[Path, typer.Argument(help="the folder of its evaluation, runs/evaluation/KEY")],
    rationales: Annotated[Path | None, typer.Option(help="a teacher's rationales for the same questions")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many questions")] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Measure what rationales (its own, people's, a teacher's) do to the gold answer's probability, and attention."""
    from cotdistill.config import ModelConfig
    from cotdistill.evaluation.effect import measure_effects

    result = measure_effects(ModelConfig(model=student), evaluation, runs=runs, rationales=rationales, limit=limit)
    _say(f"effects: {result.path}")
    _print_rows(result.summary, as_json)


@app.command()
def harness(
    student: Annotated[str, typer.Argument(help="a model's name or folder")],
    tasks: Annotated[list[str], typer.Argument(help="lm-eval's names of tasks, groups or tags, or its YAML files")],
    limit: Annotated[int | None, typer.Option(min=1, help="only the first so many items of each task")] = None,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
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
    _say(f"predictions: {result.path}")
    _print_rows({task: score.to_row() for task, score in result.scores.items()}, as_json)


@app.command()
def export(
    path: Annotated[Path, typer.Argument(help="the folder of an evaluation, runs/evaluation/KEY")],
    to: Annotated[Path, typer.Option(help="the folder to write to")],
    as_json: AsJson = False,
) -> None:
    """Write an evaluation's predictions as lm-eval logs its samples, one file a task."""
    from cotdistill.evaluation.audit import read_evaluation
    from cotdistill.evaluation.harness import export_samples

    _print_rows(export_samples(*read_evaluation(path), to), as_json)


def _load(file: Path, settings: list[str] | None) -> Run:
    from cotdistill.config import load_run, parse_overrides

    return load_run(file, parse_overrides(settings or []))


def _load_study(file: Path, settings: list[str] | None) -> Study:
    from cotdistill.config import load_study, parse_overrides

    return load_study(file, parse_overrides(settings or []))


def _print_study_plan(study: Study, runs: Path, jobs: int, as_json: bool) -> None:
    from cotdistill.studies.estimate import estimate, lines
    from cotdistill.studies.plan import plan
    from cotdistill.studies.result import read_cell

    planned = plan(study)
    found = estimate(planned, runs)
    cells = [
        {"id": cell.id, "arm": cell.arm, "seed": cell.seed, "status": read_cell(cell, runs / study.name).status}
        for cell in planned.cells
    ]
    if as_json:
        comparisons = [{"a": pair.a, "b": pair.b, "declared": pair.declared} for pair in planned.comparisons]
        print(json.dumps(found.to_row() | {"cells": cells, "comparisons": comparisons}, ensure_ascii=False))
        return
    for cell in cells:
        print(f"{cell['id']}  {cell['status']:<7}  {cell['arm']}, seed {cell['seed']}")
    print("\n".join(lines(planned, found, jobs)))


def _arms(run: Run, arm: str | None) -> dict[str, RunConfig]:
    from cotdistill.errors import ConfigError, nearest

    if arm is None:
        return run.arms
    if arm not in run.arms:
        raise ConfigError(f"unknown arm {arm!r}", where="--arm", remedy=nearest(arm, run.arms))
    return {arm: run.arms[arm]}


def _write_data_card(run: Run, paths: dict[str, Path], runs: Path) -> Path:
    from cotdistill.annotation.costs import price_of
    from cotdistill.config import OpenAITeacher
    from cotdistill.reports.data_card import Annotated, write_card

    teachers = {name: run.arms[name].teacher for name in paths}
    prices = {
        name: price_of(teacher) if isinstance(teacher, OpenAITeacher) else None for name, teacher in teachers.items()
    }
    return write_card([Annotated(name, path, prices[name]) for name, path in paths.items()], runs / run.name)


def _checked_arms(run: Run, arm: str | None) -> tuple[dict[str, RunConfig], LoadTask]:
    """The arms to make, once it is known that each of them can be, and a way to load their tasks once."""
    from cotdistill.pipeline import before_training, check_arm, loading_once

    arms, load = _arms(run, arm), loading_once(_say)
    for config in arms.values():
        check_arm(before_training(config, run), load)
    return arms, load


def _execute_and_report(run: Run, runs: Path, as_json: bool) -> Path:
    """Make what is missing, write the report, print its table; returns the path of the report's page."""
    from cotdistill.artifacts import disk_errors
    from cotdistill.pipeline import execute
    from cotdistill.reports import print_table, write_report
    from cotdistill.reports.result import evidence_of_run

    result = execute(run, runs, say=_say)
    evidence = evidence_of_run(result)
    with disk_errors(result.path):
        page = write_report(evidence, result.path)
    if as_json:
        print((result.path / "summary.json").read_text(encoding="utf-8"))
    else:
        print_table(evidence)
        print(f"report: {page}")
        for name, arm in result.arms.items():
            if arm.student:
                print(f"student {name}: {arm.student.model}")
    return page


def _report_study(study: Study, runs: Path, as_json: bool) -> None:
    """Write the report of what is on disk of a study; nothing is run."""
    from cotdistill.artifacts import disk_errors
    from cotdistill.reports import print_table, write_report
    from cotdistill.reports.result import evidence_of_study
    from cotdistill.studies.result import load_result

    result = load_result(study, runs)
    evidence = evidence_of_study(result)
    with disk_errors(result.path):
        page = write_report(evidence, result.path, summary=False)
    if as_json:
        print(json.dumps(evidence.summary(), ensure_ascii=False))
    else:
        print_table(evidence)
        print(f"report: {page}")


def _print_plan(run: Run, as_json: bool) -> None:
    rows = {
        name: {
            "task": config.task.name,
            "teacher": config.teacher.kind,
            "student": config.student.model,
            "training": "none" if config.training is None else ", ".join(t.kind for t in config.training.loss),
            "seed": config.seed,
        }
        for name, config in run.arms.items()
    }
    _print_rows(rows, as_json)


def _print_rows(rows: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(rows, ensure_ascii=False))
        return
    for name, row in rows.items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items() if value not in ({}, None)))


def _say(line: str) -> None:
    print(line, file=sys.stderr)
