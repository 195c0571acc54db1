"""What is seen while a model is asked."""

from __future__ import annotations

from pathlib import Path

from cotdistill.config import TransformersModel, validated
from cotdistill.engines.asking import CompletionLog, ask
from cotdistill.engines.engine import Request
from cotdistill.engines.transformers_engine import TransformersEngine


class Seen:
    def __init__(self) -> None:
        self.counts: list[int] = []

    def advance(self, count: int = 1, note: str = "") -> None:
        self.counts.append(count)


def test_progress_goes_on_while_a_batch_is_written(tmp_path: Path) -> None:
    settings = {"model": "builtin:nano-student", "sampling": {"max_new_tokens": 4}, "max_batch_size": 2}
    engine = TransformersEngine.open(validated(TransformersModel, settings, where="test"))
    requests = [Request(str(n), f"What is {n} + 1?") for n in range(10)]
    seen = Seen()
    with CompletionLog(tmp_path / "log.jsonl") as log:
        assert not ask(engine, requests, log, seen)
        assert all(request.key in log for request in requests)
    assert [count for count in seen.counts if count] == [1] * 10
