"""The command that shows a row as a model will see it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cotdistill.cli.common import (
    EXPERIMENTS,
    Arm,
    AsJson,
    ExperimentFile,
    Runs,
    Settings,
    app,
    put_json,
    read_experiment,
    say,
    work_in,
)
from cotdistill.errors import printable

if TYPE_CHECKING:
    from cotdistill.config import Experiment
    from cotdistill.experiments.rows import Row, Taught, Token

_COLOURS = {"prompt": 90, "reasoning": 35, "rationale": 34, "answer": 32, "end": 33}
"""ANSI colours by region."""
_WIDTH = 100


@app.command("check", rich_help_panel=EXPERIMENTS)
def check_command(
    file: ExperimentFile,
    row: Annotated[
        str | None,
        typer.Option(metavar="ID|N", help="a question's id, or its number: those to train on, then those to test on"),
    ] = None,
    arm: Arm = None,
    runs: Runs = Path("runs"),
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Show a row as an arm's model is asked and should write it, token by token; check all that a run checks."""
    shown, others = _row(read_experiment(file, settings), runs, arm, row)
    if as_json:
        put_json(shown.to_row())
        return
    colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    for line in row_lines(shown, colour=colour):
        print(line)  # the texts in it are escaped, its colours are not
    if others:
        say(f"--arm shows another arm: {', '.join(others)}")


def _row(experiment: Experiment, runs: Path, arm: str | None, chosen: str | None) -> tuple[Row, list[str]]:
    """The row in the arm that is named, or the first that is taught rationales; and the other arms."""
    from cotdistill.experiments.check import check_run
    from cotdistill.experiments.plan import plan
    from cotdistill.experiments.rows import read_row
    from cotdistill.experiments.run import cells_of_arm

    work, planned = replace(work_in(runs), writes=False), plan(experiment)
    cells = cells_of_arm(planned, arm)
    trained = [each for each in cells if not each.untrained] or cells
    cell = next((each for each in trained if each.config.teacher.kind != "answer_only"), trained[0])
    check_run([cell], planned, work.load, sample=1)
    others = [name for name in experiment.arms if name != cell.factors["arm"]]
    return read_row(cell, planned, work, chosen), others if arm is None else []


def row_lines(row: Row, *, colour: bool) -> Iterator[str]:
    """What there is to say of a row."""
    use = "to train on" if row.split == "train" else "to test on"
    yield printable(f"row {row.number} of {row.total}, {use}: {row.id}; arm {row.arm}, student {row.student}")
    if row.teacher:
        yield printable(f"teacher: {row.teacher}")
    yield printable(f"gold answer: {row.answer} ({row.answer_type})")
    for teacher, prompt in row.teachers.items():
        yield printable(f"{teacher} is asked:")
        yield from (f"    {printable(line)}" for line in prompt.splitlines())
    if row.left_out:
        yield printable(f"not trained on: {row.left_out}")
    for taught in row.taught:
        yield from _taught_lines(taught, row.terms, colour=colour)
    if row.tested is not None:
        yield f"in the test the model is asked, in {_counted(row.tested)}:"
        yield from _token_lines(row.tested, colour=colour)


def _taught_lines(taught: Taught, terms: tuple[str, ...], *, colour: bool) -> Iterator[str]:
    fates = {
        "whole": f"{taught.length} of at most {taught.limit:,} tokens",
        "cut": f"cut, {taught.length:,} tokens become {len(taught.tokens):,}: at most {taught.limit:,} fit",
        "too_long": f"not trained on, too long: {taught.length:,} tokens, at most {taught.limit:,} fit",
    }
    yield f"asked for {taught.asked.replace('_', ' ')}; {fates[taught.fate]}:"
    for region, group in groupby(taught.tokens, key=lambda token: token.region):
        tokens = list(group)
        yield _painted(f"{region}, {_counted(tokens)}, {_weights(tokens, terms)}", region, colour=colour)
        yield from _token_lines(tokens, colour=colour)
    if taught.teacher_reads:
        yield f"the signal's model reads instead of this prompt, in {_counted(taught.teacher_reads)}:"
        yield from _token_lines(taught.teacher_reads, colour=colour)


def _counted(tokens: Sequence[Token]) -> str:
    return f"{len(tokens)} token{'' if len(tokens) == 1 else 's'}"


def _weights(tokens: list[Token], terms: tuple[str, ...]) -> str:
    """The weights of tokens in each term of the loss, as one number where all have the same."""
    if tokens[0].region == "prompt":
        return "no loss"
    said = []
    for place, term in enumerate(terms):
        weights = sorted({token.weights[place] for token in tokens})
        of_term = f"{weights[0]:g}" if len(weights) == 1 else f"{weights[0]:g} to {weights[-1]:g}"
        said.append(f"weight {of_term}" + (f" in {term}" if len(terms) > 1 else ""))
    return ", ".join(said)


def _token_lines(tokens: Iterable[Token], *, colour: bool) -> Iterator[str]:
    """Tokens between bars or, in colour, every second one underlined; a line break ends a line."""
    line, width = [], 0
    for place, token in enumerate(tokens):
        text = printable(token.text)
        if line and width + len(text) > _WIDTH:
            yield "    " + _joined(line, colour=colour)
            line, width = [], 0
        line.append(_painted(text, token.region, colour=colour, underlined=place % 2 == 1))
        width += len(text) + 1
        if token.text.endswith("\n"):
            yield "    " + _joined(line, colour=colour)
            line, width = [], 0
    if line:
        yield "    " + _joined(line, colour=colour)


def _joined(texts: list[str], *, colour: bool) -> str:
    return "".join(texts) if colour else "|".join(texts)


def _painted(text: str, region: str, *, colour: bool, underlined: bool = False) -> str:
    return f"\x1b[{'4;' if underlined else ''}{_COLOURS[region]}m{text}\x1b[0m" if colour else text
