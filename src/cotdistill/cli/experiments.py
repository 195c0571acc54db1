"""Commands on an experiment file: its plan, its cells, its report, advice."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cotdistill.cli.common import (
    BEGIN,
    EXPERIMENTS,
    Arm,
    AsJson,
    ExperimentFile,
    Runs,
    Settings,
    answer,
    app,
    put,
    put_json,
    read_experiment,
    say,
    work_in,
)
from cotdistill.records import ACCURACY

if TYPE_CHECKING:
    from cotdistill.config import Experiment
    from cotdistill.experiments.result import ExperimentResult
    from cotdistill.experiments.work import Work

Executor = Annotated[Literal["local", "ray"], typer.Option(help="ray: the cluster named by RAY_ADDRESS")]
Jobs = Annotated[
    int, typer.Option(min=1, help="cells to make at a time on this machine; above 1, each in its own process")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the plan, with the examples' exact lengths, and stop")]


@app.command(rich_help_panel=BEGIN)
def quickstart(
    context: typer.Context,
    runs: Runs = Path("runs"),
    seed: Annotated[int, typer.Option(help="the seed of the training order")] = 0,
    settings: Settings = None,
    jobs: Jobs = 2,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """The whole loop on built-in models: base, fine-tuned and distilled students with and without rationales."""
    from cotdistill.config import load_experiment, parse_overrides

    file = Path(__file__).parents[1] / "quickstart.yaml"
    experiment = load_experiment(file, {"seed": seed} | parse_overrides(settings or []))
    if dry_run:
        _print_plan(experiment, runs, jobs, as_json, exact=True)
        return
    _run(experiment, work_in(runs, context), jobs=jobs, as_json=as_json)
    if not as_json:
        put("Next, a real pretrained model (SmolLM2-135M) on real rationales:")
        put("  cotdistill recipe copy smollm2-svamp    # its README.md says where the data comes from")


@app.command("run", rich_help_panel=EXPERIMENTS)
def run_command(
    context: typer.Context,
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    jobs: Jobs = 1,
    executor: Executor = "local",
    arm: Arm = None,
    only: Annotated[
        str | None, typer.Option(metavar="ID", help="only this cell (plan lists the ids), in this process")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="read every finished stage, also those that were verified before")
    ] = False,
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make what is missing from an experiment and write its report. A failed cell stops only itself (exit status 1)."""
    experiment = read_experiment(file, settings)
    if dry_run:
        _print_plan(experiment, runs, jobs, as_json, exact=True, arm=arm, only=only)
    else:
        work = work_in(runs, context)
        _run(experiment, work, jobs=jobs, executor=executor, arm=arm, only=only, verify=verify, as_json=as_json)


