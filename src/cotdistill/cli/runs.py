"""Commands on a run file: all of it, or one stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cotdistill.cli.common import BEGIN, RUN_FILES, AsJson, Runs, Settings, app, print_rows, read_run, say

if TYPE_CHECKING:
    from cotdistill.config import Run, RunConfig
    from cotdistill.pipeline import LoadTask

RunFile = Annotated[Path, typer.Argument(metavar="RUN.YAML", help="the run file")]
Arm = Annotated[str | None, typer.Option("--arm", help="only this arm of the run file")]


@app.command(rich_help_panel=BEGIN)
def quickstart(
    runs: Runs = Path("runs"),
    seed: Annotated[int, typer.Option(help="seed of the training order")] = 0,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """The whole loop on built-in models: base, fine-tuned and distilled students with and without rationales."""
    from cotdistill.config import load_run, parse_overrides

    run = load_run(Path(__file__).parents[1] / "quickstart.yaml", {"seed": seed} | parse_overrides(settings or []))
    execute_and_report(run, runs, as_json)
    if not as_json:
        print("Next, a real pretrained model (SmolLM2-135M) on real rationales:")
        print("  make smollm2 COTDISTILL_DATA=DATA    # see recipes/smollm2-svamp/README.md")


@app.command("run", rich_help_panel=RUN_FILES)
def run_command(
    file: RunFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say what would be done, and do nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Annotate, train, evaluate and report every arm of a run file. Finished stages are not done again."""
    run = read_run(file, settings)
    if dry_run:
        _print_plan(run, as_json)
    else:
        execute_and_report(run, runs, as_json)


@app.command(rich_help_panel=RUN_FILES)
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
    from cotdistill.pipeline import make_arm_annotation, plan_arm
    from cotdistill.storage.stages import read_stage

    rows: dict[str, dict[str, Any]] = {}
    run, paths = read_run(file, settings), {}
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
        say(f"data card: {_write_data_card(run, paths, runs)}")
    print_rows(rows, as_json)


@app.command("import", rich_help_panel=RUN_FILES)
def import_command(
    source: Annotated[str, typer.Argument(help="eit_cot, cot_collection, flan_cot or distilling_step_by_step")],
    path: Annotated[Path, typer.Argument(help="a file of the release, or the folder it came in")],
    out: Annotated[Path | None, typer.Option("--out", help="write the rationales to this JSON Lines file")] = None,
    as_json: AsJson = False,
) -> None:
    """Read rationales that others released, say what could not be read, and write them as a file to train on."""
    from cotdistill.annotation.released.importers import import_rationales
    from cotdistill.storage.stages import disk_errors, write_rows

    imported = import_rationales(source, path)
    if out is not None:
        with disk_errors(out):
            write_rows(out, (rationale.to_row() for rationale in imported.records))
    print_rows({source: imported.to_row() | ({"path": str(out)} if out else {})}, as_json)


@app.command(rich_help_panel=RUN_FILES)
def capture(
    file: RunFile,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    arm: Arm = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="say how large it will be, and capture nothing")] = False,
    as_json: AsJson = False,
) -> None:
    """Capture the teacher's signal of each arm that reads it from disk (training.signal.kind: cache).

    Its rationales, and the students of other arms that it uses, are made first, also for --dry-run.
    """
    from cotdistill.config import CachedTeacher
    from cotdistill.pipeline import after_training, annotate_arm, capture_arm, size_of_capture

    rows = {}
    run = read_run(file, settings)
    for name, untrained in _arms(run, arm).items():
        config = after_training(untrained, run, runs)
        if config.training is None or not isinstance(config.training.signal, CachedTeacher):
            continue
        rationales = annotate_arm(config, runs)
        size = size_of_capture(config, rationales)
        say(f"{name}: {size['num_tokens']} tokens to read, {size['size']} to write")
        rows[name] = size if dry_run else size | {"path": str(capture_arm(config, rationales, runs).folder)}
    print_rows(rows, as_json)


@app.command(rich_help_panel=RUN_FILES)
def train(
    file: RunFile, runs: Runs = Path("runs"), settings: Settings = None, arm: Arm = None, as_json: AsJson = False
) -> None:
    """Train the student of each arm (and collect its rationales first)."""
    from cotdistill.pipeline import after_training, annotate_arm, train_arm

    rows = {}
    run = read_run(file, settings)
    arms, load = _checked_arms(run, arm)
    for name, untrained in arms.items():
        config = after_training(untrained, run, runs, load)
        if config.training is not None:
            student = train_arm(config, annotate_arm(config, runs, load), runs)
            rows[name] = {"student": str(student.model), "dropped": student.dropped, **student.summary}
    print_rows(rows, as_json)


@app.command(rich_help_panel=RUN_FILES)
def evaluate(
    file: RunFile, runs: Runs = Path("runs"), settings: Settings = None, arm: Arm = None, as_json: AsJson = False
) -> None:
    """Test the student of each arm (and make it first where it is missing)."""
    from cotdistill.pipeline import after_training, execute_arm

    rows = {}
    run = read_run(file, settings)
    arms, load = _checked_arms(run, arm)
    for name, config in arms.items():
        result = execute_arm(name, after_training(config, run, runs, load), runs, say=say, load=load)
        rows[name] = result.evaluation.score.to_row() | {"path": str(result.evaluation.path)}
    print_rows(rows, as_json)


def _arms(run: Run, arm: str | None) -> dict[str, RunConfig]:
    from cotdistill.errors import ConfigError, nearest

    if arm is None:
        return run.arms
    if arm not in run.arms:
        raise ConfigError(f"unknown arm {arm!r}", where="--arm", remedy=nearest(arm, run.arms))
    return {arm: run.arms[arm]}


def _checked_arms(run: Run, arm: str | None) -> tuple[dict[str, RunConfig], LoadTask]:
    """The arms to make, once it is known that each of them can be, and a way to load their tasks once."""
    from cotdistill.pipeline import before_training, check_arm, loading_once

    arms, load = _arms(run, arm), loading_once(say)
    for config in arms.values():
        check_arm(before_training(config, run), load)
    return arms, load


def _write_data_card(run: Run, paths: dict[str, Path], runs: Path) -> Path:
    from cotdistill.config import OpenAITeacher
    from cotdistill.engines.costs import price_of
    from cotdistill.reports.data_card import Annotated, write_card

    teachers = {name: run.arms[name].teacher for name in paths}
    prices = {
        name: price_of(teacher) if isinstance(teacher, OpenAITeacher) else None for name, teacher in teachers.items()
    }
    return write_card([Annotated(name, path, prices[name]) for name, path in paths.items()], runs / run.name)


def execute_and_report(run: Run, runs: Path, as_json: bool) -> Path:
    """Make what is missing, write the report, print its table; returns the path of the report's page."""
    from cotdistill.pipeline import execute
    from cotdistill.reports import print_table, write_report
    from cotdistill.reports.result import evidence_of_run
    from cotdistill.storage.stages import disk_errors

    result = execute(run, runs, say=say)
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
    print_rows(rows, as_json)
