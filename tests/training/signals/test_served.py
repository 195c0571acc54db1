"""A teacher behind a server: what is stored is what a capture in this process stores; asked once, and never trusted."""

from __future__ import annotations

import json
import math
import signal
import threading
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.command import die_before_change, new_process
from tests.tiny import save_tiny, tiny_model, tiny_tokenizer
from tests.training.signals.test_capture import examples
from tests.training.test_rollouts import RATIONALES

from cotdistill.config import (
    CachedTeacher,
    ForwardKL,
    Limits,
    LiveTeacher,
    ModelConfig,
    SignalServer,
    TrainingConfig,
    identity,
)
from cotdistill.errors import ModelError
from cotdistill.storage.jsonl import read_rows
from cotdistill.storage.removal import remove_folder
from cotdistill.training.data.batches import collate
from cotdistill.training.data.examples import Example, make_examples
from cotdistill.training.loop import METRICS
from cotdistill.training.signals.capture import capture, capture_identity, capture_size
from cotdistill.training.signals.live import TopKRows
from cotdistill.training.signals.served import REPEATED, mean_difference, teacher_tokens
from cotdistill.training.signals.stored import StoredSignal
from cotdistill.training.stage import train, training_identity

K = 5
ASKED_AGAIN = 1
"""Of each folder the first example, to see whether the server says the same."""
SECRET = "sk-very-secret"
WHOLE: Any = {"max_length": 512, "too_long": "error"}
Change = Callable[[list[Any]], list[Any]]
"""What a server does to its prompt_logprobs before it sends them."""


