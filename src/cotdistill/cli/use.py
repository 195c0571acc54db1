"""The commands that use a student: ask it, serve it, convert it, push it."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from cotdistill.cli.common import AsJson, Runs, answer, app, put, put_json, say

if TYPE_CHECKING:
    from cotdistill.config import ModelConfig
    from cotdistill.engines.bare import Reply

USE = "Use a student"
Student = Annotated[str, typer.Argument(help="a training's folder (runs/training/KEY), or a model's folder or name")]


def model_of(name: str) -> ModelConfig:
    """The model that an argument names; of a training's folder, its student."""
    from cotdistill.config import ModelConfig
    from cotdistill.config.validation import validated

    inside = Path(name) / "student"
    return validated(ModelConfig, {"model": str(inside) if inside.is_dir() else name}, where="STUDENT")


@app.command(rich_help_panel=USE)
def ask(
    student: Student,
    questions: Annotated[list[str] | None, typer.Argument(help="default: one a line from standard input")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="tokens of an answer at most")] = 512,
    temperature: Annotated[float, typer.Option(min=0, help="0: greedy")] = 0.0,
    seed: Annotated[int, typer.Option(help="the seed of what is drawn at a temperature")] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask a student questions. Its own chat template adds the instruction that it was trained with."""
    from cotdistill.config import Sampling
    from cotdistill.config.validation import validated
    from cotdistill.engines.bare import BareQuestions

    settings = {"max_new_tokens": max_new_tokens, "temperature": temperature or None, "seed": seed}
    opened = BareQuestions(model_of(student), validated(Sampling, settings, where="ask"))
    for question in questions or _typed():
        reply = opened.ask(question)
        if as_json:
            put_json({"question": question, **reply.to_row()})
        else:
            put(*_lines(reply))


def _typed() -> Iterator[str]:
    interactive = sys.stdin.isatty()
    if interactive:
        say("A question a line; end with Ctrl-D.")
    while True:
        if interactive:
            print("> ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


def _lines(reply: Reply) -> Iterable[str]:
    if reply.reasoning:
        yield from (f"  {line}" for line in reply.reasoning.splitlines())
        yield ""
    yield from reply.text.splitlines()
    if reply.truncated:
        yield f"(cut off after {reply.num_output_tokens} tokens; --max-new-tokens allows more)"


@app.command(rich_help_panel=USE)
def serve(
    student: Student,
    host: Annotated[str, typer.Option(help="the address to listen at")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serve a student over OpenAI's API, by `transformers serve`, until it is interrupted."""
    from cotdistill.errors import ConfigError
    from cotdistill.models.load.source import locate

    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        remedy = "pip install 'cotdistill[serve]'"
        raise ConfigError(f"serving needs the package {missing[0]}", where="serve", remedy=remedy)
    folder = locate(model_of(student)).resolve()
    say(f"serving {folder} at http://{host}:{port}/v1 (Ctrl-C ends it); the model's name there is this folder's path")
    script = "from transformers.cli.transformers import main; main()"
    os.execv(sys.executable, [sys.executable, "-c", script, "serve", str(folder), "--host", host, "--port", str(port)])


@app.command(rich_help_panel=USE)
def convert(
    student: Student,
    to: Annotated[Literal["gguf"], typer.Option(help="the format")] = "gguf",
    kind: Annotated[Literal["q8_0", "f16", "bf16", "f32"], typer.Option("--type", help="of the weights")] = "q8_0",
    num_questions: Annotated[
        int, typer.Option("--questions", min=1, help="of the student's test: so many are asked again at most")
    ] = 200,
    runs: Runs = Path("runs"),
    as_json: AsJson = False,
) -> None:
    """Convert a student for llama.cpp, by its own converter, and measure on the file what that changed."""
    from cotdistill.evaluation.conversion import convert as converted

    made = converted(model_of(student), kind, runs, num_questions)
    answer(made.to_row(), _measured(made.to_row()), as_json)


def _measured(row: dict[str, Any]) -> Iterable[str]:
    yield f"{row['file']}: {row['bytes'] / 1e6:,.1f} MB"
    if (measured := row["measured"]) is None:
        yield "not measured: no evaluation in --runs is the student's own"
        return
    agreement, tokens, questions = (measured[name] for name in ("top1_agreement", "num_tokens", "num_questions"))
    yield f"the same likeliest token as the student at {agreement:.2%} of {tokens:,} places ({questions} questions)"
    accuracy = measured["accuracy"]
    low, high = (100 * end for end in accuracy["interval"])
    yield (
        f"accuracy {accuracy['accuracy_a']:.1%}, the student's {accuracy['accuracy_b']:.1%}: "
        f"{100 * accuracy['difference']:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f}"
    )


@app.command(rich_help_panel=USE)
def push(
    student: Student,
    name: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="on the Hugging Face hub")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="check and list what would be sent, and send nothing")
    ] = False,
    private: Annotated[bool, typer.Option("--private", help="of a repository that is made")] = False,
    as_json: AsJson = False,
) -> None:
    """Push a student to the Hugging Face hub, once no file holds a path of this machine or a secret."""
    from cotdistill.models.load.push import packed
    from cotdistill.models.load.push import push as send

    parcel = packed(Path(model_of(student).model), name)
    if dry_run:
        sizes = [f"{size:>14,} bytes  {file}" for file, size in parcel.files.items()]
        total = f"{len(sizes)} files for {name}; none holds a path of this machine or a secret; nothing was sent"
        answer(parcel.to_row(), [*parcel.card.splitlines(), "", *sizes, total], as_json)
        return
    address = send(parcel, private=private)
    answer({"name": name, "commit": address}, [address], as_json)
