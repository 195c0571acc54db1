"""Commands on a study file: its plan, its cells, advice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cotdistill.cli.common import STUDIES, AsJson, Runs, Settings, app, read_study, say

if TYPE_CHECKING:
    from cotdistill.config.study import Study
    from cotdistill.experiments.result import StudyResult
    from cotdistill.reports.evidence import Evidence

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY.YAML", help="the study file")]
Executor = Annotated[Literal["local", "ray"], typer.Option(help="ray: the cluster that RAY_ADDRESS names")]
Jobs = Annotated[int, typer.Option(min=1, help="cells at a time on this machine")]


@app.command(rich_help_panel=STUDIES)
def plan(
    file: StudyFile, runs: Runs = Path("runs"), settings: Settings = None, jobs: Jobs = 1, as_json: AsJson = False
) -> None:
    """Say what a study holds, what of it is missing, and what that will take. No model is loaded, nothing is run."""
    _print_study_plan(read_study(file, settings), runs, jobs, as_json)


@app.command(rich_help_panel=STUDIES)
def study(
    file: StudyFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    jobs: Jobs = 1,
    executor: Executor = "local",
    only: Annotated[
        str | None, typer.Option(metavar="ID", help="only this cell (plan lists the ids), in this process")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="print the plan, and do nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Run what is missing of a study and write its report. A cell that fails stops only itself, with exit status 1."""
    from cotdistill.experiments.run import run_study

    loaded = read_study(file, settings)
    if dry_run:
        _print_study_plan(loaded, runs, jobs, as_json)
        return
    result = run_study(loaded, runs, jobs=jobs, executor=executor, only=only, say=say)
    failed = [cell for cell in result.failed if only in (None, cell.cell.id)]
    if as_json:
        print(json.dumps(result.to_row(), ensure_ascii=False))
    if only is None:
        _report(result, as_json)
    elif not as_json:
        print("\n".join(result.lines()))
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=STUDIES)
def advise(
    file: StudyFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    student: Annotated[str | None, typer.Option(help="a student of the study, where it has several")] = None,
    budget_share: Annotated[float, typer.Option(min=0, max=1, help="of what the whole grid costs")] = 0.25,
    keep: Annotated[float, typer.Option(min=0, max=1, help="share of arms that go on after the cheap score")] = 0.5,
    replay: Annotated[bool, typer.Option("--replay", help="train nothing: all pilots are on disk")] = False,
    as_json: AsJson = False,
) -> None:
    """Say which arm of a study is best for a student, from a cheap score and pilots of the most promising arms."""
    from cotdistill.experiments.advise.advice import advice_lines
    from cotdistill.experiments.advise.advise import advise as advise_on

    advice = advise_on(
        read_study(file, settings),
        runs,
        student=student,
        budget_share=budget_share,
        keep=keep,
        replay=replay,
        say=say,
    )
    print(json.dumps(advice.to_row(), ensure_ascii=False) if as_json else "\n".join(advice_lines(advice)))


@app.command("reproduce-check", rich_help_panel=STUDIES)
def reproduce_check(
    file: Annotated[
        Path, typer.Argument(metavar="CLAIMS.YAML", help="the claims, each with its study and test")
    ] = Path("recipes/reproduce-check/claims.yaml"),
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Test papers' claims on what studies recorded: supported, contradicted or not enough data. Nothing is run."""
    from cotdistill.config.claims import load_claims
    from cotdistill.experiments.claims import check_claims

    results = check_claims(load_claims(file), runs, where=str(file))
    print(json.dumps(results.to_row(), ensure_ascii=False) if as_json else "\n".join(results.lines()))


def report_study(study: Study, runs: Path, as_json: bool) -> None:
    """Write and print the report of what is on disk of a study; nothing is run."""
    from cotdistill.experiments.result import load_result

    evidence = _report(load_result(study, runs), as_json)
    if as_json:
        print(json.dumps(evidence.summary(), ensure_ascii=False))


def _report(result: StudyResult, as_json: bool) -> Evidence:
    """Write the report of a study as far as it is done, and print it unless the output is for programs."""
    from cotdistill.reports import print_table, write_report
    from cotdistill.reports.result import evidence_of_study
    from cotdistill.storage.stages import disk_errors

    evidence = evidence_of_study(result)
    with disk_errors(result.path):
        page = write_report(evidence, result.path, summary=False)
    if as_json:
        say(f"report: {page}")
    else:
        print(result.lines()[0])
        print_table(evidence)
        print(f"report: {page}")
    return evidence


def _print_study_plan(study: Study, runs: Path, jobs: int, as_json: bool) -> None:
    from cotdistill.experiments.estimate import estimate, lines
    from cotdistill.experiments.inputs import check_inputs
    from cotdistill.experiments.plan import plan
    from cotdistill.experiments.result import read_cell

    planned = plan(study)
    results = [read_cell(cell, runs / study.name) for cell in planned.cells]
    check_inputs(result.cell for result in results if result.status != "done")
    found = estimate(planned, runs)
    cells = [
        {"id": result.cell.id, "arm": result.cell.arm, "seed": result.cell.seed, "status": result.status}
        for result in results
    ]
    if as_json:
        comparisons = [{"a": pair.a, "b": pair.b, "declared": pair.declared} for pair in planned.comparisons]
        print(json.dumps(found.to_row() | {"cells": cells, "comparisons": comparisons}, ensure_ascii=False))
        return
    for cell in cells:
        print(f"{cell['id']}  {cell['status']:<7}  {cell['arm']}, seed {cell['seed']}")
    for pair in planned.comparisons:
        print(f"compares {pair.a} with {pair.b}")
    print("\n".join(lines(planned, found, jobs)))