class LogProbabilityServer(ThreadingHTTPServer):
    """The tiny teacher behind completions with ``prompt_logprobs``, in vLLM's form.

    ``plan(number)`` says what becomes of the request of that number: ``ok``, ``cut`` or a status.
    """

    daemon_threads = True

    def __init__(self, plan: Callable[[int], str | int] = lambda number: "ok", change: Change = lambda places: places):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan, self.change = plan, change
        self.model, self.tokenizer = tiny_model(len(tiny_tokenizer()), seed=3), tiny_tokenizer()
        self.requests: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.answered: Counter[tuple[int, ...]] = Counter()
        self.lock = threading.Lock()

    def __enter__(self) -> LogProbabilityServer:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @torch.no_grad()
    def prompt_logprobs(self, tokens: list[int], k: int) -> list[Any]:
        log_p = self.model(torch.tensor([tokens])).logits[0].log_softmax(-1)
        places: list[Any] = [None]
        for row, token in zip(log_p, tokens[1:], strict=False):
            rank = int((row > row[token]).sum()) + 1
            best = {token: rank} | {int(t): r for r, t in enumerate(row.topk(k).indices, 1)}
            places.append({str(t): self._entry(t, float(row[t]), rank) for t, rank in best.items()})
        return places

    def _entry(self, token: int, value: float, rank: int) -> dict[str, Any]:
        return {"logprob": value, "rank": rank, "decoded_token": self.tokenizer.decode([token])}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LogProbabilityServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append(request)
            self.server.keys.add(self.headers["authorization"])
            fate = self.server.plan(number)
            if self.path != "/v1/completions" or request["model"] != "tiny":
                fate = 404
            if fate != "ok":
                self._fail(fate)
                return
            places = self.server.change(self.server.prompt_logprobs(request["prompt"], request["prompt_logprobs"]))
            self.server.answered[tuple(request["prompt"])] += 1
        choice = {"index": 0, "text": "x", "finish_reason": "length", "prompt_logprobs": places}
        self._send(200, {"id": "c", "object": "text_completion", "model": "tiny", "choices": [choice]})

    def _fail(self, fate: str | int) -> None:
        if fate == "cut":
            self.send_response(200)
            self.send_header("content-length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        else:
            self._send(int(fate), {"error": {"message": f"no, {self.headers['authorization']}"}})

    def _send(self, status: int, body: dict[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def teacher(tmp_path: Path) -> ModelConfig:
    """The weights that the server runs."""
    return ModelConfig(model=str(save_tiny(tmp_path / "teacher", seed=3)))


@pytest.fixture
def tokenizer_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelConfig:
    """All that there is of the teacher on this machine, and the key of its server."""
    monkeypatch.setenv("OWN_KEY", SECRET)
    tiny_tokenizer().save_pretrained(tmp_path / "tokenizer")
    return ModelConfig(model=str(tmp_path / "tokenizer"))


def served(model: ModelConfig, url: str, *, name: str = "tiny", k: int = K, concurrency: int = 2) -> CachedTeacher:
    limits = Limits(concurrency=concurrency, max_retries=2, timeout_seconds=20)
    server = SignalServer(base_url=url, model=name, api_key_variable="OWN_KEY", limits=limits)
    return CachedTeacher(model=model, store="topk", k=k, server=server)


def stored(config: CachedTeacher, runs: Path, chosen: list[Example] | None = None) -> StoredSignal:
    return capture(config, chosen or examples(), dtype="float32", max_batch_tokens=64, runs=runs)


def assert_same_rows(left: StoredSignal, right: StoredSignal, chosen: list[Example] | None = None) -> None:
    batch = collate(chosen or examples())
    ours, theirs = left.rows(batch), right.rows(batch)
    assert isinstance(ours, TopKRows)
    assert isinstance(theirs, TopKRows)
    assert len(ours.tokens) == len(batch.targets)
    assert torch.equal(ours.tokens, theirs.tokens)
    torch.testing.assert_close(ours.log_probabilities, theirs.log_probabilities, rtol=1e-5, atol=1e-5)


def with_hint(example: Example) -> Example:
    """The example whose teacher knows more: another prompt of another length."""
    return Example(example.id, example.input_ids, example.targets, example.regions, [7, 8, 9, 10, 11])


def test_the_rows_are_those_of_a_capture_in_this_process(
    teacher: ModelConfig, tokenizer_only: ModelConfig, tmp_path: Path
) -> None:
    """Also where the teacher reads another prompt than the student; its weights are not needed here."""
    local = CachedTeacher(model=teacher, store="topk", k=K)
    chosen = [*examples(), *map(with_hint, examples())]
    with LogProbabilityServer() as server:
        config = served(tokenizer_only, server.url)
        signal = stored(config, tmp_path / "served", chosen)
        assert server.keys == {f"Bearer {SECRET}"}
        assert all(request["temperature"] == 1 for request in server.requests)
    assert_same_rows(signal, stored(local, tmp_path / "local", examples()))
    hinted = list(map(with_hint, examples()))
    assert_same_rows(signal, stored(local, tmp_path / "local", hinted), hinted)
    assert capture_size(config, chosen, "float32")["bytes"] == sum(
        f.stat().st_size for f in signal.folder.glob("*.bin")
    )
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]


@pytest.mark.parametrize("fault", ["cut", 500, 429])
def test_what_a_server_loses_is_asked_again(
    teacher: ModelConfig, tokenizer_only: ModelConfig, tmp_path: Path, fault: str | int
) -> None:
    with LogProbabilityServer(plan=lambda number: fault if number == 1 else "ok") as server:
        signal = stored(served(tokenizer_only, server.url), tmp_path / "served")
        assert len(server.requests) == len(examples()) + ASKED_AGAIN + 1
    assert_same_rows(signal, stored(CachedTeacher(model=teacher, store="topk", k=K), tmp_path / "local"))


def test_a_capture_that_ended_early_asks_only_for_what_is_missing(
    teacher: ModelConfig, tokenizer_only: ModelConfig, tmp_path: Path
) -> None:
    with LogProbabilityServer(plan=lambda number: "ok" if number < 3 or mended else 500) as server:
        mended: list[bool] = []
        config = served(tokenizer_only, server.url, concurrency=1)
        with pytest.raises(ModelError, match=r"does not answer \(status 500\); run again: its answers are kept"):
            stored(config, tmp_path / "served")
        mended.append(True)
        asked = len(server.requests)
        (folder,) = (path.parent for path in (tmp_path / "served").rglob("index.jsonl"))
        with (folder / "index.jsonl").open("a") as index, (folder / "tokens.bin").open("ab") as tokens:
            index.write('{"key": "to')  # as a kill leaves it
            tokens.write(b"half a row")
        signal = stored(config, tmp_path / "served")
        assert len(server.requests) == asked + len(examples()) - 2
        stored(config, tmp_path / "served")
        assert sorted(server.answered.values())[-2:] == [1, 1 + ASKED_AGAIN]
    assert_same_rows(signal, stored(CachedTeacher(model=teacher, store="topk", k=K), tmp_path / "local"))


def test_a_server_that_says_something_else_when_asked_again_is_refused_however_often_it_is_tried(
    tokenizer_only: ModelConfig, tmp_path: Path
) -> None:
    """What it said first is kept, and asked about once more: a server that was mended goes on from there."""
    noise = [0.0, 0.6, 0.6, 0.0]

    def noisy(places: list[Any]) -> list[Any]:
        shift = noise.pop(0) if noise else 0.0
        return [
            place and {t: entry | {"logprob": entry["logprob"] - shift} for t, entry in place.items()}
            for place in places
        ]

    with LogProbabilityServer(change=noisy) as server:
        config = served(tokenizer_only, server.url)
        for _ in range(2):
            with pytest.raises(ModelError, match=r"asked twice .* differ by 0\.6 on average, more than 0\.1"):
                stored(config, tmp_path)
        assert len(server.requests) == 3
        folder = stored(config, tmp_path).folder
        assert len(server.requests) == 3 + ASKED_AGAIN + len(examples()) - 1
    assert json.loads((folder / REPEATED).read_text())["difference"] == 0


def test_the_difference_of_two_answers_is_the_expected_one_in_float64() -> None:
    """A token that the second answer lacks counts as its least likely one."""
    first = {"tokens": [[4, 7], [1, 2]], "log_probabilities": [[-0.2, -2.0], [-0.5, -1.0]]}
    again = {"tokens": [[4, 7], [1, 3]], "log_probabilities": [[-0.3, -1.5], [-0.5, -3.0]]}
    one = (math.exp(-0.2) * 0.1 + math.exp(-2.0) * 0.5) / (math.exp(-0.2) + math.exp(-2.0))
    other = math.exp(-1.0) * 2.0 / (math.exp(-0.5) + math.exp(-1.0))
    answers = first, again
    rows = [{name: torch.tensor(values, dtype=torch.float64) for name, values in each.items()} for each in answers]
    assert mean_difference(*rows) == pytest.approx((one + other) / 2, rel=1e-12)
    assert mean_difference(rows[0], rows[0]) == 0


# ---- while training -------------------------------------------------------------------------------------------------


def on_policy(url: str, tokenizer: ModelConfig, **changes: Any) -> TrainingConfig:
    """Steps on samples, and on rationales, scored by the server."""
    limits = {"concurrency": 2, "max_retries": 2}
    server = {"base_url": url, "model": "tiny", "api_key_variable": "OWN_KEY", "limits": limits}
    values = {"epochs": 3, "batch_size": 2, "learning_rate": 1e-2, "dtype": "float32", "checkpoint_every": 1}
    signal = {"kind": "live", "model": tokenizer, "server": server, "k": VOCABULARY}
    samples = {"share": 0.6, "max_new_tokens": 8}
    return TrainingConfig.model_validate(
        values | {"loss": ["reverse_kl"], "signal": signal, "on_policy": samples} | changes
    )


VOCABULARY = len(tiny_tokenizer())


def steps_of(folder: Path) -> list[dict[str, Any]]:
    return [
        {name: row[name] for name in ("loss", "grad_norm", "num_loss_tokens", "rollouts") if name in row}
        for row in read_rows(folder / METRICS)
    ]


def test_samples_scored_by_a_server_train_the_student_that_a_teacher_here_trains(
    teacher: ModelConfig, tokenizer_only: ModelConfig, tmp_path: Path
) -> None:
    """All tokens are asked for, so that nothing is cut off; a kill costs no score that has come."""
    student = ModelConfig(model=str(save_tiny(tmp_path / "student", seed=1)))
    with LogProbabilityServer() as server:
        config = on_policy(server.url, tokenizer_only)
        done = train(student, RATIONALES, config, seed=0, runs=tmp_path)
        again = train(student, RATIONALES, config, seed=1, runs=tmp_path)
        asked = len(server.requests)
        remove_folder(done.path, "student")
        train(student, RATIONALES, config, seed=0, runs=tmp_path)
        assert len(server.requests) == asked, "a training that is made again asks nothing"
        data = {tuple(teacher_tokens(one)) for one in make_examples(RATIONALES, tiny_tokenizer(), **WHOLE)[0]}
        times = [number for tokens, number in server.answered.items() if tokens in data]
        assert sorted(times) == [1] * (len(times) - 1) + [1 + ASKED_AGAIN], "both seeds read what was captured once"
    local = config.model_copy(update={"signal": LiveTeacher(model=teacher)})
    own = train(student, RATIONALES, local, seed=0, runs=tmp_path / "local")
    assert {True, False} == {"rollouts" in step for step in steps_of(done.path)}
    for one, other in zip(steps_of(done.path), steps_of(own.path), strict=True):
        assert one.pop("rollouts", None) == other.pop("rollouts", None)
        assert one == pytest.approx(other, rel=1e-4)
    assert steps_of(again.path) != steps_of(done.path)


def test_a_killed_training_asks_only_for_what_had_not_come(
    teacher: ModelConfig, tokenizer_only: ModelConfig, tmp_path: Path
) -> None:
    student = ModelConfig(model=str(save_tiny(tmp_path / "student", seed=1)))
    with LogProbabilityServer() as server:
        config = on_policy(server.url, tokenizer_only)
        unbroken = train(student, RATIONALES, config, seed=0, runs=tmp_path / "unbroken")
        needed, server.answered = Counter(server.answered), Counter()
        statuses = []
        for dies_before in (60, None):
            process = new_process(killed_training, student, config, tmp_path / "killed", dies_before)
            process.join(240)
            statuses.append(process.exitcode)
        assert statuses == [-signal.SIGKILL, 0]
        lost = config.signals[0].server.limits.concurrency  # pyright: ignore
        assert sum(server.answered.values()) <= sum(needed.values()) + lost
        assert server.answered.keys() == needed.keys()
    (killed,) = (tmp_path / "killed" / "training").iterdir()
    assert steps_of(killed) == steps_of(unbroken.path)


def killed_training(student: ModelConfig, config: TrainingConfig, runs: Path, dies_before: int | None) -> None:
    if dies_before is not None:
        die_before_change(dies_before)
    train(student, RATIONALES, config, seed=0, runs=runs)


def renamed(places: list[Any]) -> list[Any]:
    """As a tokenizer with other words would read the same ids."""
    return [place and {t: entry | {"decoded_token": f"w{t}"} for t, entry in place.items()} for place in places]


def shifted(places: list[Any]) -> list[Any]:
    return [None, *({str(int(t) + 1): entry for t, entry in place.items()} for place in places[1:])]


def beyond(places: list[Any]) -> list[Any]:
    return [None, *(place | {"999": {"logprob": -0.01}} for place in places[1:])]


def as_logits(places: list[Any]) -> list[Any]:
    return [place and {t: {"logprob": -0.1} for t in place} for place in places]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, r"the server reads \d+ of \d+ tokens as other words: the vocabularies differ"),
        (shifted, r"token \d+ was sent, but no log-probability of it came back"),
        (beyond, r"token 999 came back, but the tokenizer has \d+: the vocabularies differ"),
        (as_logits, r"the probabilities at one place add up to 4.5\d*: these are not log-probabilities"),
        (lambda places: places[:-1], r"\d+ tokens were sent, but \d+ came back"),
        (
            lambda places: [place and dict(list(place.items())[:2]) for place in places],
            r"2 tokens came back at one place",
        ),
        (lambda places: ["x"] * len(places), r"prompt_logprobs are not in vLLM's form"),
        (lambda places: None, r"the answer holds no prompt_logprobs"),
    ],
)
def test_an_answer_that_cannot_belong_to_the_tokens_is_one_line(
    tokenizer_only: ModelConfig, tmp_path: Path, change: Change, message: str
) -> None:
    with LogProbabilityServer(change=change) as server:
        with pytest.raises(ModelError, match=message) as error:
            stored(served(tokenizer_only, server.url), tmp_path)
        assert "\n" not in str(error.value)
        assert f"tiny at {server.url}" in str(error.value)
        assert "serve the teacher whose tokenizer is" in str(error.value)


