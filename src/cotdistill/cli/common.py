"""The command-line application: what its commands share, how they read a file and how they print."""

from __future__ import annotations

import gc
import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cotdistill.cli.usage import advice
from cotdistill.errors import line_of, printable
from cotdistill.version import __version__

if TYPE_CHECKING:
    from cotdistill.config import Experiment
    from cotdistill.experiments.work import Until, Work

app = typer.Typer(
    help="Distil chain-of-thought reasoning from large language models into small ones, and prove what worked.",
    epilog="cotdistill COMMAND --help explains each command. Your own data: cotdistill init questions.csv",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

BEGIN, EXPERIMENTS, STAGES, RESULTS = (
    "Getting started",
    "Work on an experiment file",
    "Run part of an experiment",
    "Inspect results",
)
"""The headings of the commands in --help."""

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.YAML", help="the experiment file")]
Arm = Annotated[str | None, typer.Option("--arm", help="only this arm of the file")]
Runs = Annotated[Path, typer.Option("--runs", help="the folder that holds all experiments and stages")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="override a setting: training.epochs=1, arms.NAME.KEY=VALUE, grid.AXIS=[...]"),
]
_INTERRUPTED = 130
"""The exit status of a command that the user interrupted (128 plus SIGINT's number)."""

AsJson = Annotated[bool, typer.Option("--json", help="print one JSON object instead of text")]


def main() -> None:
    """Run the command line; an error that the user can act on becomes one line and exit status 2."""
    gc.set_threshold(100_000, 20, 20)  # records have no cycles: looking for them took a tenth of reading 100,000 rows
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may not know a character
    try:
        _run()
    except KeyboardInterrupt:
        say("cotdistill: interrupted; run the same command again to continue")
        _end_at_once(_INTERRUPTED)  # a plain exit would wait for threads, which may wait for a server for minutes
    except typer.TyperException as error:  # how the command was written; without a message, its help was printed
        if message := error.format_message():
            path = getattr(getattr(error, "ctx", None), "command_path", "cotdistill")
            remedy = advice(message)
            problem = message.partition(" (Possible")[0].rstrip(".") if remedy else message.rstrip(".")
            say(f"cotdistill: {problem}; {f'{remedy}; ' if remedy else ''}see {path} --help")
        sys.exit(2)
    except BrokenPipeError:  # the reader of our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:
        line = line_of(error)
        if line is None:
            raise
        say(f"cotdistill: {line}")
        _drop_output()
        sys.exit(2)


def _drop_output() -> None:
    """What cannot be written would be tried again at the interpreter's end, which has an exit status of its own."""
    try:
        if sys.stdout:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run() -> None:
    try:
        if os.environ.get("WORLD_SIZE", "1") not in ("", "1"):  # started by accelerate launch or torchrun
            from cotdistill.training.launched import run_on_ranks

            run_on_ranks(lambda ranks: _call(obj=ranks))
            _end_at_once(0)  # where a model still holds a process group, its threads may abort a plain exit
        _call()
    finally:
        if sys.stdout:  # a full disk is met here, not at the interpreter's end
            sys.stdout.flush()


def _call(obj: Any = None) -> None:
    status = app(obj=obj, standalone_mode=False)
    if status == _INTERRUPTED:  # what typer makes of a KeyboardInterrupt
        raise KeyboardInterrupt
    sys.exit(status or 0)


def _end_at_once(status: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="print it")
    ] = False,
) -> None:
    pass


def read_experiment(file: Path, settings: list[str] | None) -> Experiment:
    from cotdistill.config import load_experiment, parse_overrides

    return load_experiment(file, parse_overrides(settings or []))


def work_in(runs: Path, context: typer.Context | None = None, until: Until = "evaluate") -> Work:
    """What making cells takes: where, up to which verb, and the ranks of a launched command's ``context``."""
    from cotdistill.experiments.work import Work

    return Work(runs, say, until, context.obj if context else None)


def print_rows(rows: dict[str, dict[str, Any]], as_json: bool) -> None:
    if as_json:
        put_json(rows)
        return
    for name, row in rows.items():
        put(f"{name}: " + ", ".join(f"{key} {value}" for key, value in row.items() if value not in ({}, None)))


def put(*lines: str) -> None:
    """Print lines to standard output. Names and texts in them may be anybody's: what a terminal acts on is escaped."""
    for line in lines:
        print(printable(line))


def answer(value: Any, lines: Iterable[str], as_json: bool) -> None:
    """Print a command's answer: ``value`` as JSON, or ``lines``."""
    if as_json:
        put_json(value)
    else:
        put(*lines)


def put_json(value: Any) -> None:
    put(json.dumps(value, ensure_ascii=False))


def say(line: str) -> None:
    """Print a line to standard error, escaped as by :func:`put`."""
    print(printable(line), file=sys.stderr)
