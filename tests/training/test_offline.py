"""Offline rollouts: drawn once from the student before training, scored once, and the same to training as live ones."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command import new_process
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.training.test_rollouts import (
    RATIONALES,
    assert_same_weights,
    config,
    drawn_by,
    examples,
    metrics,
    own_samples,
)

from cotdistill.config import ModelConfig, TrainingConfig
from cotdistill.engines.asking import CompletionLog
from cotdistill.errors import DataError, ModelError, TrainingError
from cotdistill.models.generate.generation import generate
from cotdistill.models.tokens.template import stop_token_id
from cotdistill.storage.jsonl import read_rows
from cotdistill.training import offline
from cotdistill.training.data.store import make_tokens
from cotdistill.training.job import TrainingJob
from cotdistill.training.loop import train_student
from cotdistill.training.rollouts import Rollouts
from cotdistill.training.signals.live import LiveSignal
from cotdistill.training.stage import capture_signals, training_identity
from cotdistill.training.stage import train as train_stage


def models(folder: Path) -> tuple[ModelConfig, ModelConfig]:
    """Student and teacher."""
    return tuple(ModelConfig(model=str(save_tiny(folder / f"model{seed}", seed=seed))) for seed in range(2))  # pyright: ignore


def settings(teacher: ModelConfig, kind: str = "cache", **changes: Any) -> TrainingConfig:
    own = {"share": 1.0, "max_new_tokens": 8, "offline": True} | changes.pop("on_policy", {})
    return config(**{"epochs": 2, "signal": {"kind": kind, "model": teacher}, "on_policy": own} | changes)


def drawn_once(*asked: Any) -> offline.Drawn:
    drawn = offline.make_drawn(*asked)
    assert drawn is not None
    return drawn


def folders(runs: Path, noun: str) -> list[Path]:
    return sorted((runs / noun).iterdir())


def test_a_step_on_samples_drawn_before_is_the_live_step_on_the_same_samples(tmp_path: Path) -> None:
    """Same samples and weights: the same loss, gradient and student, to the bit."""
    at_start = drawn_by(own_samples(share=1.0), tiny_model(len(tiny_tokenizer())), dict(enumerate(examples())), step=0)
    ready: dict[str, Rollouts] = {
        "live": own_samples(share=1.0),
        "offline": Rollouts(
            own_samples(share=1.0).config, tiny_tokenizer(), 0, torch.float32, [at_start[n] for n in range(8)]
        ),
    }
    for name, rollouts in ready.items():
        (tmp_path / name).mkdir()
        student, teacher = tiny_model(len(tiny_tokenizer())), tiny_model(len(tiny_tokenizer()), seed=1)
        one_step = config(epochs=1, batch_size=8)
        train_student(
            student, examples(), one_step, signal=LiveSignal(teacher), seed=0, folder=tmp_path / name, rollouts=rollouts
        )
        torch.save(student.state_dict(), tmp_path / f"{name}.pt")
    assert metrics(tmp_path / "live") == metrics(tmp_path / "offline")
    assert len(metrics(tmp_path / "live")) == 1
    assert_same_weights(tmp_path / "live.pt", tmp_path / "offline.pt")


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_a_stored_signal_of_samples_gives_the_student_that_a_live_teacher_gives(share: float, tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    made = {
        kind: train_stage(
            student, RATIONALES, settings(teacher, kind, on_policy={"share": share}), seed=2, runs=tmp_path / kind
        )
        for kind in ("live", "cache")
    }
    live, stored = made["live"], made["cache"]
    assert live.path.name == stored.path.name, "the key says that they are the same"
    assert metrics(live.path) == metrics(stored.path)
    assert (live.model / "model.safetensors").read_bytes() == (stored.model / "model.safetensors").read_bytes()
    assert {"rollouts" in row for row in metrics(live.path)} == ({True, False} if share < 1 else {True})


def test_arms_seeds_and_epochs_share_what_is_drawn_and_scored_once(tmp_path: Path) -> None:
    """Whatever the loss, the order, the rationales behind the same prompts or the rest of the training."""
    student, teacher = models(tmp_path)
    changed = [one.__class__(one.question, "Another text.", "you", 3, "cot") for one in RATIONALES]
    for rationales, loss, seed, epochs in (
        (RATIONALES, "forward_kl", 0, 1),
        (RATIONALES, "reverse_kl", 1, 2),
        (changed, "forward_kl", 0, 1),
    ):
        train_stage(student, rationales, settings(teacher, loss=[loss], epochs=epochs), seed=seed, runs=tmp_path)
    assert len(folders(tmp_path, "rollouts")) == 1
    assert len(folders(tmp_path, "training")) == 3
    (drawn,) = folders(tmp_path, "rollouts")
    assert len(list(read_rows(drawn / offline.LOG))) == len(RATIONALES)
    assert len(folders(tmp_path, "teacher_signal")) == 1
    train_stage(student, RATIONALES, settings(teacher, on_policy={"temperature": 0.5}), seed=0, runs=tmp_path)
    assert len(folders(tmp_path, "rollouts")) == 2


def test_capturing_beforehand_draws_the_samples_that_a_training_reads(tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    (captured,) = capture_signals(student, RATIONALES, settings(teacher, on_policy={"share": 0.5}), runs=tmp_path)
    tokens = make_tokens(student, RATIONALES, settings(teacher), tmp_path)
    drawn = drawn_once(student, tokens, settings(teacher), tmp_path)
    assert set(captured.places) == {example.key for part in (tokens.examples, drawn.examples) for example in part}
    train_stage(student, RATIONALES, settings(teacher, on_policy={"share": 0.5}), seed=0, runs=tmp_path)
    assert folders(tmp_path, "teacher_signal") == [captured.folder]


def test_samples_stored_are_those_that_the_student_writes(tmp_path: Path) -> None:
    """With their tokens, behind their prompts, counted, and two for a prompt that comes twice."""
    student, teacher = models(tmp_path)
    tokens = make_tokens(student, [*RATIONALES, RATIONALES[0]], settings(teacher), tmp_path)
    drawn = drawn_once(student, tokens, settings(teacher), tmp_path)
    assert [sample.prompt for sample in drawn.examples] == [example.prompt for example in tokens.examples]
    assert drawn.examples[0].loss_targets != drawn.examples[8].loss_targets
    stop, lengths = stop_token_id(tiny_tokenizer()), [sample.num_loss_tokens for sample in drawn.examples]
    assert max(lengths) <= 8
    assert drawn.summary["num_samples"] == 9
    assert drawn.summary["mean_length"] == sum(lengths) / 9
    assert drawn.summary["truncated"] == sum(sample.targets[-1] != stop for sample in drawn.examples)
    assert drawn.line().startswith("9 samples of the student before training: ")
    greedy = settings(teacher, on_policy={"temperature": 0.001})
    sharp = drawn_once(student, tokens, greedy, tmp_path)
    model = tiny_model(len(tiny_tokenizer()))
    written = {
        one.index: one.token_ids
        for one in generate(
            model,
            [example.prompt for example in tokens.examples],
            max_new_tokens=8,
            max_batch_size=1,
            stop_token_ids=[stop],
        )
    }
    for number, sample in enumerate(sharp.examples):
        assert sample.loss_targets[: len(written[number])] == written[number]


def draw_and_die(folder: Path, dies_after: int | None) -> None:
    """Few at a time; killed behind some that were written down."""
    offline.MAX_ROWS = 1
    add_all, batches = CompletionLog.add_all, []

    def add(self: CompletionLog, completions: Any) -> None:
        add_all(self, completions)
        batches.append(len(completions))
        if dies_after is not None and len(batches) == dies_after:
            os.kill(os.getpid(), signal.SIGKILL)

    CompletionLog.add_all = add
    student, teacher = (ModelConfig(model=str(folder.parent / f"model{seed}")) for seed in range(2))
    drawn_once(student, make_tokens(student, RATIONALES, settings(teacher), folder), settings(teacher), folder)
    (folder / "asked").write_text(str(sum(batches)))


def test_drawing_that_was_killed_goes_on_and_draws_nothing_twice(tmp_path: Path) -> None:
    models(tmp_path)
    for name, deaths in {"unbroken": [None], "killed": [1, None]}.items():
        (tmp_path / name).mkdir()
        for dies_after in deaths:
            process = new_process(draw_and_die, tmp_path / name, dies_after)
            process.join(240)
            assert process.exitcode == (0 if dies_after is None else -signal.SIGKILL)
    logs = [folders(tmp_path / name, "rollouts")[0] / offline.LOG for name in ("unbroken", "killed")]
    assert logs[0].read_bytes() == logs[1].read_bytes()
    assert (tmp_path / "unbroken" / "asked").read_text() == "8"
    assert 0 < int((tmp_path / "killed" / "asked").read_text()) < 8


def test_a_prompt_that_leaves_no_room_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    with pytest.raises(TrainingError, match=r"student's 512 positions; lower training\.on_policy\.max_new_tokens"):
        train_stage(student, RATIONALES, settings(teacher, on_policy={"max_new_tokens": 500}), seed=0, runs=tmp_path)


class StudentServer(ThreadingHTTPServer):
    """Serves the tiny student as vLLM does: token ids in, text and token ids out, the stop token among these."""

    def __init__(self, change: Callable[[dict[str, Any]], dict[str, Any] | int] = lambda choice: choice):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.model, self.tokenizer, self.change = tiny_model(len(tiny_tokenizer())), tiny_tokenizer(), change
        self.requests: list[dict[str, Any]] = []
        self.lock = threading.Lock()

    def __enter__(self) -> StudentServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def engine(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        return {"kind": "openai", "base_url": url, "model": "tiny", "limits": {"max_retries": 0}}

    def choice(self, request: dict[str, Any]) -> dict[str, Any]:
        stop = stop_token_id(self.tokenizer)
        (written,) = generate(
            self.model,
            [request["prompt"]],
            max_new_tokens=request["max_tokens"],
            max_batch_size=1,
            stop_token_ids=[stop],
        )
        ids = [*written.token_ids, *([stop] if written.finished else [])]
        text = self.tokenizer.decode(written.token_ids)
        return {"text": text, "token_ids": ids, "finish_reason": "stop" if written.finished else "length"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: StudentServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            self.server.requests.append(request)
            changed = self.server.change(self.server.choice(request))
        status, body = (changed, {"error": {"message": "no"}}) if isinstance(changed, int) else (200, changed)
        usage = {"prompt_tokens": len(request["prompt"]), "completion_tokens": 8}
        data = json.dumps(body if status != 200 else {"choices": [body], "usage": usage}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None: ...


def test_a_server_of_the_student_draws_its_samples_once(tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    with StudentServer() as server:
        served = settings(teacher, on_policy={"engine": server.engine(), "temperature": 0.7})
        tokens = make_tokens(student, RATIONALES, served, tmp_path)
        drawn = drawn_once(student, tokens, served, tmp_path)
        for seed in range(2):
            train_stage(student, RATIONALES, served, seed=seed, runs=tmp_path)
    assert len(server.requests) == len(RATIONALES)
    first = server.requests[0]
    assert (first["temperature"], first["max_tokens"], first["return_token_ids"]) == (0.7, 8, True)
    prompts = [request["prompt"] for request in server.requests]
    assert sorted(prompts) == sorted(example.prompt for example in tokens.examples)
    for sample in drawn.examples:
        (written,) = generate(
            tiny_model(len(tiny_tokenizer())), [sample.prompt], max_new_tokens=8, max_batch_size=1,
            stop_token_ids=[stop_token_id(tiny_tokenizer())],
        )  # fmt: skip
        stop = [stop_token_id(tiny_tokenizer())] if written.finished else []
        assert sample.loss_targets == [*written.token_ids, *stop]


def test_texts_without_tokens_are_tokenised_and_counted(tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    with StudentServer(lambda choice: choice | {"text": "So the answer is 4.", "token_ids": None}) as server:
        served = settings(teacher, on_policy={"engine": server.engine()})
        drawn = drawn_once(student, make_tokens(student, RATIONALES, served, tmp_path), served, tmp_path)
    assert drawn.summary["tokenised_again"] == len(RATIONALES)
    assert "8 came as text, whose tokens may be others" in drawn.line()
    expected = tiny_tokenizer()("So the answer is 4.", add_special_tokens=False)["input_ids"]
    assert drawn.examples[0].loss_targets[: len(expected)] == expected


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda choice: 503, DataError, "8 of 8 are unanswered .status_503"),
        (
            lambda choice: choice | {"text": "", "token_ids": [], "finish_reason": "length"},
            DataError,
            "empty_completion",
        ),
        (
            lambda choice: choice | {"text": "quite other words"},
            ModelError,
            "8 of 8 samples have tokens with another text",
        ),
        (lambda choice: choice | {"token_ids": [10**6]}, ModelError, "serve the student itself"),
    ],
)
def test_what_a_server_cannot_mean_is_refused_in_one_line(
    change: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    student, teacher = models(tmp_path)
    with StudentServer(change) as server:
        served = settings(teacher, on_policy={"engine": server.engine()})
        with pytest.raises(error, match=message) as raised:
            train_stage(student, RATIONALES, served, seed=0, runs=tmp_path)
    assert "\n" not in str(raised.value)


def test_the_key_of_a_training_says_whether_its_samples_are_live(tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    live = training_identity(student, RATIONALES, settings(teacher, "live", on_policy={"offline": None}), 0)
    drawn = training_identity(student, RATIONALES, settings(teacher, "live"), 0)
    by_default = training_identity(student, RATIONALES, settings(teacher, on_policy={"offline": None}), 0)
    assert drawn == by_default != live
    assert live["training"]["on_policy"] == {"share": 1.0, "max_new_tokens": 8}


@pytest.mark.parametrize("share", [0.5, 1.0])
def test_what_validation_holds_out_is_not_trained_on_as_a_sample_either(share: float, tmp_path: Path) -> None:
    """And a stored signal has what the checks read, whether it was captured before or on the way."""
    student, teacher = models(tmp_path)
    watched = settings(
        teacher,
        on_policy={"share": share},
        validation={"share": 0.4, "questions": 0, "every": {"steps": 1}},
        batch_size=2,
    )
    for captured_before in (True, False):
        runs = tmp_path / str(captured_before)
        if captured_before:
            capture_signals(student, RATIONALES, watched, runs=runs)
        made = train_stage(student, RATIONALES, watched, seed=2, runs=runs)
        assert len(folders(runs, "teacher_signal")) == 1
        assert 0 < made.summary["num_examples"] < len(RATIONALES)
        assert {"rollouts" in row for row in metrics(made.path)} == ({True, False} if share < 1 else {True})


def test_a_job_for_several_processes_names_the_samples(tmp_path: Path) -> None:
    student, teacher = models(tmp_path)
    engine = {"kind": "openai", "base_url": "http://localhost:1/v1", "model": "s"}
    wanted = settings(teacher, on_policy={"engine": engine})
    job = TrainingJob(student, tmp_path, [], wanted, 0, tmp_path, tmp_path, None, tmp_path / "drawn")
    assert TrainingJob.from_json(job.to_json()) == job