def test_a_request_that_is_refused_is_one_line_without_the_key(tokenizer_only: ModelConfig, tmp_path: Path) -> None:
    with LogProbabilityServer(plan=lambda number: 400) as server:
        with pytest.raises(ModelError, match=r"refuses the request .*--max-logprobs 5") as error:
            stored(served(tokenizer_only, server.url), tmp_path)
        assert SECRET not in str(error.value)
        with pytest.raises(ModelError, match=r"no such model or address \(status 404\)"):
            stored(served(tokenizer_only, server.url, name="other"), tmp_path)


def test_keys_name_the_server_and_are_as_before_without_one(teacher: ModelConfig, tokenizer_only: ModelConfig) -> None:
    """How a server is asked changes no key; nor does the type that a teacher in this process would compute in."""

    def key(config: CachedTeacher) -> Any:
        return capture_identity(config, examples(), "float32")

    def of_training(config: CachedTeacher) -> Any:
        return training_identity(teacher, [], TrainingConfig(loss=(ForwardKL(),), signal=config), 0)["teacher"]

    one, other = served(tokenizer_only, "http://a:1/v1"), served(tokenizer_only, "http://b:1/v1")
    local = CachedTeacher(model=teacher, store="topk", k=K)
    assert key(one) == key(served(tokenizer_only, "http://a:1/v1/", concurrency=9))
    assert len({json.dumps(key(config)) for config in (one, other, local)}) == 3
    assert len({json.dumps(of_training(config)) for config in (one, other, local)}) == 3
    assert of_training(one)["model"] == "tiny at http://a:1/v1"
    assert "server" not in identity(local)
    assert key(one)["version"] == 1  # a change of how a model runs here must not cost a server's answers again


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"store": "hidden"}, "set store: topk, not hidden"),
        ({"store": "sampled"}, "set store: topk, not sampled"),
        ({"server": {"base_url": "http://me:pw@host/v1", "model": "m"}}, "use api_key_variable for the key"),
        (
            {"server": {"base_url": "host:8000", "model": "m"}},
            "is not the address of a server; write http://HOST:PORT/v1",
        ),
    ],
)
def test_settings_that_no_server_can_serve_are_refused(settings: dict[str, Any], message: str) -> None:
    server = {"base_url": "http://localhost:8000/v1", "model": "m"}
    with pytest.raises(ValueError, match=message):
        CachedTeacher.model_validate({"model": "x", "store": "topk", "server": server} | settings)