@app.command(rich_help_panel=EXPERIMENTS)
def plan(
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    jobs: Jobs = 1,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STUDENT=TRAINED/GENERATED", help="its tokens per second where the experiment is going to run"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check an experiment as a run does, and say what it contains, lacks and will take. Runs nothing."""
    _print_plan(read_experiment(file, settings), runs, jobs, as_json, rates=_rates(rate or []))


def _rates(texts: list[str]) -> dict[str, tuple[float, float]]:
    """Raises ConfigError for what is not STUDENT=TRAINED/GENERATED with numbers above 0."""
    from cotdistill.errors import ConfigError

    rates = {}
    for text in texts:
        name, _, numbers = text.rpartition("=")
        try:
            trained, generated = map(float, numbers.split("/"))
            known = name and 0 < trained < math.inf and 0 < generated < math.inf
        except ValueError:
            trained = generated = known = 0
        if not known:
            remedy = "write STUDENT=TRAINED/GENERATED in tokens per second, as in small=25000/4000"
            raise ConfigError(f"{text!r} is no rate", where="--rate", remedy=remedy)
        rates[name] = (trained, generated)
    return rates


@app.command(rich_help_panel=EXPERIMENTS)
def report(file: ExperimentFile, runs: Runs = Path("runs"), settings: Settings = None, as_json: AsJson = False) -> None:
    """Write the report of an experiment as far as it is done, without running anything."""
    from cotdistill.experiments.result import load_result

    _report(load_result(read_experiment(file, settings), runs), as_json)


@app.command(rich_help_panel=EXPERIMENTS)
def advise(
    context: typer.Context,
    file: ExperimentFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    student: Annotated[str | None, typer.Option(help="the student, if the experiment has several")] = None,
    budget_share: Annotated[
        float, typer.Option(min=0, max=1, help="the share of the whole grid's cost to spend")
    ] = 0.25,
    keep: Annotated[float, typer.Option(min=0, max=1, help="the share of arms that go on after the cheap score")] = 0.5,
    replay: Annotated[bool, typer.Option("--replay", help="train nothing; use only pilots that are on disk")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which arm is best for a student, from a cheap score and pilots of the most promising arms."""
    from cotdistill.experiments.advise.advice import advice_lines
    from cotdistill.experiments.advise.advise import advise as advise_on

    advice = advise_on(
        read_experiment(file, settings),
        work_in(runs, context),
        student=student,
        budget_share=budget_share,
        keep=keep,
        replay=replay,
    )
    answer(advice.to_row(), advice_lines(advice), as_json)


@app.command("reproduce-check", rich_help_panel=EXPERIMENTS)
def reproduce_check(
    file: Annotated[
        Path | None, typer.Argument(metavar="CLAIMS.YAML", help="the claims file; default: two papers' claims")
    ] = None,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Test papers' claims on recorded results: supported, contradicted or not enough data. Nothing is run."""
    from cotdistill.cli.recipes import recipes_folder
    from cotdistill.config.claims import load_claims
    from cotdistill.experiments.claims import check_claims

    file = file or recipes_folder() / "reproduce-check" / "claims.yaml"
    results = check_claims(load_claims(file), runs, where=str(file))
    answer(results.to_row(), results.lines(), as_json)


def _run(
    experiment: Experiment,
    work: Work,
    *,
    jobs: int = 1,
    executor: Literal["local", "ray"] = "local",
    arm: str | None = None,
    only: str | None = None,
    verify: bool = False,
    as_json: bool,
) -> None:
    from cotdistill.experiments.run import run_experiment

    result = run_experiment(experiment, work, jobs=jobs, executor=executor, arm=arm, only=only, verify=verify)
    if only is None:
        _report(result, as_json)
    else:
        answer(result.to_row(), result.lines(), as_json)
    if result.failed:
        raise typer.Exit(1)


def _report(result: ExperimentResult, as_json: bool) -> None:
    """Write the report of an experiment as far as it is done, and print it."""
    from cotdistill.reports import print_table, write_report
    from cotdistill.reports.result import evidence_of
    from cotdistill.storage.atomic import disk_errors

    evidence = evidence_of(result)
    with disk_errors(result.path):
        page = write_report(evidence, result.path)
    if as_json:
        say(f"report: {page}")
        put_json(result.to_row())
        return
    put(result.counts())
    print_table(evidence)
    for each in result.failed:
        put(f"failed: {each.cell.title}: {each.error}")
    put(f"report: {page}")
    _print_students(result)


def _print_students(result: ExperimentResult, most: int = 10) -> None:
    """Where the first students lie, how to ask one, and how many more there are."""
    students = result.students()
    kept = [(name, folder) for name, folder in students.items() if folder is not None]
    for name, folder in kept[:most]:
        put(f"student {name}: {folder}")
    if len(kept) > most:
        put(f"and {len(kept) - most} students more: {result.path / 'report.md'}")
    if kept:
        put(f"to ask one: cotdistill ask {shlex.quote(str(kept[0][1]))} 'QUESTION'")
    if removed := len(students) - len(kept):
        put(f"students removed: {removed} of {len(students)} (keep_students: {result.experiment.keep_students})")


def _print_plan(
    experiment: Experiment,
    runs: Path,
    jobs: int,
    as_json: bool,
    *,
    exact: bool = False,
    rates: Mapping[str, tuple[float, float]] = MappingProxyType({}),
    arm: str | None = None,
    only: str | None = None,
) -> None:
    """``exact``: every example is made into tokens, which loads torch, and not only a sample; what a run would fetch
    from the hub is fetched."""
    from cotdistill.experiments import lengths
    from cotdistill.experiments.check import check_run
    from cotdistill.experiments.estimate import estimate, lines
    from cotdistill.experiments.plan import plan
    from cotdistill.experiments.responses import response_lines
    from cotdistill.experiments.result import read_cell
    from cotdistill.experiments.run import cells_of_arm
    from cotdistill.experiments.types import type_line
    from cotdistill.experiments.work import Work

    planned, work = plan(experiment), Work(runs, lambda line: None, writes=False)
    chosen = {cell.id for cell in ([planned.cell(only)] if only else cells_of_arm(planned, arm))}
    results = [read_cell(cell, runs / experiment.name) for cell in planned.cells]
    left = [result.cell for result in results if result.status != "done" and result.cell.id in chosen]
    read = check_run(left, planned, work.load, say=say, fetch=exact)
    found = estimate(planned, runs, rates)
    long = lengths.lengths_of(left, planned, work, exact=exact)
    cells = [
        {"id": result.cell.id, "arm": result.cell.arm, "seed": result.cell.seed, "status": result.status}
        for result in results
    ]
    if as_json:
        tasks = [task.summary() for task in read]
        comparisons = [asdict(pair) for pair in planned.comparisons]
        put_json(
            found.to_row()
            | {"dtype": type_line(experiment, runs), "cells": cells, "comparisons": comparisons, "tasks": tasks}
            | {"lengths": {arm: one.to_row() for arm, one in long.items()}}
        )
        return
    for task in read:
        put(task.summary_line())
    for result in results:
        put(f"{result.cell.id}  {result.status:<7}  {result.cell.title}")
    for pair in planned.comparisons:
        put(f"compares {pair.a} with {pair.b}" + (f" in {pair.metric}" if pair.metric != ACCURACY else ""))
    put(type_line(experiment, runs))
    put(*lines(planned, found, jobs), *lengths.lines(long), *response_lines(left, planned, exact=exact))
