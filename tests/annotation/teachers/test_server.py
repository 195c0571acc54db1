"""A real server, `transformers serve`, started here, asked over HTTP by a real annotation, and stopped."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from cotdistill.annotation import annotate
from cotdistill.config import AnnotationConfig, Limits, OpenAITeacher, Sampling, TransformersTeacher
from cotdistill.models.load.builtin import builtin_folder
from cotdistill.records import Question
from cotdistill.storage.jsonl import read_rows

pytest.importorskip("openai")
pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

ONE_TURN = "{{ messages[0]['content'] }}\n"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def transformers_serve(model: Path, log: Path, *, seconds: float) -> Iterator[str]:
    """`transformers serve` with one model; gives its base URL, and leaves no process behind."""
    port = free_port()
    script = "from transformers.cli.transformers import main; main()"
    options = ["--host", "127.0.0.1", "--port", str(port), "--device", "cpu", "--dtype", "float32"]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-c", script, "serve", str(model), *options],
            stdout=output, stderr=output, env=environment, start_new_session=True,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + seconds
        while True:
            assert server.poll() is None, log.read_text()[-2000:]
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def questions(number: int) -> list[Question]:
    return [
        Question(f"q{n}", "own", "train", f"Ann has {n + 2} hats and buys {n}. How many?", str(2 * n + 2), "number")
        for n in range(number)
    ]


def texts(runs: Path) -> dict[str, str]:
    (log,) = runs.glob("completions/*/completions.jsonl")
    return {row["question"]: row["text"] for row in read_rows(log)}


def test_a_server_and_this_process_give_the_same_rationales(tmp_path: Path) -> None:
    """The same weights behind both doors, asked greedily with the same template."""
    model = shutil.copytree(builtin_folder("builtin:nano-student"), tmp_path / "model")
    (model / "chat_template.jinja").write_text(ONE_TURN)
    level, sampling = AnnotationConfig(granularity=3, keep="all"), Sampling(max_new_tokens=24)
    with transformers_serve(model, tmp_path / "log", seconds=120) as url:
        served = OpenAITeacher(model=str(model), base_url=url, sampling=sampling, limits=Limits(concurrency=2))
        made = annotate(questions(8), served, level, runs=tmp_path / "served")
    (log,) = tmp_path.glob("served/completions/*/completions.jsonl")
    paid = [(row["input_tokens"], row["output_tokens"]) for row in read_rows(log) if row["counted"]]
    assert len(paid) == 8
    assert made.tokens == tuple(map(sum, zip(*paid, strict=True)))
    local = TransformersTeacher(model=str(model), sampling=sampling, dtype="float32")  # pyright: ignore
    annotate(questions(8), local, level, runs=tmp_path / "local")
    assert texts(tmp_path / "served") == texts(tmp_path / "local")
    assert len(texts(tmp_path / "local")) == 8


@pytest.mark.slow
def test_smollm2_behind_a_server_annotates_questions(tmp_path: Path) -> None:
    model = builtin_folder("builtin:smollm2-135m")
    with transformers_serve(model, tmp_path / "log", seconds=300) as url:
        limits = Limits(concurrency=2, timeout_seconds=600)
        teacher = OpenAITeacher(model=str(model), base_url=url, sampling=Sampling(max_new_tokens=64), limits=limits)
        made = annotate(questions(4), teacher, AnnotationConfig(granularity=6, keep="all"), runs=tmp_path)
        again = annotate(questions(4), teacher, AnnotationConfig(granularity=6, keep="all"), runs=tmp_path)
    assert again == made
    assert len(made) + sum(made.dropped.values()) == 4
    assert len(texts(tmp_path)) == 4
    written = " ".join(rationale.rationale or "" for rationale in made)
    assert "hats" in written
    assert {rationale.meta["finish_reason"] for rationale in made} <= {"stop", "length"}
