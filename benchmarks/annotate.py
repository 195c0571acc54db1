"""Annotation: answers a second from a slow server, time and memory a row of a scripted teacher, start-up when finished.

    .venv/bin/python benchmarks/annotate.py --json

`server`: a chat completions server on this machine, in a process of its own, that answers every request after
``--latency`` seconds; ideal is concurrency / latency, and the time is the whole call's, the client's imports included.
`scripted`: answers from a file, so that all the time is ours, at several numbers of rows. `finished`: `cotdistill
annotate` on the finished annotation of the most rows, imports, reading of the questions and checksums included. Each
measurement runs in a process of its own, for its memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from cotdistill.annotation import annotate
from cotdistill.config import AnnotationConfig, Limits, OpenAITeacher, ScriptedTeacher
from cotdistill.records import Question
from cotdistill.storage.jsonl import write_rows

LEVEL = AnnotationConfig(granularity=3)
_SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.5, help="of the server, in seconds")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--requests", type=int, default=5120, help="to the server")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 100_000], help="of the scripted teacher")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        served = _apart(_ask_server, folder / "server", options.requests, options.concurrency, options.latency)
        ideal = options.concurrency / options.latency
        result = {
            "server": served | {"ideal_per_second": ideal, "share_of_ideal": served["answers_per_second"] / ideal},
            "scripted": [_apart(_read_script, folder / f"scripted-{rows}", rows) for rows in options.rows],
            "finished": _reopen(folder / "finished", max(options.rows)),
        }
    print(json.dumps(result) if options.json else json.dumps(result, indent=2))


def _questions(number: int) -> list[Question]:
    return [
        Question(
            f"q{n}", "own", "train", f"A shop has {n} jars and gets one. How many has it now?", str(n + 1), "number"
        )
        for n in range(number)
    ]


def _written(question: str) -> str:
    number = int(question.rsplit("has ", 2)[1].split()[0])
    return f"The shop has {number} jars.\nIt gets one: {number} + 1 = {number + 1} jars.\nThe answer is {number + 1}."


def _ask_server(folder: Path, requests: int, concurrency: int, latency: float) -> dict[str, Any]:
    receiving, sending = _SPAWN.Pipe(duplex=False)
    server = _SPAWN.Process(target=_serve, args=(latency, sending), daemon=True)
    server.start()
    teacher = OpenAITeacher(
        model="m",
        base_url=f"http://127.0.0.1:{receiving.recv()}/v1",
        limits=Limits(concurrency=concurrency),
    )
    try:
        before, started = _peak_mib(), time.perf_counter()
        made = annotate(_questions(requests), teacher, LEVEL, runs=folder)
        seconds = time.perf_counter() - started
    finally:
        server.kill()
    assert len(made) == requests
    return {"requests": requests, "seconds": seconds, "answers_per_second": requests / seconds, **_memory(before)}


def _read_script(folder: Path, rows: int) -> dict[str, Any]:
    questions, script = _questions(rows), folder / "script.jsonl"
    write_rows(script, ({"id": q.id, "output": _written(q.question)} for q in questions))
    before, started = _peak_mib(), time.perf_counter()
    made = annotate(questions, ScriptedTeacher(answers=script), LEVEL, runs=folder)
    seconds = time.perf_counter() - started
    assert len(made) == rows
    return {"rows": rows, "seconds": seconds, "microseconds_a_row": 1e6 * seconds / rows, **_memory(before)}


def _reopen(folder: Path, rows: int) -> dict[str, Any]:
    """`cotdistill annotate` twice; the second finds everything done. User and system time are of that process."""
    questions = _questions(rows)
    write_rows(folder / "script.jsonl", ({"id": q.id, "output": _written(q.question)} for q in questions))
    write_rows(folder / "train.jsonl", ({"id": q.id, "question": q.question, "answer": q.answer} for q in questions))
    write_rows(folder / "test.jsonl", [{"id": "t", "question": "What is 1 + 1?", "answer": "2"}])
    run = {
        "task": {"train": "train.jsonl", "test": "test.jsonl"},
        "teacher": {"kind": "scripted", "answers": "script.jsonl"},
        "annotation": {"granularity": 3},
        "student": "builtin:nano-student",
    }
    (folder / "run.yaml").write_text(json.dumps(run))  # JSON is YAML
    command = [sys.executable, "-m", "cotdistill", "annotate", "run.yaml", "--json"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    started = time.perf_counter()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    seconds = time.perf_counter() - started
    return {"rows": rows, "seconds": seconds, "processor_seconds": usage.ru_utime + usage.ru_stime}


# ---- a server that takes its time -----------------------------------------------------------------------------------


def _serve(latency: float, port: Connection) -> None:
    asyncio.run(_serve_forever(latency, port))


async def _serve_forever(latency: float, port: Connection) -> None:
    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            except (asyncio.IncompleteReadError, ConnectionError):
                return
            length = int(head.split("content-length: ")[1].split("\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            asyncio.get_running_loop().call_later(latency, writer.write, _reply(body["messages"][0]["content"]))

    server = await asyncio.start_server(connection, "127.0.0.1", 0, backlog=1024)
    port.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


def _reply(prompt: str) -> bytes:
    message = {"role": "assistant", "content": _written(prompt)}
    completion = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
    }
    data = json.dumps(completion).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(data), data)


# ---- a process for each measurement ---------------------------------------------------------------------------------


def _apart(measure: Callable[..., dict[str, Any]], *arguments: Any) -> dict[str, Any]:
    receiving, sending = _SPAWN.Pipe(duplex=False)
    process = _SPAWN.Process(target=_send, args=(sending, measure, *arguments))
    process.start()
    sending.close()
    result = receiving.recv()
    process.join()
    return result


def _send(sending: Connection, measure: Callable[..., dict[str, Any]], *arguments: Any) -> None:
    sending.send(measure(*arguments))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _memory(before: float) -> dict[str, float]:
    return {"peak_mib": _peak_mib(), "peak_mib_before": before}


if __name__ == "__main__":
    main()
