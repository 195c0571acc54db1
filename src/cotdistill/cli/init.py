"""The command that writes a first experiment on the user's own questions."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cotdistill.cli.common import BEGIN, AsJson, app, put, put_json, say
from cotdistill.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from cotdistill.experiments.begin import Begun, Wanted
    from cotdistill.experiments.rows import Row

SCHEMA = "cotdistill.schema.json"
_SHOWN = 3
_STUDENT = "builtin:nano-student"


@app.command(rich_help_panel=BEGIN)
def init(
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="DATA", help="your file of questions, hub:NAME, benchmarks, or procedural"),
    ] = None,
    student: Annotated[str | None, typer.Option(help="the model to train; default: builtin:nano-student")] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="human (rationales in the file), answer_only, procedural, or a model; default: what is there"
        ),
    ] = None,
    teacher_url: Annotated[
        str | None, typer.Option(help="the server at which the teacher is asked, e.g. http://127.0.0.1:8000/v1")
    ] = None,
    test: Annotated[Path | None, typer.Option(help="a file of questions to test on; default: a share of DATA")] = None,
    column: Annotated[
        list[str] | None, typer.Option(metavar="OURS=YOURS", help="a column's name, e.g. question=prompt")
    ] = None,
    to: Annotated[Path, typer.Option(help="the file to write")] = Path("experiment.yaml"),
    force: Annotated[bool, typer.Option("--force", help="replace the file if it exists")] = False,
    as_json: AsJson = False,
) -> None:
    """Write an experiment on your own questions that runs as it is, and show three of them as a model will see them.

    Without DATA, on a terminal, it asks.
    """
    from cotdistill.experiments.begin import Wanted, begin

    interactive = sys.stdin.isatty() and not as_json
    data, student, teacher = _asked(data, student, teacher, interactive=interactive)
    wanted = Wanted(data, student or _STUDENT, test, teacher, teacher_url, _columns(column or []))
    if teacher_url and not teacher:
        raise ConfigError("there is no model to ask", where="--teacher-url", remedy="name it with --teacher")
    if to.exists() and not force and not (interactive and _agreed(f"{to} exists. Replace it?")):
        raise ConfigError("it exists", where=to, remedy="write another file with --to, or replace it with --force")
    begun = begin(wanted, to.parent)
    rows = _checked_rows(begun, to)
    written = _write(begun, to)
    if as_json:
        put_json(_to_row(wanted, begun, rows, written))
        return
    put(*_lines(begun, rows))
    put(f"written: {', '.join(map(str, written))}", f"next: cotdistill run {to}")


def _asked(
    data: list[str] | None, student: str | None, teacher: str | None, *, interactive: bool
) -> tuple[list[str], str | None, str | None]:
    """What was not said, asked on a terminal. Raises ConfigError for a missing DATA elsewhere."""
    if data:
        return data, student, teacher
    if not interactive:
        remedy = "cotdistill init questions.csv; see cotdistill init --help"
        raise ConfigError("no questions are named", where="DATA", remedy=remedy)
    data = _answer("Your questions (a file, hub:NAME, benchmarks or procedural)", "procedural").split()
    student = student or _answer("The student (a hub name, ./a-folder or a built-in model)", _STUDENT)
    teacher = teacher or _answer("The teacher (human, answer_only, a model; empty: what the questions have)", "")
    return data, student, teacher or None


def _answer(question: str, default: str) -> str:
    print(f"{question}{f' [{default}]' if default else ''}: ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip() or default


def _agreed(question: str) -> bool:
    return _answer(f"{question} (y/n)", "n").casefold() in ("y", "yes")


def _columns(pairs: list[str]) -> dict[str, str]:
    """Raises ConfigError for what is not OURS=YOURS."""
    columns: dict[str, str] = {}
    for pair in pairs:
        ours, equals, yours = pair.partition("=")
        if not (ours and equals and yours):
            remedy = "write OURS=YOURS, as in question=prompt"
            raise ConfigError(f"{pair!r} names no column", where="--column", remedy=remedy)
        columns[ours] = yours
    return columns


def _checked_rows(begun: Begun, to: Path) -> list[Row]:
    """Three rows as the experiment's last arm is taught them, once it passes the checks of a run.

    Of a student that is not on this machine there are none.
    """
    from cotdistill.config import experiment_of
    from cotdistill.config.files import parse_yaml
    from cotdistill.experiments.check import check_run
    from cotdistill.experiments.plan import plan
    from cotdistill.experiments.work import Work

    work = Work(to.parent / "runs", say, writes=False)
    planned = plan(experiment_of(parse_yaml(begun.text), None, where=str(to), folder=to.parent))
    check_run(planned.cells, planned, work.load, say=say, fetch=False)
    if begun.num_train is None:
        return []
    try:
        from cotdistill.experiments.rows import read_row

        return [
            read_row(planned.cells[-1], planned, work, str(number))
            for number in range(1, min(_SHOWN, begun.num_train) + 1)
        ]
    except ModelError as error:  # a hub that cannot be reached, as the checks have said
        say(f"no row can be shown yet: {error}")
        return []


def _write(begun: Begun, to: Path) -> list[Path]:
    """Write the file, and the schema that its first line names where there is none."""
    import json

    from cotdistill.config.schema import file_schema
    from cotdistill.storage.atomic import disk_errors, write_text_atomically

    schema = to.parent / SCHEMA
    with disk_errors(to):
        to.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomically(to, begun.text)
        if schema.exists():
            return [to]
        write_text_atomically(schema, json.dumps(file_schema(), ensure_ascii=False) + "\n")
    return [to, schema]


def _lines(begun: Begun, rows: list[Row]) -> list[str]:
    lines = [f"the {ours} is read from the column {yours!r}" for ours, yours in begun.columns.items()]
    for row in rows:
        shown = _texts(row)
        lines.append(f"row {row.number} of {row.total}, {row.id}: the model reads")
        lines += [f"    {line}" for line in shown["prompt"].splitlines()]
        lines.append("  and learns to write" if shown["target"] else f"  and is not taught it yet: {row.left_out}")
        lines += [f"    {line}" for line in shown["target"].splitlines()]
    return lines


def _texts(row: Row) -> dict[str, str]:
    """A row's prompt and target; before its teacher was asked, what the teacher reads."""
    if not row.taught:
        return {"prompt": next(iter(row.teachers.values()), ""), "target": ""}
    tokens = row.taught[0].tokens
    prompt = "".join(token.text for token in tokens if token.region == "prompt")
    return {"prompt": prompt, "target": "".join(token.text for token in tokens if token.region != "prompt")}


def _to_row(wanted: Wanted, begun: Begun, rows: list[Row], written: list[Path]) -> dict[str, Any]:
    return {
        "written": [str(path) for path in written],
        "student": wanted.student,
        "teacher": begun.teacher,
        "columns": begun.columns,
        "num_train": begun.num_train,
        "num_test": begun.num_test,
        "rows": [{"id": row.id, **_texts(row), "left_out": row.left_out} for row in rows],
    }
