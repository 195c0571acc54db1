"""The command that writes what was made in other programs' formats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from cotdistill.cli.common import RESULTS, AsJson, app, print_rows
from cotdistill.config import TrainingTarget


@app.command(rich_help_panel=RESULTS)
def export(
    path: Annotated[
        Path, typer.Argument(help="runs/evaluation/KEY for lm-eval; else runs/annotation/KEY or a file with rationales")
    ],
    to: Annotated[Literal["lm-eval", "messages", "prompt_completion", "sharegpt", "alpaca"], typer.Option()],
    out: Annotated[Path, typer.Option(help="the file to write (.jsonl), for lm-eval a folder")],
    target: Annotated[
        TrainingTarget, typer.Option(help="what students are taught to write, as training.target")
    ] = "rationale_then_answer",
    response: Annotated[
        Literal["think", "plain"] | None,
        typer.Option(help="think: reasoning, or else the rationale, apart; plain: in what is said; default: as it is"),
    ] = None,
    system: Annotated[str | None, typer.Option(help="a system message for conversations without one")] = None,
    as_json: AsJson = False,
) -> None:
    """Write an evaluation as lm-eval logs its samples, or rationales as the conversations that students are trained on.

    Other trainers read these: messages, and prompt_completion for loss on the last reply alone (TRL), sharegpt and
    alpaca (LLaMA-Factory). As a task's file, each of them is read back as it was.
    """
    from cotdistill.annotation.export import rationales_in
    from cotdistill.evaluation.harness import export_samples
    from cotdistill.evaluation.read import read_evaluation
    from cotdistill.storage.atomic import disk_errors
    from cotdistill.storage.jsonl import write_rows
    from cotdistill.tasks.export import exported

    if to == "lm-eval":
        judged = read_evaluation(path)
        print_rows(export_samples(judged.questions, judged.predictions, out), as_json)
        return
    rationales, dropped = rationales_in(path)
    rows = list(exported(rationales, to, target, response, system))
    with disk_errors(out):
        write_rows(out, rows)
    print_rows({to: {"path": str(out), "rows": len(rows), "dropped": dropped}}, as_json)
